"""Commands about several runs, about published systems, about starting weights, and the demonstration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ...errors import count
from .commands import command
from .options import pairs


@command("compare")
@click.argument("runs", nargs=-1, required=True)
@click.option("--out", metavar="FOLDER", help="Write compare.html and compare.json there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare_command(runs: tuple[str, ...], out: str | None, as_json: bool) -> None:
    from ...runs.run import Run
    from ...studies.compare import compare, table, write_comparison

    found = compare([Run.open(run, quiet=True) for run in runs])
    click.echo(json.dumps(found) if as_json else table(found))
    if out:
        click.echo(f"compare: {write_comparison(found, Path(out))}", err=True)


@command("pretrain")
@click.argument("sets", nargs=-1, required=True, metavar="[NAME=]DATA...")
@click.option("--out", required=True, metavar="FOLDER", help="Where weights, card and checkpoints go; the same command goes on.")
@click.option(
    "--recipe", "recipes", multiple=True, metavar="NAME=RECIPE", callback=pairs, help="How a set is read [default: plain]."
)
@click.option("--licence", "licences", multiple=True, metavar="NAME=TEXT", callback=pairs, help="For the card.")
@click.option(
    "--weight", multiple=True, metavar="NAME=NUMBER", callback=pairs, help="Draw a set more or less often [default: 1]."
)
@click.option("--target", multiple=True, metavar="RUN", help="A run whose test set must not be in the sets.")
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
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", callback=pairs, help="Change the training: learn.epochs=3."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pretrain_command(sets: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    from ...studies.pretraining import pretrain_sets

    path = pretrain_sets(sets, quiet=as_json, **asked)
    click.echo(json.dumps({"weights": str(path), **json.loads((path.parent / "corpus.json").read_text())}) if as_json else path)


@command("forensics")
@click.argument("figure")
@click.argument("classes", nargs=-1)
@click.option(
    "--n", "total", type=click.IntRange(0), default=0, metavar="CASES", help="Of the whole data set: its usual parts are tried."
)
@click.option("--of", type=click.IntRange(0), default=0, metavar="CASES", help="Of the test set.")
@click.option("--most", type=click.IntRange(2), default=200, show_default=True, metavar="CASES", help="Where neither is known.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def forensics_command(figure: str, classes: tuple[str, ...], as_json: bool, **asked: int) -> None:
    from ...studies.review.forensics import counts, joint, table

    if not as_json:
        click.echo(table(figure, classes, **asked))
    elif classes:
        together = joint(figure, classes, of=asked["of"], most=asked["most"])
        click.echo(json.dumps([[{"right": one.right, "of": one.of} for one in chosen] for chosen in together]))
    else:
        click.echo(json.dumps([{"right": one.right, "of": one.of, "part": one.part} for one in counts(figure, **asked)]))


@command("review")
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
    from ...studies.review import review, write_pages

    found = review(systems, quiet=as_json, **asked)
    page = write_pages(asked["out"])
    for name, why in found["failed"].items():
        click.echo(f"{name}: {why}", err=True)
    click.echo(json.dumps(found) if as_json else f"{count(len(found['cells']), 'cell')}; {page}")
    if found["failed"]:
        raise SystemExit(1)


@command("strategies")
@click.argument("data")
@click.option("--out", type=click.Path(path_type=Path), default="strategies", show_default=True, help="Runs and pages go here.")
@click.option("--recipe", default="plain", show_default=True, metavar="NAME", help="A recipe that trains a network.")
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", callback=pairs, help="Change the recipe: learn.epochs=3.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--accept", multiple=True, metavar="CODE", help="An audit finding that shall not stop the runs.")
@click.option("--passes", type=click.IntRange(1), default=10, show_default=True, help="Of the pre-training over the images.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output and nothing else.")
def strategies_command(data: str, as_json: bool, **asked: Any) -> None:
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


@command("gallery")
@click.option(
    "--out", type=click.Path(path_type=Path), default="gallery", show_default=True, help="Where the page and pictures go."
)
def gallery_command(out: Path) -> None:
    from ...studies.review.gallery import gallery

    click.echo(gallery(out))


@command("recipes")
@click.argument("name", default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of the recipe NAME as a run stores it.")
def recipes_command(name: str, as_json: bool, schema: bool) -> None:
    from ...recipes.library import recipe_facts, recipe_list, recipe_schema, recipe_table, recipe_text

    if schema:
        if not name:
            raise click.UsageError("--schema needs the NAME of a recipe, such as plain")
        click.echo(json.dumps(recipe_schema(name), indent=2))
    elif as_json:
        click.echo(json.dumps(recipe_facts(name) if name else recipe_list()))
    else:
        click.echo(recipe_text(recipe_facts(name)) if name else recipe_table())


@command("demo")
@click.argument("folder", type=click.Path(path_type=Path), default="demo")
def demo_command(folder: Path) -> None:
    """Two collections, a run and its report go into FOLDER (default: demo).

    FOLDER must not hold any of them yet. Takes a few minutes.
    """
    from ..demo import demo

    demo(folder)
