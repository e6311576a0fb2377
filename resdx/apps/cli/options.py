"""Arguments and options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from ...errors import count

SKIPPED = ("controls", "explain", "embedding", "suspects")  # evidence that --skip may leave out


def pairs(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = [tuple(value.split("=", 1)) for value in values]
    if wrong := [value for value, pair in zip(values, pairs, strict=True) if len(pair) != 2]:
        raise click.BadParameter(f"{wrong[0]!r} is no FIELD=VALUE, such as learn.epochs=3")
    return pairs  # type: ignore[return-value]


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """The options of the commands that begin a run."""
    options = (
        click.option(
            "--recipe", default="plain", show_default=True, metavar="NAME", help="A recipe, NAME:VARIANT, or a .py file."
        ),
        click.option("--out", metavar="RUN", help="The run directory [default: a new one below runs]."),
        click.option(
            "--set", "changes", multiple=True, metavar="FIELD=VALUE", callback=pairs, help="Change the recipe: learn.epochs=3."
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
        alpha(default=0.10, show_default=True),
        refer(default="unsure", show_default=True),
        click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output and nothing else."),
    )
    for option in reversed(options):
        command = option(command)
    return click.argument("data")(command)


def alpha(**settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The share of wrong answers that are allowed."""
    share = click.FloatRange(0, 1, min_open=True, max_open=True)
    text = "Of the cases of each class at most this share is answered wrongly; unsure ones are referred to a person."
    return click.option("--alpha", type=share, metavar="SHARE", help=text, **settings)


def refer(**settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Whether cases are referred to a person."""
    return click.option("--refer", type=click.Choice(["unsure", "none"]), help="none answers every case.", **settings)


def on_run(command: Callable[..., None]) -> Callable[..., None]:
    """The argument and options of the commands that go on with a run."""
    options = (
        click.option("--accept", multiple=True, metavar="CODE", help="An audit finding that shall not stop the run."),
        click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return opening(command)


def opening(command: Callable[..., None]) -> Callable[..., None]:
    own = click.option("--recipe", default="", metavar="FILE.py", help="Your recipe file, where RUN uses steps that it defines.")
    return click.argument("run")(own(command))


def options(size: int | None, changes: list[tuple[str, str]], **asked: Any) -> dict[str, Any]:
    return {**asked, "changes": [*changes, *([("size", str(size))] if size else [])]}


def report_failures(run: Any) -> None:
    """One sentence and status 1 where the work went on without some files."""
    if failures := run.failures:
        click.echo(f"resdx: {count(len(failures), 'file')} left out as unusable; see {run.path / 'failures.csv'}", err=True)
        sys.exit(1)
