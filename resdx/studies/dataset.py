"""A data set before anything is learnt from it: its audit and its split, without a run directory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ..data import split as splits
from ..data.audit import audit as audits
from ..data.audit.audit import ACCEPTABLE, Audit
from ..data.cases import Manifest
from ..data.sources.detect import detect
from ..data.split import Split
from ..errors import AuditStop, RunError
from ..files import progress
from ..recipes.learning import FeatureClassifier
from ..recipes.library import get_recipe
from ..recipes.recipe import Recipe
from ..runs.run import resolve_data
from ..runs.settings import Protocol


def audit(data: str | Path, *, recipe: str | Recipe = "plain", processes: int | None = None, quiet: bool = False) -> Audit:
    """Find what would make a result wrong: copies, shared persons, shortcuts, odd and unreadable files.

    Nothing is changed.

    Args:
        data: a folder, a CSV table or a DICOM folder.
        recipe: a name, "name:variant", the path of a .py file, or a Recipe: how the data is listed and read.
        processes: workers that read files; all cores by default.
        quiet: no progress bar.

    Returns:
        The audit: `findings`, each with `grade` (stop, look or note), `code`, `text` and the `cases` concerned, the gravest
            first; `clusters`
            of cases that show the same picture; `unreadable` files with the reason; `facts` of the others.

    Raises:
        DataError: nothing is there, or it is laid out in no way that resdx knows.
        RecipeError: there is no such recipe, or the labels are not those of its classes.
    """
    manifest, asked = _scanned(data, recipe)
    return _audited(manifest, asked, processes, quiet)


def split(
    data: str | Path,
    *,
    recipe: str | Recipe = "plain",
    protocol: Protocol = "honest",
    seed: int = 0,
    fold: int | None = None,
    folds: int = 5,
    accept: Sequence[str] = (),
    quiet: bool = False,
) -> Split:
    """Divide the persons into train, tune, calib and test.

    A run of the same data, recipe and seed divides them alike. Every file is read once, since near-duplicates stay together.
    What starting weights have seen is not asked here.

    Args:
        data: as for `resdx.audit`.
        recipe: as for `resdx.audit`.
        protocol: honest (by person), published (the paper's split) or assumed (random images).
        seed: of the deal, 0 or above.
        fold: test on this one of `folds` grouped folds, counted from 0, instead of one part.
        folds: how many, 2 or more.
        accept: codes of findings of the audit that shall not stop it.
        quiet: no progress bar.

    Returns:
        The split: `parts` (case -> part, "" = left out), `persons` (case -> person), `rule` and `findings`; `ids("test")`
            lists the
            cases of a part, and `to_csv()` is the table of case, part and person.

    Raises:
        AuditStop: the audit found something that must be settled, or accepted by its code.
        DataError: too few persons in a class, or fewer persons than folds.
        RunError: `accept` names no finding that can be accepted.
    """
    refuse_unknown(accept)
    manifest, asked = _scanned(data, recipe)
    found = _audited(manifest, asked, None, quiet)
    if stops := audits.open_stops(found, accept):
        codes = ", ".join(repr(one.code) for one in stops if one.code in ACCEPTABLE)
        raise AuditStop(f"{stops[0].text} Mend the data" + (f", or go on with accept=[{codes}]." if codes else "."))
    return splits.split(
        manifest,
        found.clusters,
        exclude=[case for case, _ in found.unreadable],
        protocol=protocol,
        published=asked.published_split,
        seed=seed,
        fold=fold,
        folds=folds,
        cross_fit=isinstance(asked.learn, FeatureClassifier) and not asked.generator,
    )


def refuse_unknown(codes: Collection[str]) -> None:
    """Raise RunError where a code names no finding that can be accepted."""
    if wrong := sorted({*codes} - {*ACCEPTABLE}):
        raise RunError(f"--accept {wrong[0]} names no finding that can be accepted; those are {', '.join(ACCEPTABLE)}")


def _scanned(data: str | Path, recipe: str | Recipe) -> tuple[Manifest, Recipe]:
    place = resolve_data(data)
    asked = get_recipe(recipe) if isinstance(recipe, str) else recipe
    manifest = (asked.source or detect(place)).scan(place)
    return manifest, asked.with_classes(manifest.classes)


def _audited(manifest: Manifest, recipe: Recipe, processes: int | None, quiet: bool) -> Audit:
    with progress("audit", len(manifest), quiet=quiet) as bar:
        found = audits.audit(
            manifest,
            recipe.read,
            processes=processes,
            progress=lambda done, _: bar.update(bar.task_ids[0], completed=done),
        )
    order = {"stop": 0, "look": 1, "note": 2}
    findings = sorted((*manifest.findings, *found.findings), key=lambda one: order[one.grade])
    return replace(found, findings=tuple(findings))
