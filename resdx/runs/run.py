"""A run: one directory that is the only hand-over between stages.

    RUN/run.json  manifest.csv  audit.json  split.csv  log.jsonl  log.txt  best.safetensors  state.safetensors
        scores-<part>.npz  familiarity.safetensors  calibration.json  predictions.csv  metrics.json  report.html  failures.csv

Its parent folder is the store: prepared pictures (`cache/`) and the ledger of test reads (`test-reads.jsonl`), which
all runs of the folder share.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
import json
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

if sys.platform != "win32":
    import resource

from ..data.audit.audit import Audit
from ..data.cases import Case, Finding, Manifest
from ..data.split import Split
from ..errors import AbsentResultError, DataError, RecipeError, RunError
from ..files import append_text, lock, progress, read_json, read_log, write_bytes, write_json, write_text
from ..recipes.learning import Ensemble
from ..recipes.library import get_recipe, know_steps_of
from ..recipes.recipe import Recipe
from ..records import from_record, to_record
from .scorecard import Scorecard
from .settings import Settings

T = TypeVar("T")
OWN = {"log.jsonl", "log.txt", "lock", "sets"}  # what may lie in the directory of a new run: leftovers, and sets to learn from
MEMBERS = "members"  # the folder of an ensemble that holds the runs of its members
READ = 64  # files whose contents are kept: an audit of 100,000 cases takes a second to read
FORMAT = 1  # of the run directory; raised when an older resdx could not read it


@dataclass(frozen=True)
class Scores:
    """Raw answers of the network: ids (N,), logits (N, outputs) and embeddings (N, E)."""

    ids: tuple[str, ...]
    logits: NDArray[np.float32]
    embeddings: NDArray[np.float32]


@dataclass(frozen=True)
class Run:
    """A run directory with its recipe; every property reads from disk what a stage wrote there."""

    path: Path
    recipe: Recipe
    settings: Settings
    quiet: bool = False

    @classmethod
    def create(cls, path: Path, recipe: Recipe, settings: Settings, *, quiet: bool = False) -> Run:
        """Make the directory. Raises RunError when one is there already or it cannot be written."""
        if (path / "run.json").exists():
            raise RunError(f"{path} holds a run already; go on with `resdx resume {path}` or choose another --out")
        if path.is_dir() and (others := sorted({one.name for one in path.iterdir()} - OWN)):
            raise RunError(f"{path} holds other files ({others[0]}), which a run could overwrite; choose another --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{path} cannot be made ({error.strerror or error}); choose another --out") from error
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        run = cls(path, recipe, dataclasses.replace(settings, created=now), quiet)
        run.write()
        return run

    @classmethod
    def open(cls, path: str | Path, *, recipe: str | Path = "", quiet: bool = False) -> Run:
        """Open a directory that `create` made.

        `recipe` is your own .py file where it defines steps that the run uses.

        A run never names code to be run: without `recipe` no file of a user is executed.

        Raises:
            RunError: it is no run, or of another format, or uses parts that are not known.
            RecipeError: the recipe file cannot be used.
        """
        path = Path(path)
        if recipe:
            get_recipe(str(recipe))
        if not (path / "run.json").is_file():
            raise RunError(f"{path} is no run directory (it has no run.json); make one with `resdx run DATA --out {path}`")
        data = read_json(path / "run.json")
        if not isinstance(data, dict):
            raise RunError(f"{path / 'run.json'} is not what resdx writes; put back the file that was there, or make a new run")
        if data.get("format") != FORMAT:
            raise RunError(
                f"{path} has run format {data.get('format')}, this resdx reads {FORMAT}; open it with the version that wrote it"
            )
        try:
            asked = data["settings"].items()
            # JSON has no tuples
            fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in asked}
            settings = Settings(**fields)
            know_steps_of(data["recipe"]["name"])
            known = from_record(data["recipe"])
        except (KeyError, TypeError, RecipeError) as error:
            raise RunError(
                f"{path / 'run.json'} does not fit this version of resdx ({error}); open it with the one that wrote it"
            ) from error
        return cls(path, known, settings, quiet)

    def __fspath__(self) -> str:
        return str(self.path)

    def write(self) -> None:
        """Store recipe and settings as they are now."""
        settings = dataclasses.asdict(self.settings)
        write_json(self.path / "run.json", {"format": FORMAT, "recipe": to_record(self.recipe), "settings": settings})

    def changed(self, *, recipe: Recipe | None = None, **settings: Any) -> Run:
        """Store a changed recipe or settings and give back the run that has them."""
        new = dataclasses.replace(self, recipe=recipe or self.recipe, settings=dataclasses.replace(self.settings, **settings))
        new.write()
        return new

    @property
    def store(self) -> Path:
        """The folder that runs share their cache and ledger in.

        A member of an ensemble has that of the ensemble.
        """
        folder = self.path.resolve().parent  # a member lies in RUN/members/NAME
        return folder.parent.parent if folder.name == MEMBERS and (folder.parent / "run.json").exists() else folder

    @property
    def members(self) -> tuple[Run, ...]:
        """The runs of an ensemble's members, in their order; none of a run that learns alone.

        Raises RunError where one is not there yet.
        """
        if not isinstance(self.recipe.learn, Ensemble):
            return ()
        names = [one.name for one in self.recipe.learn.members]
        return tuple(Run.open(self.need(f"{MEMBERS}/{name}/run.json", "train").parent, quiet=self.quiet) for name in names)

    @property
    def manifest(self) -> Manifest:
        """The cases that were scanned."""
        return Manifest.read(self.need("manifest.csv", "scan"), root=Path(self.settings.data))

    def cases(self, part: str) -> tuple[Case, ...]:
        """The cases of a part (train, tune, calib, test), each with the person that intervals count it to."""
        person = {row["id"]: row["person"] for row in self._split_rows() if row["part"] == part}
        return tuple(dataclasses.replace(case, group=person[case.id]) for case in self.manifest.cases if case.id in person)

    @property
    def audit(self) -> Audit:
        """What the audit found."""
        return self.read_as("audit.json", "audit", Audit.from_json)

    @property
    def split(self) -> Split:
        """Which case is in which part, by what rule, and what was noticed."""
        parts = {row["id"]: row["part"] for row in self._split_rows()}
        persons = {row["id"]: row["person"] for row in self._split_rows()}

        def made(told: Any) -> Split:
            return Split(
                parts, persons, told["rule"], told["seed"], told["fold"], tuple(map(Finding.from_json, told["findings"]))
            )

        return self.read_as("split.json", "split", made, once=False)

    @property
    def metrics(self) -> Scorecard:
        """What `evaluate` found on the test set."""
        return self.read_as("metrics.json", "evaluate", Scorecard.from_json)

    def _split_rows(self) -> list[dict[str, str]]:
        with self.need("split.csv", "split").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def predictions(self) -> list[dict[str, str]]:
        """The rows of predictions.csv."""
        with self.need("predictions.csv", "evaluate").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def read(self, name: str, stage: str) -> dict[str, Any]:
        """The JSON that `stage` wrote as `name`."""
        return self.read_as(name, stage, dict, once=False)

    def read_as(self, name: str, stage: str, made: Callable[[Any], T], *, once: bool = True) -> T:
        """What `made` gives of the JSON that `stage` wrote as `name`; read `once`, until the file changes.

        Raises:
            RunError: it is not there yet, or JSON of another kind.
        """
        path = self.need(name, stage)
        try:
            return (
                _read_once(path.resolve(), path.stat().st_mtime_ns, path.stat().st_size, made) if once else made(read_json(path))
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            advice = "make a new run" if stage == "scan" else f"write it anew with `resdx {stage} {self.path}`"
            raise RunError(f"{path} is not what resdx writes; put back the file that was there, or {advice}") from error

    def need(self, name: str, stage: str) -> Path:
        """The path of a file that `stage` writes. Raises AbsentResultError when it is not there."""
        if not (self.path / name).exists():
            raise AbsentResultError(f"{self.path} has no {name} yet; run `resdx {stage} {self.path}` first")
        return self.path / name

    def remove_unused(self) -> None:
        """Take the directory away again where nothing was found to put into it."""
        unused = {"run.json", "log.jsonl", "log.txt", "lock"}
        if {path.name for path in self.path.iterdir()} <= unused:
            shutil.rmtree(self.path, ignore_errors=True)

    def write_scores(self, part: str, scores: Scores) -> None:
        """Keep raw answers of a part."""
        out = io.BytesIO()
        # half the room
        np.savez(out, ids=np.array(scores.ids), logits=scores.logits, embeddings=scores.embeddings.astype(np.float16))
        write_bytes(self.path / f"scores-{part}.npz", out.getvalue())

    def scores(self, part: str) -> Scores:
        """Raw answers of a part."""
        stage = "evaluate" if part == "test" else "train"
        path = self.need(f"scores-{part}.npz", stage)
        try:
            with np.load(path, allow_pickle=False) as file:
                return Scores(tuple(file["ids"].tolist()), file["logits"], file["embeddings"].astype(np.float32))
        except (OSError, ValueError, LookupError, zipfile.BadZipFile) as error:
            raise RunError(f"{path} cannot be read ({error}); repeat `resdx {stage} {self.path}`") from error

    def write_failures(self, failures: Sequence[tuple[str, str]]) -> None:
        """List the cases that could not be used, with the reason."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([("case", "reason"), *failures])
        write_text(self.path / "failures.csv", out.getvalue())

    @property
    def failures(self) -> list[tuple[str, str]]:
        """Cases that could not be used, with the reason."""
        path = self.path / "failures.csv"
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return [(case, reason) for case, reason in list(csv.reader(file))[1:]]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the run, so that no other process works on it.

        The system lets go of it when this one ends, however it ends.

        Raises:
            RunError: another process works on it.
        """
        try:
            file = (self.path / "lock").open("ab")
        except OSError as error:
            raise RunError(f"{self.path} cannot be written ({error.strerror or error}); give yourself the right to") from error
        with file:
            try:
                lock(file.fileno())
            except (BlockingIOError, PermissionError) as error:
                raise RunError(f"{self.path} is being worked on by another process; wait until it ends, or stop it") from error
            except OSError:
                pass  # a file system without locks
            yield

    def log(self, event: str, **values: Any) -> None:
        """Append one line to log.jsonl; `core` are the seconds of processor that the process has taken so far."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "event": event, **values, "core": round(time.process_time(), 3)}
        append_text(self.path / "log.jsonl", json.dumps(line) + "\n")

    def spent(self, stage: str) -> tuple[float, float]:
        """Seconds, and seconds of processor, of sessions in which `stage` was stopped.

        Counted since it began afresh. A session that was killed counts from its line `begin` to its last line.
        """
        sessions: list[list[dict[str, Any]]] = []
        inside = False
        for entry in read_log(self.path / "log.jsonl"):
            if entry["event"] == "afresh" or (entry["event"] == "stage" and entry["stage"] == stage):
                # what was done before it began afresh does not count
                sessions = [] if stage in (entry.get("stage"), *entry.get("stages", ())) else sessions
                inside = False
            elif entry["event"] == "begin":
                inside = entry["stage"] == stage
                sessions += [[]] if inside else []
            if inside:
                sessions[-1].append(entry)
        whole = [
            (dt.datetime.fromisoformat(lines[-1]["time"]) - dt.datetime.fromisoformat(lines[0]["time"])).total_seconds()
            for lines in sessions
        ]
        return sum(whole), sum(lines[-1]["core"] - lines[0]["core"] for lines in sessions)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Log what a stage takes, with the sessions in which it was stopped before.

        One that fails goes on the next time.
        """
        seconds, core = self.spent(stage)
        seconds, core = seconds - time.perf_counter(), core - time.process_time()  # the clocks are added again at the end
        self.log("begin", stage=stage)
        yield
        seconds, core = seconds + time.perf_counter(), core + time.process_time()
        self.log("stage", stage=stage, seconds=round(seconds, 1), core_seconds=round(core, 1), peak_gb=_peak_gb())

    def events(self, event: str) -> list[dict[str, Any]]:
        """Lines of log.jsonl about `event`, oldest first.

        Those of before training began afresh are passed over.
        """
        lines = read_log(self.path / "log.jsonl")
        since = max((i for i, entry in enumerate(lines) if entry["event"] == "afresh" and event in entry["forget"]), default=-1)
        return [entry for entry in lines[since + 1 :] if entry["event"] == event]

    def say(self, text: str) -> None:
        """Tell the person, and keep it in log.txt."""
        now = dt.datetime.now().isoformat(sep=" ", timespec="seconds")
        append_text(self.path / "log.txt", f"{now}  {text}\n")
        self._console().print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Progress]:
        """A progress bar with the time left; inside, call `bar.advance(0, n)` or `bar.update(0, completed=n)`."""
        with progress(what, total, quiet=self.quiet) as bar:
            yield bar

    def _console(self) -> Console:
        return Console(stderr=True, quiet=self.quiet)


@lru_cache(maxsize=READ)
def _read_once(path: Path, changed: int, size: int, made: Callable[[Any], T]) -> T:
    """What a file holds.

    `changed` and `size` are those of the file, so that one that is written anew is read anew.
    """
    return made(read_json(path))


def resolve_data(data: str | Path) -> Path:
    """The data as an absolute path. Raises DataError when nothing is there."""
    path = Path(data).resolve()
    if not path.exists():
        raise DataError(f"{data} is not there; give a folder of images, a CSV table or a DICOM folder")
    return path


def _peak_gb() -> float | None:
    """The most memory this process has held, in GB; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)
