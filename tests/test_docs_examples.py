"""Every Python and shell example of the documentation runs, in the order of its page.

It runs in a folder that holds what the page speaks of. Examples run as they are printed, but smaller: `SMALLER` adds options to
the commands that train.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from places import REPOSITORY
from tiny import TINY, TINY_RESNET

from resdx.apps.cli.main import cli
from resdx.data.phantoms import draw_layout, draw_phantoms
from resdx.models.network import build
from resdx.models.specs import Net, Pretrained
from resdx.models.weights import save_state
from resdx.studies.stages import EVIDENCE
from resdx.studies.study import run

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")
COMMENT = re.compile(r"\s+#.*$")
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
# What other tests run, because it installs something or needs more than this process.
ELSEWHERE = {
    "make": "targets of the Makefile; .ci/run runs them",
    "pip": "tests/try_wheel.sh installs the wheel",
    "python3": "tests/try_wheel.sh makes an environment",
    "torchrun": "tests/training/test_distributed.py trains with two processes",
    "resdx review": "the public sets have to be there; tests/studies/review runs it on phantoms",
}
PLAIN = ("--size", "32", "--set", "learn.epochs=1", "--set", "learn.start_size=0", "--set", "model.backbone.depth=18")
NO_EVIDENCE = tuple(word for name in ("controls", "explain", "embedding", "suspects") for word in ("--skip", name))
SMALLER = {"run": (*PLAIN, *NO_EVIDENCE), "scan": (*PLAIN, *NO_EVIDENCE)}


@dataclass(frozen=True)
class Sandbox:
    """What a page needs beside its own text: a function that fills a folder, and options that make its commands small."""

    fill: Callable[[Path, Path], None] = lambda folder, films: None
    smaller: tuple[tuple[str, tuple[str, ...]], ...] = tuple(SMALLER.items())


def in_python(text: str) -> str:
    """An example that trains small networks: `changes={...}` of `resdx.run` is followed by what makes it small."""
    small = '"size": 32, "learn.start_size": 0, "model.backbone.depth": 18}, skip=EVIDENCE, quiet=True'
    return re.sub(r"(resdx\.run\(.*changes=\{[^}]*)\}", rf"\1, {small}", text)


def copied(*names: str) -> Callable[[Path, Path], None]:
    """The films under other names."""

    def fill(folder: Path, films: Path) -> None:
        for name in names:
            shutil.copytree(films, folder / name)

    return fill


def finished(folder: Path, films: Path) -> None:
    """A small finished run, runs/first, of films that lie in `films`."""
    copied("films")(folder, films)
    run(folder / "films", recipe=TINY_RESNET, out=folder / "runs/first", skip=EVIDENCE, quiet=True)


def seeds(folder: Path, films: Path) -> None:
    """Two recipes with three seeds each on a shipped test set, and films of another hospital."""
    draw_phantoms(folder / "shipped", persons=90, size=32, test_share=0.4)
    for name, epochs in (("plain", "1"), ("longer", "2")):
        for seed in range(3):
            run(
                folder / "shipped-truth.csv",
                recipe=TINY.set("learn.epochs", epochs).set("source", "none"),
                out=folder / f"runs/{name}-{seed}",
                seed=seed,
                skip=EVIDENCE,
                quiet=True,
            )
    draw_phantoms(folder / "other-hospital", persons=40, size=32, seed=9)
    (folder / "other-hospital/opacity").rename(folder / "other-hospital/pneumonia")


def exported(folder: Path, films: Path) -> None:
    finished(folder, films)
    (folder / "runs/first").rename(folder / "runs/plain-0")
    shutil.copytree(films / "normal", folder / "new-films")


def table(folder: Path, films: Path) -> None:
    draw_phantoms(folder / "cases", persons=60, size=32)
    (folder / "cases-truth.csv").rename(folder / "cases.csv")


def faces(folder: Path, films: Path) -> None:
    draw_layout("face-mask", folder / "faces", persons=60)
    shutil.copy(next((folder / "faces").rglob("*.png")), folder / "new.png")


def records(folder: Path, films: Path) -> None:
    draw_layout("mitbih", folder / "mitdb", persons=30)
    for suffix in ("hea", "dat"):
        shutil.copy(folder / f"mitdb/101.{suffix}", folder / f"101.{suffix}")
    header = (folder / "101.hea").read_text()
    (folder / "new.hea").write_text(header)
    (folder / "new.csv").write_text("time,MLII\n" + "".join(f"{k / 360:.6f},{(k % 300 == 0) * 1.0}\n" for k in range(3600)))


def speakers(folder: Path, films: Path) -> None:
    draw_layout("vowels", folder / "voices", persons=40)
    shutil.copy(next((folder / "voices").rglob("*.wav")), folder / "new.wav")
    mobilenet(folder)


def mobilenet(folder: Path) -> None:
    """Random weights, where ImageNet's cannot be had."""
    save_state(build(Net(Pretrained("mobilenetv2_100")), 2), folder / "mobilenet.safetensors")


