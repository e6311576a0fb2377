"""The four strategies of the field on one data set.

Same persons in every part, one table of what each reaches and costs.

From scratch; off-the-shelf features and a classical classifier; unsupervised pre-training on the set's own training images, then
supervised fine-tuning; transfer learning, in which the last stages of a network that knows ImageNet are trained.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..data.cases import Manifest
from ..data.sources.folders import ManifestCsv
from ..errors import AuditStop, RecipeError, RunError, WeightsError
from ..files import write_bytes, write_json, write_text
from ..inference.opening import load_network
from ..models.freeze import parameter_groups
from ..models.specs import ResNet
from ..recipes.learning import Training
from ..recipes.recipe import Recipe, fine_tuned, on_features
from ..report.render import render
from ..runs.run import Run
from ..training.pretraining.corpus import Member
from ..training.pretraining.loop import Parts, pretrain, pretraining_recipe
from .compare import compare, make_folder
from .stages import EVIDENCE, adopt, repeat, resume
from .start import changed_recipe, refuse_another, start

Json = dict[str, Any]

NAMES = {
    "scratch": "From scratch",
    "features": "Off-the-shelf features, logistic regression",
    "pretrained": "Unsupervised pre-training on the training images, then fine-tuning",
    "transfer": "Transfer learning from ImageNet, last stages trained",
}
PASSES = 10  # of the pre-training over the training images


def strategies(
    data: str | Path,
    *,
    out: Path,
    recipe: str | Recipe = "plain",
    changes: Iterable[tuple[str, str]] = (),
    seed: int = 0,
    accept: tuple[str, ...] = (),
    passes: int = PASSES,
    quiet: bool = False,
) -> Json:
    """Run the strategies one after the other, or go on where that was stopped.

    Writes strategies.json and strategies.html into `out`. The split is that of the first run, so that all are judged on the
    same test part. ImageNet weights are looked for as for any run; where they cannot be had, what needs them is said to be
    absent.

    Args:
        recipe: one that trains a network; it gives source, pictures, augmentation and network of all four
        passes: of the pre-training over the training images

    Raises:
        RecipeError, AuditStop: as for a run.
        RunError: the recipe trains no network.
    """
    base = changed_recipe(recipe, changes, data)
    if not isinstance(base.learn, Training):
        raise RunError(f"{base.name} trains no network, so there is nothing to compare; name a recipe without a variant")
    make_folder(out)
    asked: Json = {"recipe": base, "seed": seed, "accept": accept, "quiet": quiet}
    first = _run(out / "scratch", data, asked, None)
    before = _pretrained(out, first, base, passes, seed, quiet)
    weights = before.path / "weights.safetensors"
    runs = {"scratch": first, "pretrained": _run(out / "pretrained", data, {**asked, "weights": weights}, first)}
    failed = {}
    for name, of in (("features", on_features), ("transfer", fine_tuned)):
        try:
            runs[name] = _run(out / name, data, {**asked, "recipe": of(base)}, first)
        except (RecipeError, WeightsError) as error:  # no extra for it, or no weights: the others can be compared all the same
            failed[NAMES[name]] = str(error)
    found = told({name: runs[name] for name in NAMES if name in runs}, before) | {"failed": failed}
    write_json(out / "strategies.json", found)
    write_text(out / "strategies.html", render("strategies.html", found))
    return found


def told(runs: dict[str, Run], before: Run) -> Json:
    """What strategies.json holds: a row a strategy, and every pair compared on the same test images.

    `before` is the
    pre-training.
    """
    compared = compare(list(runs.values()))
    rows = [_row(name, run, compared, before if name == "pretrained" else None) for name, run in runs.items()]
    return {
        "data": Path(runs["scratch"].settings.data).name,
        "recipe": runs["scratch"].recipe.name,
        "test": compared["test"],
        "main": compared["main"],
        "rows": rows,
        "pairs": [{"verdict": pair["verdict"], "first": pair["first"], "second": pair["second"]} for pair in compared["pairs"]],
        "passes": cast(Training, before.recipe.learn).epochs,
    }


def _row(name: str, run: Run, compared: Json, before: Run | None) -> Json:
    model = next(one for one in compared["models"] if one["name"] == run.path.name)
    spent = [_last(run, "train"), *([_last(before, "pretrain")] if before else [])]
    network = load_network(run)
    head = sum(p.numel() for p in network.head.parameters())
    free = sum(p.numel() for _, group in parameter_groups(network.backbone) for p in group)
    return {
        "name": name,
        "title": NAMES[name],
        "size": run.recipe.size,
        "figures": {key: model["figures"][key] for key in (compared["main"], "balanced_accuracy") if key in model["figures"]},
        "seconds": sum(one["seconds"] for one in spent),
        "core_seconds": sum(one["core_seconds"] for one in spent),
        "trained": head + (free if isinstance(run.recipe.learn, Training) else 0),
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def _last(run: Run, stage: str) -> Json:
    return [one for one in run.events("stage") if one["stage"] == stage][-1]


def _run(path: Path, data: str | Path, asked: Json, first: Run | None) -> Run:
    """A finished run, on the split of the first. Raises RunError where another is there."""
    if (path / "run.json").exists():
        refuse_another(Run.open(path, quiet=True), data, asked)
    else:
        start(data, out=path, skip=EVIDENCE, **asked)
    if first and not (path / "split.json").exists():
        adopt(Run.open(path, quiet=asked["quiet"]), first)
        for name in ("split.csv", "split.json"):
            write_bytes(path / name, (first.path / name).read_bytes())
    resume(Run.open(path, quiet=asked["quiet"]))
    return Run.open(path, quiet=asked["quiet"])


def _pretrained(out: Path, first: Run, base: Recipe, passes: int, seed: int, quiet: bool) -> Run:
    """A finished pre-training on the training images alone, without labels.

    Raises RunError where another is there.
    """
    backbone = base.model.backbone
    if not isinstance(backbone, ResNet):
        raise RunError(f"a pre-training trains a ResNet, not {backbone}; name a recipe of a ResNet")
    table = out / "training-images" / "manifest.csv"
    make_folder(table.parent)
    cases = tuple(replace(case, path=str((first.manifest.root / case.path).resolve())) for case in first.cases("train"))
    write_text(table, Manifest(table.parent, cases).to_csv())
    path = out / "training-images" / "run"
    if not (path / "run.json").exists():
        start(table, recipe=replace(base, source=ManifestCsv()), out=path, seed=seed, quiet=quiet)
    for stage in ("scan", "audit"):
        if not (path / f"{stage}.json").exists():
            with suppress(AuditStop):  # the first run was audited, and this one judges nothing
                repeat(Run.open(path, quiet=quiet), stage)
    recipe = pretraining_recipe(backbone.depth, base.size)
    learn = replace(cast(Training, recipe.learn), epochs=passes, start_size=0)
    recipe = replace(recipe, model=replace(base.model, backbone=replace(backbone, weights="")), learn=learn)
    member = Member(Run.open(path, quiet=quiet), "training")
    pretrain([member], out / "pretraining", recipe=recipe, parts=Parts(0, 1, 0), targets=[first], seed=seed, quiet=quiet)
    return Run.open(out / "pretraining", quiet=quiet)
