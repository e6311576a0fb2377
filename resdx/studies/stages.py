"""The stages from a folder of images to a report.

Each reads and writes the run directory, and can be repeated.

    scan -> audit -> split -> prepare -> train -> calibrate -> evaluate -> controls, explain, embedding, suspects -> report

Repeating a stage removes what others made from its old result: all later ones; of the evidence after evaluate, which stands side
by side, the report alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import AuditStop, RunError
from ..files import write_bytes
from ..recipes.learning import Search
from ..runs.run import MEMBERS, Run
from ..training.distributed import rank, world
from .pipeline import (
    assist_training,
    audit,
    calibrate,
    evaluate_stage,
    make_evidence,
    prepare_stage,
    report_stage,
    scan,
    split,
    train,
)

TOGETHER = "several processes can train together, and do nothing else: torchrun --nproc-per-node N -m resdx train RUN"


@dataclass(frozen=True)
class Stage:
    """One step of the flow and the files it makes, by whose last a run knows that it is done.

    `evidence` rests on a finished evaluation, and only the report rests on it; it may be skipped. What is only made when it is
    `asked` for trains more networks.
    """

    name: str
    work: Callable[[Run], None]
    makes: tuple[str, ...]
    evidence: bool = False
    asked: bool = False


def _evidence(name: str, *, folder: str = "", asked: bool = False) -> Stage:
    made = (folder, f"{name}.json") if folder else (f"{name}.json",)
    return Stage(name, make_evidence(name), made, evidence=True, asked=asked)


STAGES = (
    Stage("scan", scan, ("scan.json", "manifest.csv")),
    Stage("audit", audit, ("audit.json",)),
    Stage("split", split, ("split.csv", "split.json")),
    Stage("prepare", prepare_stage, ()),  # the cache belongs to the store; every later stage opens or refills it
    Stage(
        "train",
        train,
        (
            *("generators", "generated", "generated.npz", "generated.json"),
            *("anchors.json", "search", "state.safetensors", "best.safetensors", MEMBERS, "ensemble.json"),
            *("scores-tune.npz", "scores-calib.npz", "familiarity.safetensors"),
        ),
    ),
    Stage("calibrate", calibrate, ("calibration.json",)),
    Stage("evaluate", evaluate_stage, ("scores-test.npz", "predictions.csv", "boxes", "boxes.csv", "metrics.json")),
    _evidence("controls"),
    _evidence("explain", folder="explain"),
    _evidence("embedding"),
    _evidence("suspects", folder="suspects"),
    _evidence("leak-worth", asked=True),
    _evidence("learning-curve", asked=True),
    Stage("report", report_stage, ("report.json", "report.html")),
)
NAMES = tuple(stage.name for stage in STAGES)
EVIDENCE = tuple(stage.name for stage in STAGES if stage.evidence and not stage.asked)


def is_done(run: Run, stage: Stage) -> bool:
    """True when the last file the stage makes is there."""
    return not stage.makes or (run.path / stage.makes[-1]).exists()


def repeat(run: Run, name: str) -> None:
    """Run one stage. Where it was finished it starts afresh, and what rests on it is removed.

    Else it goes on.

    Raises:
        RunError: an earlier stage is missing.
    """
    _refuse_pretraining(run)
    if world() > 1 and (name != "train" or isinstance(run.recipe.learn, Search) or run.recipe.generator):
        raise RunError(TOGETHER)
    if rank():
        return assist_training(run)
    at = NAMES.index(name)
    missing = [stage.name for stage in STAGES[:at] if not stage.evidence and not is_done(run, stage)]
    if missing and name != "report":  # the page of an unfinished run says what is missing
        raise RunError(
            f"{run.path}: {name} needs {missing[0]} first; run `resdx {missing[0]} {run.path}` or `resdx resume {run.path}`"
        )
    stage = STAGES[at]
    with run.alone():
        if stage.makes:
            _remove(run, [*([stage] if is_done(run, stage) else []), *_resting_on(stage)])
        _timed(run, stage)


def refuse_to_lose(run: Run, name: str) -> None:
    """Raise RunError where repeating a stage would remove the weights of a training that is finished."""
    train = STAGES[NAMES.index("train")]
    if name in NAMES[: NAMES.index("train") + 1] and is_done(run, train):
        raise RunError(
            f"{run.path} is trained: `resdx {name}` would remove its weights and results; read what it found in report.html, "
            "start a new run, or add --again"
        )


def _resting_on(stage: Stage) -> Sequence[Stage]:
    return STAGES[-1:] if stage.evidence else STAGES[NAMES.index(stage.name) + 1 :]


def _remove(run: Run, stages: Sequence[Stage]) -> None:
    """Remove what stages made, last first.

    Killed in between, nothing is left that rests on something gone.
    """
    for stage in reversed(stages):
        for file in reversed(stage.makes):
            if (run.path / file).is_dir():
                shutil.rmtree(run.path / file)
            (run.path / file).unlink(missing_ok=True)
    names = [stage.name for stage in stages]
    if (run.path / "log.jsonl").exists():
        run.log("afresh", stages=names, forget=["epoch", "penalty", "trial"] if "train" in names else [])


def adopt(run: Run, other: Run) -> None:
    """Scan, and take the audit over from a run of the same data instead of reading every file again.

    Raises:
        RunError: the other run has other cases.
    """
    repeat(run, "scan")
    if Run.open(run.path).manifest.sha256 != other.manifest.sha256:
        raise RunError(f"{other.path} has other cases than {run.path}; run `resdx audit {run.path}`")
    for name in ("audit.json", "failures.csv"):
        write_bytes(run.path / name, (other.path / name).read_bytes())


def resume(run: Run) -> None:
    """Run every stage from the first that is not finished; nothing where all are.

    Left out is what is skipped or has to be asked for.
    """
    if world() > 1:
        raise RunError(TOGETHER)
    todo = [stage for stage in STAGES if _wanted(run, stage) and not is_done(run, stage)]
    _refuse_pretraining(run)
    if not todo:
        return
    with run.alone():
        _remove(run, _resting_on(todo[0]))  # what was made from an older result of that stage
        for stage in STAGES[STAGES.index(todo[0]) :]:
            opened = Run.open(run.path, quiet=run.quiet)  # a stage may settle recipe or settings
            if _wanted(opened, stage) and not (stage.evidence and is_done(opened, stage)):
                _timed(opened, stage)


def _refuse_pretraining(run: Run) -> None:
    """Raise RunError for the folder of a pre-training.

    It has checkpoints of the same name and no stages.
    """
    if "corpus" in run.settings.choices:
        raise RunError(f"{run.path} is a pre-training, which has no stages; the same `resdx pretrain` command goes on with it")


def _wanted(run: Run, stage: Stage) -> bool:
    return not stage.asked and stage.name not in run.settings.skip


def result_of(run: Run, name: str) -> Any:
    """The JSON a stage left behind; for those that write none, the files they made."""
    stage = STAGES[NAMES.index(name)]
    written = next((file for file in reversed(stage.makes) if file.endswith(".json")), None)
    if written and (run.path / written).exists():
        return run.read(written, name)
    return {"run": str(run.path), "made": [file for file in stage.makes if (run.path / file).exists()]}


def _timed(run: Run, stage: Stage) -> None:
    """Run a stage and log what it took."""
    stop = None
    with run.timed(stage.name):
        if stage.evidence:
            run.say(f"{stage.name} ...")  # it may take minutes without a word
        try:
            stage.work(run)
        except AuditStop as error:
            if not is_done(run, stage):
                raise
            stop = error  # the audit is finished, although a person has to decide before the run goes on
    if stop:
        raise stop