def slices(folder: Path, films: Path) -> None:
    draw_layout("covid-ct-md", folder / "layout", persons=45)
    shutil.move(folder / "layout/COVID-CT-MD", folder / "scans")
    for file in (folder / "scans").glob("*.*"):
        file.unlink()
    shutil.copytree(next((folder / "scans/Normal Cases").iterdir()), folder / "new/person-17")


def readme(folder: Path, films: Path) -> None:
    copied("my-images")(folder, films)
    (folder / "new").mkdir()
    shutil.copy(next((films / "normal").iterdir()), folder / "new/film.png")


def different(folder: Path, films: Path) -> None:
    """Films without near-duplicates, which a pre-training would refuse beside the test set."""
    draw_phantoms(folder / "my-images", persons=60, size=48)


def api(folder: Path, films: Path) -> None:
    copied("my-images")(folder, films)
    draw_phantoms(folder / "other-hospital", persons=40, size=32, seed=9)


SANDBOXES = {
    "README.md": Sandbox(readme),
    "docs/how-to/accept-a-finding.md": Sandbox(copied("films")),
    "docs/how-to/add-a-recipe.md": Sandbox(copied("films")),
    "docs/how-to/boxes.md": Sandbox(
        faces, (("run", ("--weights", "none", "--set", "size=64", "--set", "learn.epochs=1", *NO_EVIDENCE)),)
    ),
    "docs/how-to/bring-your-own-table.md": Sandbox(table),
    "docs/how-to/compare-runs.md": Sandbox(seeds),
    "docs/how-to/export.md": Sandbox(exported, (("export", ("--no-guard",)),)),
    "docs/how-to/heartbeats.md": Sandbox(records, (("run", ("--set", "learn.epochs=1", *NO_EVIDENCE)),)),
    "docs/how-to/pretrain.md": Sandbox(
        copied("my-images", "films-2019", "slices", "smears"),
        (("run", SMALLER["run"]), ("pretrain", ("--depth", "18", "--size", "32", "--set", "learn.epochs=1"))),
    ),
    "docs/how-to/resume.md": Sandbox(finished),
    "docs/how-to/scans.md": Sandbox(
        slices,
        (
            (
                "run",
                (
                    "--weights",
                    "none",
                    "--set",
                    "learn.epochs=1",
                    "--set",
                    "read.side=32",
                    "--size",
                    "128",
                    "--set",
                    "model.backbone.backbone.depth=18",
                    *NO_EVIDENCE,
                ),
            ),
        ),
    ),
    "docs/how-to/settle-labels.md": Sandbox(finished),
    "docs/how-to/several-processes.md": Sandbox(copied("my-images")),
    "docs/how-to/strategies.md": Sandbox(different, (("strategies", (*PLAIN[2:], "--passes", "1", "--set", "size=32")),)),
    "docs/how-to/voices.md": Sandbox(speakers, (("run", ("--weights", "mobilenet.safetensors", *NO_EVIDENCE)),)),
    "docs/reference/python.md": Sandbox(api),
    "docs/tutorial.md": Sandbox(),
}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Fenced examples of a page that run: (language, text)."""
    return [(language, text) for language, text in BLOCK.findall(page.read_text()) if language in ("python", "sh")]


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def trains(page: Path) -> bool:
    return any(word in text for _, text in blocks(page) for word in ("resdx run", "resdx ", "resdx.run("))


EXAMPLES = [
    pytest.param(page, id=name(page), marks=[pytest.mark.slow] if trains(page) else [])
    for page in PAGES
    if blocks(page) and "review/" not in name(page)
]


@pytest.mark.parametrize("page", EXAMPLES)
def test_examples_run(page, films, tmp_path, monkeypatch):
    sandbox = SANDBOXES.get(name(page), Sandbox())
    monkeypatch.chdir(tmp_path)  # first of all: workers stay where they were started
    sandbox.fill(tmp_path, films)
    known: dict[str, object] = {"__name__": "__main__", "EVIDENCE": EVIDENCE}
    for language, text in blocks(page):
        if language == "python":
            if own := FILE.match(text):
                Path(own[1]).write_text(text)
            exec(compile(in_python(text), name(page), "exec", dont_inherit=True), known)  # what a reader would type
        else:
            for line in text.splitlines():
                type_in(line, dict(sandbox.smaller))


def type_in(line: str, smaller: dict[str, Sequence[str]]) -> None:
    """Run a line of a shell example, or know where else it is run."""
    for one in COMMENT.sub("", line).split("&&"):
        words = shlex.split(one.split(" > ")[0])
        if not words or words[0] == "." or {words[0], " ".join(words[:2])} & ELSEWHERE.keys():
            continue
        assert words[0] == "resdx", f"nothing runs {one!r}"
        if words[1:2] == ["--help"]:
            continue
        said = CliRunner().invoke(cli, [*words[1:], *smaller.get(words[1], ())], catch_exceptions=False)
        assert said.exit_code == 0, f"{one}: {said.stderr}"
