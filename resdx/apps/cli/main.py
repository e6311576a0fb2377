"""The command line: one function a stage; each parses, calls one function and prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ... import __version__
from ...errors import ResdxError, count

STAGES = {
    "audit": "Look for what would make the result wrong; status 1 while a finding of grade stop is open or a file cannot be read.",
    "split": "Divide the persons into train, tune, calib and test.",
    "prepare": "Read and prepare every picture once, into the store's cache.",
    "train": "Train, or go on where training was killed.",
    "calibrate": "Fit calibrator, operating points and conformal limits on calib.",
    "controls": "Ask small probes what the border, the source and the file tell of the class.",
    "explain": "Draw maps of where the network looks, and check whether they can be read.",
    "embedding": "Lay the cases out by how alike the network finds them.",
    "suspects": "List the cases whose label the network doubts most, to be settled by a person.",
    "leak-worth": "Measure what images of test persons in training would be worth; trains small networks.",
    "learning-curve": "Measure what more persons would bring; trains small networks.",
}
EVIDENCE = ("controls", "explain", "embedding", "suspects", "leak-worth", "learning-curve")  # the report shows it
BEFORE = ("audit", "split", "prepare", "train")  # what the weights rest on
SKIPPED = EVIDENCE[:4]  # what --skip may leave out


class _Group(click.Group):
    """Turns an error of resdx into its sentence and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ResdxError as error:
            click.echo(f"resdx: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo(
                "resdx: stopped; go on with `resdx resume RUN`, or with the same command where it was `resdx pretrain`", err=True
            )
            sys.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="resdx")
def cli() -> None:
    """From a folder of medical images to a ResNet-50 diagnosis model one can defend. For research, not for diagnosis of patients."""


