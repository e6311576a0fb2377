"""`resdx demo FOLDER`: an audit of planted faults, a run on clean films, both held against the truth.

Everything here is public: draw_phantoms, a source, audit and run. It takes a few minutes on two cores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ..data.audit.audit import Audit, audit
from ..data.cases import Finding, Manifest
from ..data.phantoms import OPACITY, Truth, draw_phantoms
from ..data.sources.folders import FolderPerClass
from ..evaluation.diagnostics.controls import controls
from ..evaluation.diagnostics.leakage import leak_worth
from ..evaluation.saliency.pointing import pointing_game
from ..metrics.estimate import Estimate
from ..models.specs import Net, ResNet
from ..recipes.learning import FeatureClassifier
from ..recipes.library import get_recipe
from ..runs.prepared import prepared_of
from ..studies.pipeline import headline
from ..studies.stages import EVIDENCE, repeat
from ..studies.study import run
from ..transforms.image import Resize
from ..transforms.readers.image import ReadImage

PERSON = r"^(p\d+)"  # p017_0.png and p017_1.png show the same person
SHORTCUT = 0.6  # fraction of the persons whose hospital follows from the class
CONTRAST = 2.0  # of an opacity, twice the usual: few minutes are few steps
PROBE_STEPS = 40  # of each small training of the controls, a third of the usual
FAINT: Mapping[str, Any] = {
    "persons": 80,
    "images": 6,
    "prevalence": 0.5,
    "contrast": 0.35,
}  # so faint that to know the person helps more
SETTINGS = (  # small enough for two cores; every other setting is the plain recipe's
    ("title", "Opacities in synthetic chest films with ResNet-18"),
    ("model.backbone.depth", "18"),
    ("model.backbone.last_stride", "1"),  # a map of 6 x 6 instead of 3 x 3
    ("size", "96"),
    ("learn.start_size", "0"),
    ("learn.epochs", "4"),
    ("learn.batch", "8"),  # many small steps: an opacity is found after about 100, whatever their size
    ("learn.ema", "0.99"),
)


@dataclass(frozen=True)
class Plant:
    """One kind of planted fault: how many there are, how many the audit names, and in which finding."""

    what: str
    planted: int
    found: int
    where: str


def demo(folder: Path) -> None:
    """Write three collections and two runs below a new folder, and print what was planted and found.

    Raises:
        DataError: the folder holds these collections already.
    """
    title("1. A collection with faults, audited")
    truth = draw_faulty(folder / "faulty")
    click.echo(f"{len(truth.manifest)} synthetic chest films from two hospitals, with faults that real collections have:\n")
    click.echo(table(plants(truth, audit(as_filed(truth), ReadImage(), processes=1))))
    learn(folder)
    leak(folder)


def learn(folder: Path, *, persons: int = 240, changes: Sequence[tuple[str, str]] = SETTINGS, steps: int = PROBE_STEPS) -> None:
    """Train on a clean collection of `persons` persons, two films each, explain the run and report it.

    `changes` are settings of the run; `steps` is the length of each small training of the shortcut controls.
    """
    title("2. A clean collection, learnt from")
    clean = draw_phantoms(folder / "clean", persons=persons, contrast=CONTRAST)
    click.echo(
        f"{len(clean.manifest)} films of {persons} persons, {len(clean.boxes)} with an opacity. Audit, split by person, train:\n"
    )
    study = run(folder / "clean-truth.csv", out=folder / "run", changes=changes, weights="resdx", skip=("controls",))
    click.echo(f"\nOn {study.metrics.test.persons} persons that the network has never seen:")
    click.echo("\n".join(headline(study.metrics)[1:]))

    title("3. Where the network looks")
    prepared = prepared_of(study.run)
    game = pointing_game(study.run, prepared, only_found=True)
    click.echo(f"Of the films rightly called {OPACITY!r}, the peak of the map lies on the opacity in a fraction of {game}.")
    click.echo(f"({game.note})")
    controls(study.run, prepared, steps=steps)
    repeat(study.run, "report")  # with the controls
    click.echo(f"\nThe report is {study.report().resolve()}")


def leak(folder: Path, films: Mapping[str, Any] = FAINT, *, seeds: int = 6) -> None:
    """Measure the leakage effect with frozen features of ResNet-18.

    Opacities are faint there, and persons have many films.
    """
    title("4. The leakage effect")
    truth = draw_phantoms(folder / "faint", **films)
    click.echo(
        f"{len(truth.manifest)} films of {films['persons']} persons, with opacities so faint that they are hard to find:\n"
    )
    recipe = replace(
        get_recipe("plain"),
        title="Faint opacities in synthetic chest films, frozen ResNet-18 features",
        prepare=(Resize(96),),
        model=Net(ResNet(18, weights="resdx", frozen="all")),
        learn=FeatureClassifier(),
    )
    study = run(folder / "faint-truth.csv", recipe=recipe, out=folder / "leak", skip=EVIDENCE)
    leak_worth(study.run, prepared_of(study.run), seeds=seeds)
    repeat(study.run, "report")  # with the leakage effect
    click.echo("\n" + priced(study.run.read("leak-worth.json", "leak-worth")))
    click.echo(f"\nIts report is {study.report().resolve()}")


def draw_faulty(folder: Path) -> Truth:
    """160 persons, a quarter of them in a shipped test part, and a few of every fault."""
    return draw_phantoms(folder, persons=160, test_share=0.25, across=24, copies=4, near=4, leak=3, misfiled=4, shortcut=SHORTCUT)


def priced(found: Mapping[str, Any]) -> str:
    """leak-worth.json in words."""
    if "missing" in found:
        return str(found["missing"])
    worth, without, with_leak = (Estimate.from_json(found[name]) for name in ("worth", "without", "with_leak"))
    return (
        "A classifier was trained twice on as many films: without the persons it is tested on, and with other films of them.\n"
        f"AUROC without {without}, with the leak {with_leak}: the leakage effect is {worth}."
    )


def as_filed(truth: Truth) -> Manifest:
    """The collection as whoever filed it sees it, by file and folder names.

    Persons come from the file name and classes from the folder; the hospital is known.
    """
    found = FolderPerClass(group=PERSON).scan(truth.manifest.root)
    return replace(found, cases=tuple(replace(case, source=truth.manifest.by_id[case.id].source) for case in found.cases))


def plants(truth: Truth, found: Audit) -> list[Plant]:
    """Hold the audit against the truth."""
    by_code = {finding.code: finding for finding in found.findings}
    clusters = [set(cluster) for cluster in found.clusters]

    def finding(*codes: str) -> Finding:
        return next((by_code[code] for code in codes if code in by_code), Finding("no finding", "note", ""))

    def pairs(what: str, planted: Iterable[tuple[str, str]], code: str) -> Plant:
        planted, named = list(planted), finding(code)
        hits = [pair for pair in planted if {*pair} <= {*named.cases} and any({*pair} <= cluster for cluster in clusters)]
        return Plant(what, len(planted), len(hits), named.code)

    across, classes = finding("persons-across-parts", "id-may-restart"), finding("persons-across-classes")
    source = finding("source-determines-class", "source-tells-class")
    persons = {truth.manifest.by_id[case].group for case in across.cases}
    told = (
        f", AUROC {source.figures['auroc']:.2f} ({source.figures['low']:.2f}-{source.figures['high']:.2f})"
        if source.figures
        else ""
    )
    return [
        pairs("a file copied under a new name", truth.copies, "exact-copies"),
        pairs("a film made smaller, as JPEG, under a new name", truth.near, "near-duplicates"),
        Plant("a person in both train and test (a leak)", len(truth.across), len(persons & {*truth.across}), across.code),
        Plant("a film in the wrong class", len(truth.mislabelled), len({*truth.mislabelled} & {*classes.cases}), classes.code),
        Plant(f"a hospital that follows the class ({SHORTCUT:.0%})", 1, int(bool(source.figures)), source.code + told),
        replace(
            pairs("another film of a person under a new name", truth.leaks, "near-duplicates"),
            where="only if the two look alike: give person ids",
        ),
    ]


def table(rows: list[Plant]) -> str:
    """Planted against found, a line a kind."""
    lines = [f"  {'fault':<48}{'planted':>9}{'found':>7}   the audit says"]
    lines += [f"  {row.what:<48}{row.planted:>9}{row.found:>7}   {row.where}" for row in rows]
    return "\n".join(lines)


def title(text: str) -> None:
    """A heading on the terminal."""
    click.echo(f"\n{text}\n{'-' * len(text)}")
