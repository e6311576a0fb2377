"""Commands that make a run and go on with it: one a stage; each parses, calls one function and prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .options import asking, on_run, options, pairs, report_failures

STAGES = {
    "audit": "Find what would make the result wrong; status 1 while a stop is open or a file cannot be read.",
    "split": "Split by person: training, validation, calibration and test set.",
    "prepare": "Read and prepare every picture once, into the store's cache.",
    "train": "Train, or go on where training was killed.",
    "calibrate": "Fit calibrator, operating points and conformal limits on the calibration set.",
    "controls": "Shortcut controls: what border, source and file tell of the class, by small probes.",
    "explain": "Saliency maps of where the network looks, and whether they can be read.",
    "embedding": "Embedding map: the cases laid out by how alike the network finds them.",
    "suspects": "Label issues: the cases whose label the network doubts most, for a person to settle.",
    "leak-worth": "Leakage effect: what images of test persons in training would add; trains small networks.",
    "learning-curve": "Learning curve: what more persons would bring; trains small networks.",
}
EVIDENCE = ("controls", "explain", "embedding", "suspects", "leak-worth", "learning-curve")  # the report shows it
BEFORE = ("audit", "split", "prepare", "train")  # what the weights rest on


def _started(as_json: bool, **asked: Any) -> Any:
    from ...studies.study import start

    return start(**options(**asked), quiet=as_json)


@click.command("run")
@asking
@click.option("--folds", type=click.IntRange(2), help="Cross-validate: test every case once, in this many runs below RUN.")
def run_command(as_json: bool, folds: int | None, **asked: Any) -> None:
    """Do everything from scan to report for DATA: a folder, a CSV table or a DICOM folder."""
    from ...studies.stages import resume

    if folds:
        from ...runs.run import Run
        from ...studies.cross_validation import cross_validate, table
        from ...studies.study import default_folder

        asked["out"] = asked["out"] or default_folder(asked["data"], asked["recipe"])
        found = cross_validate(folds=folds, **options(**asked), quiet=as_json)
        click.echo(json.dumps(found) if as_json else table(found))
        report_failures(Run.open(Path(asked["out"]) / "fold-0"))  # every fold has the same files
        return

    run = _started(as_json=as_json, **asked)
    resume(run)
    if as_json:
        click.echo(json.dumps({"run": str(run.path), **run.metrics}))
    report_failures(run)


@click.command("scan")
@asking
def scan_command(as_json: bool, **asked: Any) -> None:
    """List the cases of DATA in a new run directory."""
    from ...studies.stages import repeat

    run = _started(as_json=as_json, **asked)
    repeat(run, "scan")
    if as_json:
        click.echo(json.dumps({"run": str(run.path), "cases": len(run.manifest), "sha256": run.manifest.sha256}))


def _stage_command(name: str, text: str) -> click.Command:
    def command(run: str, recipe: str, accept: tuple[str, ...], as_json: bool, again: bool = False) -> None:
        from ...runs.run import Run
        from ...studies.stages import refuse_to_lose, repeat, result_of
        from ...studies.study import accepting
        from ...training.distributed import rank

        opened = accepting(Run.open(run, recipe=recipe, quiet=as_json), accept)
        if not again:
            refuse_to_lose(opened, name)
        try:
            repeat(opened, name)
            if name in EVIDENCE:
                repeat(opened, "report")
        finally:
            if as_json and not rank():
                click.echo(json.dumps(result_of(opened, name)))
        if name in ("audit", "prepare"):
            report_failures(opened)

    if name in BEFORE:
        command = click.option(
            "--again", is_flag=True, help="Begin anew, though RUN is trained: its weights and results are removed."
        )(command)
    return click.command(name, help=text)(on_run(command))


STAGE_COMMANDS = tuple(_stage_command(name, text) for name, text in STAGES.items())


@click.command("evaluate")
@on_run
@click.option("--on", "other", metavar="OTHER", help="External validation: other DATA, or another run, instead of the test set.")
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="THERE=CLASS",
    callback=pairs,
    help="A label of OTHER by our name; ? for not assessed.",
)
def evaluate_command(
    run: str, recipe: str, accept: tuple[str, ...], as_json: bool, other: str | None, mapping: list[tuple[str, str]]
) -> None:
    """Score the test set once, or OTHER data (external validation), with intervals over persons.

    OTHER may share no picture and no person with the data of RUN.
    """
    from ...runs.run import Run
    from ...studies.external import external, external_table
    from ...studies.stages import repeat, result_of
    from ...studies.study import accepting

    opened = Run.open(run, recipe=recipe, quiet=as_json)
    if other is None:
        repeat(accepting(opened, accept), "evaluate")
        if as_json:
            click.echo(json.dumps(result_of(opened, "evaluate")))
        return
    found = external(opened, other, mapping=dict(mapping), accept=accept)
    click.echo(json.dumps(found) if as_json else external_table(found))


@click.command("report")
@on_run
@click.option("--pdf", "as_pdf", is_flag=True, help="Print the page to report.pdf, too; needs Chromium, Chrome or Edge.")
def report_command(run: str, recipe: str, accept: tuple[str, ...], as_json: bool, as_pdf: bool) -> None:
    """Write report.html of RUN, of an unfinished one, or of one with folds."""
    from ...report import report_folds, to_pdf
    from ...runs.run import Run
    from ...studies.stages import repeat, result_of
    from ...studies.study import accepting

    if (Path(run) / "folds.json").exists():
        click.echo(report_folds(Path(run)))
        return
    opened = accepting(Run.open(run, recipe=recipe, quiet=as_json), accept)
    repeat(opened, "report")
    if as_pdf:
        opened.say(f"report: {to_pdf(opened)}")
    if as_json:
        click.echo(json.dumps(result_of(opened, "report")))


@click.command("resume")
@on_run
def resume_command(run: str, recipe: str, accept: tuple[str, ...], as_json: bool) -> None:
    """Go on with RUN where it stopped or was killed."""
    from ...runs.run import Run
    from ...studies.stages import resume
    from ...studies.study import accepting

    opened = accepting(Run.open(run, recipe=recipe, quiet=as_json), accept)
    resume(opened)
    if as_json:
        click.echo(json.dumps(opened.metrics))
    report_failures(opened)