def _pairs(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = [tuple(value.split("=", 1)) for value in values]
    if wrong := [value for value, pair in zip(values, pairs, strict=True) if len(pair) != 2]:
        raise click.BadParameter(f"{wrong[0]!r} is no FIELD=VALUE, such as learn.epochs=3")
    return pairs  # type: ignore[return-value]


def _asking(command: Callable[..., None]) -> Callable[..., None]:
    """The options of the commands that begin a run."""
    options = (
        click.option(
            "--recipe", default="plain", show_default=True, metavar="NAME", help="A recipe, NAME:VARIANT, or a .py file."
        ),
        click.option("--out", metavar="RUN", help="The run directory [default: a new one below runs]."),
        click.option(
            "--set", "changes", multiple=True, metavar="FIELD=VALUE", callback=_pairs, help="Change the recipe: learn.epochs=3."
        ),
        click.option("--size", type=click.IntRange(16), metavar="PIXELS", help="Side of the prepared pictures."),
        click.option(
            "--weights",
            default="",
            metavar="FILE",
            help="Starting weights in place of the recipe's: a file, resdx, resdx-views, imagenet or none.",
        ),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of split and training."),
        click.option("--protocol", type=click.Choice(["honest", "published", "assumed"]), default="honest", show_default=True),
        click.option("--accept", multiple=True, metavar="CODE", help="An audit finding that shall not stop the run."),
        click.option("--skip", multiple=True, type=click.Choice(SKIPPED), help="Evidence that is not made, to save minutes."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output and nothing else."),
    )
    for option in reversed(options):
        command = option(command)
    return click.argument("data")(command)


def _on_run(command: Callable[..., None]) -> Callable[..., None]:
    """The argument and options of the commands that go on with a run."""
    options = (
        click.option("--accept", multiple=True, metavar="CODE", help="An audit finding that shall not stop the run."),
        click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return _opening(command)


def _opening(command: Callable[..., None]) -> Callable[..., None]:
    own = click.option("--recipe", default="", metavar="FILE.py", help="Your recipe file, where RUN uses steps that it defines.")
    return click.argument("run")(own(command))


def _options(size: int | None, changes: list[tuple[str, str]], **asked: Any) -> dict[str, Any]:
    return {**asked, "changes": [*changes, *([("size", str(size))] if size else [])]}


def _tell_failures(run: Any) -> None:
    """One sentence and status 1 where the work went on without some files."""
    if failures := run.failures:
        click.echo(f"resdx: {count(len(failures), 'file')} left out as unusable; see {run.path / 'failures.csv'}", err=True)
        sys.exit(1)


def _started(as_json: bool, **asked: Any) -> Any:
    from ...studies.study import start

    return start(**_options(**asked), quiet=as_json)


@cli.command("run")
@_asking
@click.option("--folds", type=click.IntRange(2), help="Cross-validate: test every case once, in this many runs below RUN.")
def run_command(as_json: bool, folds: int | None, **asked: Any) -> None:
    """Do everything from scan to report for DATA: a folder of images, a CSV table or a DICOM folder."""
    from ...studies.stages import resume

    if folds:
        from ...runs.run import Run
        from ...studies.cross_validation import cross_validate, table
        from ...studies.study import default_folder

        asked["out"] = asked["out"] or default_folder(asked["data"], asked["recipe"])
        found = cross_validate(folds=folds, **_options(**asked), quiet=as_json)
        click.echo(json.dumps(found) if as_json else table(found))
        _tell_failures(Run.open(Path(asked["out"]) / "fold-0"))  # every fold has the same files
        return

    run = _started(as_json=as_json, **asked)
    resume(run)
    if as_json:
        click.echo(json.dumps({"run": str(run.path), **run.metrics}))
    _tell_failures(run)


@cli.command("scan")
@_asking
def scan_command(as_json: bool, **asked: Any) -> None:
    """List the cases of DATA in a new run directory."""
    from ...studies.stages import repeat

    run = _started(as_json=as_json, **asked)
    repeat(run, "scan")
    if as_json:
        click.echo(json.dumps({"run": str(run.path), "cases": len(run.manifest), "sha256": run.manifest.sha256}))


def _stage_command(name: str, text: str) -> None:
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
            _tell_failures(opened)

    if name in BEFORE:
        command = click.option(
            "--again", is_flag=True, help="Begin anew, though RUN is trained: its weights and results are removed."
        )(command)
    cli.command(name, help=text)(_on_run(command))


for _name, _text in STAGES.items():
    _stage_command(_name, _text)


@cli.command("evaluate")
@_on_run
@click.option("--on", "other", metavar="OTHER", help="External validation: other DATA, or another run, instead of the test part.")
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="THERE=CLASS",
    callback=_pairs,
    help="A label of OTHER by our name; ? for not assessed.",
)
def evaluate_command(
    run: str, recipe: str, accept: tuple[str, ...], as_json: bool, other: str | None, mapping: list[tuple[str, str]]
) -> None:
    """Score the test part once, or OTHER data that shares no picture and no person, with intervals over persons."""
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


@cli.command("report")
@_on_run
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


@cli.command("compare")
@click.argument("runs", nargs=-1, required=True)
@click.option("--out", metavar="FOLDER", help="Write compare.html and compare.json there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare_command(runs: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Which of RUNS is better, on the same test cases, with tests and intervals over persons and seeds."""
    from ...runs.run import Run
    from ...studies.compare import compare, table, write_comparison

    found = compare([Run.open(run, quiet=True) for run in runs])
    click.echo(json.dumps(found) if as_json else table(found))
    if out:
        click.echo(f"compare: {write_comparison(found, Path(out))}", err=True)


@cli.command("resume")
@_on_run
def resume_command(run: str, recipe: str, accept: tuple[str, ...], as_json: bool) -> None:
    """Go on with RUN where it stopped or was killed."""
    from ...runs.run import Run
    from ...studies.stages import resume
    from ...studies.study import accepting

    opened = accepting(Run.open(run, recipe=recipe, quiet=as_json), accept)
    resume(opened)
    if as_json:
        click.echo(json.dumps(opened.metrics))
    _tell_failures(opened)


@cli.command("predict")
@_opening
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--engine",
    type=click.Choice(["auto", "torch", "onnx", "openvino", "bf16", "int8"]),
    default="auto",
    show_default=True,
    help="Of those that RUN was exported for; auto takes the fastest.",
)
@click.option(
    "--maps",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each picture with its class activation map.",
)
@click.option(
    "--boxes",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each picture with the boxes that are found.",
)
@click.option(
    "--strips",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Draw each electrocardiogram with its heartbeats marked.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict_command(
    run: str,
    recipe: str,
    files: tuple[str, ...],
    engine: str,
    maps: Path | None,
    boxes: Path | None,
    strips: Path | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Answer for FILES (images, recordings, or folders of them) with the finished RUN, with all folds of one, or with an exported folder; status 1 when a file could not be read."""
    from ...inference.files import predict_files, to_csv, to_json, to_table

    if as_csv and as_json:
        raise click.UsageError("Choose one of --csv and --json.")
    answers, failures = predict_files(
        run, files, engine=engine, maps=maps, boxes=boxes, strips=strips, recipe=recipe, quiet=as_csv or as_json
    )
    click.echo((to_csv if as_csv else to_json if as_json else to_table)(answers), nl=False)
    for _, reason in failures:
        click.echo(f"resdx: {reason}", err=True)
    if failures:
        sys.exit(1)


@cli.command("export")
@_opening
@click.option(
    "--to",
    "engines",
    multiple=True,
    type=click.Choice(["onnx", "openvino", "bf16", "int8"]),
    default=("int8",),
    show_default=True,
    help="Engine; may be repeated.",
)
@click.option(
    "--guard/--no-guard",
    default=True,
    help="Refuse int8 that loses more than 0.005 of AUROC, or flips more than 1 % and more than 3 decisions [default: guard].",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export_command(run: str, recipe: str, engines: tuple[str, ...], guard: bool, as_json: bool) -> None:
    """Write a folder that answers like the finished RUN, without PyTorch and faster, and measure how nearly."""
    from ...files import read_json
    from ...inference.bundle import EXPORTED
    from ...runs.run import Run
    from ...studies.export import export

    opened = Run.open(run, recipe=recipe, quiet=as_json)
    folders = export(opened, *engines, guard=guard)
    if as_json:
        told = [{"folder": str(folder), **read_json(folder / EXPORTED)} for folder in folders]
        click.echo(json.dumps([{key: one[key] for key in ("folder", "engine", "parity", "note")} for one in told]))


@cli.command("pretrain")
@click.argument("sets", nargs=-1, required=True, metavar="[NAME=]DATA...")
@click.option("--out", required=True, metavar="FOLDER", help="Where weights, card and checkpoints go; the same command goes on.")
@click.option(
    "--recipe", "recipes", multiple=True, metavar="NAME=RECIPE", callback=_pairs, help="How a set is read [default: plain]."
)
@click.option("--licence", "licences", multiple=True, metavar="NAME=TEXT", callback=_pairs, help="For the card.")
@click.option(
    "--weight", multiple=True, metavar="NAME=NUMBER", callback=_pairs, help="Draw a set more or less often [default: 1]."
)
@click.option("--target", multiple=True, metavar="RUN", help="A run whose test part must not be in the sets.")
@click.option("--depth", type=click.Choice(["18", "34", "50", "101"]), default="50", show_default=True, help="Of the ResNet.")
@click.option("--size", type=click.IntRange(32), default=112, show_default=True, metavar="PIXELS", help="Side of the pictures.")
@click.option("--labels", type=click.FloatRange(0), default=0, show_default=True, help="How much the labels count.")
@click.option(
    "--views", type=click.FloatRange(0), default=1, show_default=True, help="How much it counts that two views agree (VICReg)."
)
@click.option(
    "--teacher", type=click.FloatRange(0), default=0, show_default=True, help="How much ImageNet's MobileNet-V2 counts."
)
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", callback=_pairs, help="Change the training: learn.epochs=3."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pretrain_command(sets: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    """Learn from several data sets (folders, tables, DICOM folders or audited runs) to start other trainings from."""
    from ...studies.pretraining import pretrain_sets

    path = pretrain_sets(sets, quiet=as_json, **asked)
    click.echo(json.dumps({"weights": str(path), **json.loads((path.parent / "corpus.json").read_text())}) if as_json else path)


@cli.command("forensics")
@click.argument("figure")
@click.argument("classes", nargs=-1)
@click.option(
    "--n", "total", type=click.IntRange(0), default=0, metavar="CASES", help="Of the whole data set: its usual parts are tried."
)
@click.option("--of", type=click.IntRange(0), default=0, metavar="CASES", help="Of the test part.")
@click.option("--most", type=click.IntRange(2), default=200, show_default=True, metavar="CASES", help="Where neither is known.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def forensics_command(figure: str, classes: tuple[str, ...], as_json: bool, **asked: int) -> None:
    """Say which counts can print a published FIGURE; with the rates of its CLASSES, which counts print them all."""
    from ...studies.review.forensics import counts, joint, table

    if not as_json:
        click.echo(table(figure, classes, **asked))
    elif classes:
        together = joint(figure, classes, of=asked["of"], most=asked["most"])
        click.echo(json.dumps([[{"right": one.right, "of": one.of} for one in chosen] for chosen in together]))
    else:
        click.echo(json.dumps([{"right": one.right, "of": one.of, "part": one.part} for one in counts(figure, **asked)]))


@cli.command("review")
@click.argument("systems", nargs=-1)
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="The folder that holds the data sets."
)
@click.option(
    "--out", type=click.Path(path_type=Path), default="review", show_default=True, help="Cells, runs and pages go here."
)
@click.option(
    "--budget",
    type=click.Choice(["small", "full"]),
    default="small",
    show_default=True,
    help="small: frozen features where the system allows it; full: the recipe's own settings.",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output and nothing else.")
def review_command(systems: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    """Measure published SYSTEMS (default: all) on real data, under two protocols, and write the comparative table."""
    from ...studies.review import review, write_pages

    found = review(systems, quiet=as_json, **asked)
    page = write_pages(asked["out"])
    for name, why in found["failed"].items():
        click.echo(f"{name}: {why}", err=True)
    click.echo(json.dumps(found) if as_json else f"{count(len(found['cells']), 'cell')}; {page}")
    if found["failed"]:
        raise SystemExit(1)


@cli.command("strategies")
@click.argument("data")
@click.option("--out", type=click.Path(path_type=Path), default="strategies", show_default=True, help="Runs and pages go here.")
@click.option("--recipe", default="plain", show_default=True, metavar="NAME", help="A recipe that trains a network.")
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", callback=_pairs, help="Change the recipe: learn.epochs=3."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--accept", multiple=True, metavar="CODE", help="An audit finding that shall not stop the runs.")
@click.option("--passes", type=click.IntRange(1), default=10, show_default=True, help="Of the pre-training over the images.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output and nothing else.")
def strategies_command(data: str, as_json: bool, **asked: Any) -> None:
    """Compare from scratch, frozen features, pre-training and transfer learning on DATA: what each reaches and costs."""
    from ...studies.strategies import strategies

    found = strategies(data, quiet=as_json, **asked)
    if as_json:
        click.echo(json.dumps(found))
        return
    for row in found["rows"]:
        area = row["figures"][found["main"]]["value"]
        click.echo(f"{row['title']}: AUROC {'-' if area is None else format(area, '.3f')}, {row['seconds'] / 60:.1f} minutes")
    for name, why in found["failed"].items():
        click.echo(f"{name}: {why}", err=True)
    click.echo(asked["out"] / "strategies.html")


@cli.command("gallery")
@click.option(
    "--out", type=click.Path(path_type=Path), default="gallery", show_default=True, help="Where the page and pictures go."
)
def gallery_command(out: Path) -> None:
    """Draw what published systems do to a picture, and their networks, from phantoms."""
    from ...studies.review.gallery import gallery

    click.echo(gallery(out))


@cli.command("recipes")
@click.argument("name", default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recipes_command(name: str, as_json: bool) -> None:
    """List the recipes, or tell all of NAME: what its paper published, what the paper does not say, and its variants."""
    from ...recipes.library import recipe_facts, recipe_list, recipe_table, recipe_text

    if as_json:
        click.echo(json.dumps(recipe_facts(name) if name else recipe_list()))
    else:
        click.echo(recipe_text(recipe_facts(name)) if name else recipe_table())


def main() -> None:
    """The program `resdx`."""
    cli(prog_name="resdx")
