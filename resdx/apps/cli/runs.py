"""Commands that make a run and go on with it: one a stage; each parses, calls one function and prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .commands import command
from .options import alpha, asking, on_run, options, pairs, refer, report_failures

STAGES = (
    "audit",
    "split",
    "prepare",
    "train",
    "calibrate",
    "controls",
    "explain",
    "embedding",
    "suspects",
    "leak-worth",
    "learning-curve",
)
EVIDENCE = ("controls", "explain", "embedding", "suspects", "leak-worth", "learning-curve")  # the report shows it
BEFORE = ("audit", "split", "prepare", "train")  # what the weights rest on


def _started(as_json: bool, **asked: Any) -> Any:
    from ...studies.start import start

    return start(**options(**asked), quiet=as_json)


@command("run")
@asking
@click.option("--folds", type=click.IntRange(2), help="Cross-validate: test every case once, in this many runs below RUN.")
def run_command(as_json: bool, folds: int | None, **asked: Any) -> None:
    from ...studies.stages import resume

    if folds:
        from ...runs.run import Run
        from ...studies.cross_validation import cross_validate, table
        from ...studies.start import default_folder

        asked["out"] = asked["out"] or default_folder(asked["data"], asked["recipe"])
        found = cross_validate(folds=folds, **options(**asked), quiet=as_json)
        click.echo(json.dumps(found) if as_json else table(found))
        report_failures(Run.open(Path(asked["out"]) / "fold-0"))  # every fold has the same files
        return

    run = _started(as_json=as_json, **asked)
    resume(run)
    if as_json:
        click.echo(json.dumps({"run": str(run.path), **run.metrics.to_json()}))
    report_failures(run)


@command("scan")
@asking
def scan_command(as_json: bool, **asked: Any) -> None:
    from ...studies.stages import repeat

    run = _started(as_json=as_json, **asked)
    repeat(run, "scan")
    if as_json:
        click.echo(json.dumps({"run": str(run.path), "cases": len(run.manifest), "sha256": run.manifest.sha256}))


def _stage_command(name: str) -> click.Command:
    def stage_command(
        run: str, recipe: str, accept: tuple[str, ...], as_json: bool, again: bool = False, **settings: Any
    ) -> None:
        from ...runs.run import Run
        from ...studies.stages import refuse_to_lose, repeat, result_of
        from ...studies.start import accepting
        from ...training.distributed import rank

        opened = accepting(Run.open(run, recipe=recipe, quiet=as_json), accept)
        if asked := {key: value for key, value in settings.items() if value is not None}:
            opened = opened.changed(choices={**opened.settings.choices, **asked})
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
        stage_command = click.option(
            "--again", is_flag=True, help="Begin anew, though RUN is trained: its weights and results are removed."
        )(stage_command)
    if name == "calibrate":
        stage_command = alpha()(refer()(stage_command))
    return command(name)(on_run(stage_command))


for _name in STAGES:
    _stage_command(_name)


@command("evaluate")
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
    """OTHER may share no picture and no person with the data of RUN."""
    from ...runs.run import Run
    from ...studies.external import external, external_table
    from ...studies.stages import repeat, result_of
    from ...studies.start import accepting

    opened = Run.open(run, recipe=recipe, quiet=as_json)
    if other is None:
        repeat(accepting(opened, accept), "evaluate")
        if as_json:
            click.echo(json.dumps(result_of(opened, "evaluate")))
        return
    found = external(opened, other, mapping=dict(mapping), accept=accept)
    click.echo(json.dumps(found) if as_json else external_table(found))


@command("report")
@on_run
@click.option("--pdf", "as_pdf", is_flag=True, help="Print the page to report.pdf, too; needs Chromium, Chrome or Edge.")
def report_command(run: str, recipe: str, accept: tuple[str, ...], as_json: bool, as_pdf: bool) -> None:
    from ...report import report_folds, to_pdf
    from ...runs.run import Run
    from ...studies.stages import repeat, result_of
    from ...studies.start import accepting

    if (Path(run) / "folds.json").exists():
        click.echo(report_folds(Path(run)))
        return
    opened = accepting(Run.open(run, recipe=recipe, quiet=as_json), accept)
    repeat(opened, "report")
    if as_pdf:
        opened.say(f"report: {to_pdf(opened)}")
    if as_json:
        click.echo(json.dumps(result_of(opened, "report")))


@command("resume")
@on_run
def resume_command(run: str, recipe: str, accept: tuple[str, ...], as_json: bool) -> None:
    from ...runs.run import Run
    from ...studies.stages import resume
    from ...studies.start import accepting

    opened = accepting(Run.open(run, recipe=recipe, quiet=as_json), accept)
    resume(opened)
    if as_json:
        click.echo(json.dumps(opened.metrics.to_json()))
    report_failures(opened)
