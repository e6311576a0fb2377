"""The page itself: facts gathered from all sections, rendered as one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..data.split import PARTS
from ..errors import RunError, count
from ..files import write_json, write_text
from ..runs.run import Run
from .charts import CHARTS
from .checklists import filled
from .evidence import EVIDENCE, Picture, from_file, samples, stored_pictures
from .format import (
    Json,
    code,
    figure,
    interval,
    listed,
    method,
    named,
)
from .model_card import card
from .sections import STAGES, failed, folds, made_with, recipe, section, settings
from .verdict import doubts, limits, verdict

SHOWN_IDS = 8  # of the cases a finding concerns
SECTIONS: dict[str, Callable[[Run], Json]] = STAGES | EVIDENCE


def report(run: Run, *, picture: Picture | None = None) -> Path:
    """Write report.html and report.json from what the run holds so far.

    Given back is the path of the page.

    Args:
        picture: the prepared picture of a training case, where it is at hand; by default its file is read and prepared again.

    Raises:
        RunError: the pages cannot be written; or they are, but a section could not be made, which they say too.
    """
    found = facts(run)
    write_json(run.path / "report.json", found)
    path = run.path / "report.html"
    shown = section(lambda: samples(run, picture or from_file(run)), run.path)
    write_text(path, render(found, shown, stored_pictures(run, found)))
    if errors := failed(found | {"samples": shown}):
        name, error = next(iter(errors.items()))
        raise RunError(
            f"{path} is written without {count(len(errors), 'section')} ({', '.join(errors)}); {name} failed with: {error}"
        )
    return path


def facts(run: Run) -> Json:
    """All that the page says, as plain data.

    A section without its files is `{"missing": why}`, see `sections.section`.
    """
    found: Json = {name: section(partial(read, run), run.path) for name, read in SECTIONS.items()}
    found |= {"recipe": recipe(run), "settings": settings(run), "made_with": made_with(run)}
    found |= {"verdict": verdict(found), "doubts": doubts(found), "limits": limits(found)}
    return found | {"card": card(found), "checklists": filled(found)}


def render(found: Mapping[str, Any], samples: Mapping[str, Any], files: Mapping[str, str] | None = None) -> str:
    """The page: one HTML file that loads nothing; every text of the user is escaped.

    `files` are data URLs by picture name.
    """
    page = _environment().get_template("report.html")
    return page.render(found, pictures=samples, files=files or {}, charts=CHARTS, parts=PARTS, shown_ids=SHOWN_IDS)


def report_folds(parent: Path) -> Path:
    """Write report.html of a cross-validated parent.

    It has the figures over its folds, and a link to the page of each.

    Raises:
        RunError: the directory holds no folds.
    """
    runs = sorted(parent.glob("fold-*/run.json"))
    if not runs:
        raise RunError(f"{parent} holds no folds; make them with `resdx run DATA --folds 5 --out {parent}`")
    first = Run.open(runs[0].parent, quiet=True)
    found = section(lambda: folds(first), first.path)
    pages = [{"name": path.parent.name, "page": (path.parent / "report.html").exists()} for path in runs]
    page = _environment().get_template("folds.html")
    text = page.render(recipe=recipe(first), settings=settings(first), folds=found, runs=pages, charts=CHARTS)
    write_text(parent / "report.html", text)
    return parent / "report.html"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("resdx.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"figure": figure, "interval": interval, "named": named, "count": count, "listed": listed}
    environment.filters |= {
        "code": code,
        "method": method,
        "rows": _rows,
    }
    return environment


def _rows(members: list[Json]) -> list[tuple[str, Json]]:
    """Controls as rows of a forest plot."""
    return [(one["name"], one["auroc"]) for one in members]
