"""Pre-training on openly licensed sets, and what it is worth on sets that were left out.

Which parts of the loss help (small, on the validation and calibration sets), the weights, the learning rate of each start
(chosen on tune),
transfer of the shipped weights (--weights resdx-views for the others), and docs/pretraining.md with its pictures, from
benchmarks/figures:

    python -m benchmarks.pretraining ablation WORK --data FOLDER
    python -m benchmarks.pretraining make WORK --data FOLDER --depth 50
    python -m benchmarks.pretraining rates WORK --data FOLDER --depth 18
    python -m benchmarks.pretraining transfer WORK --data FOLDER --depth 18
    python -m benchmarks.pretraining_page

FOLDER holds the sets under the names of resdx/sets.py. Everything is kept in WORK and resumed when killed. The ablation never
sees a test set; the transfer table reads the test sets of the targets; rates are chosen on the validation and calibration sets.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from benchmarks import sets
from resdx.data.sources.folders import FolderPerClass
from resdx.data.split import part_hash
from resdx.evaluation.diagnostics.learning_curve import nested, reach_of
from resdx.files import digest, read_json, write_json
from resdx.inference.logits import predict_logits
from resdx.metrics.bootstrap import resample
from resdx.metrics.classification import macro_auroc
from resdx.metrics.intervals import effective_sample_size, person_codes
from resdx.models.network import build
from resdx.models.specs import Net, Pretrained, ResNet
from resdx.models.weights import starting_file
from resdx.recipes.learning import Training
from resdx.recipes.library import get_recipe
from resdx.recipes.recipe import Recipe
from resdx.runs.ledger import read_once_more
from resdx.runs.partition import Part, part_of
from resdx.runs.prepared import Prepared, content_hashes, prepared_of
from resdx.runs.run import Run
from resdx.studies.stages import STAGES, is_done, repeat
from resdx.studies.start import start
from resdx.training.checkpoint import Progress
from resdx.training.loop import bench_of, run_epoch, steps_of
from resdx.training.pretraining import loop as room
from resdx.training.pretraining.corpus import Member
from resdx.training.pretraining.loop import Parts, pretrain, pretraining_recipe

FIGURES = Path(__file__).parent / "figures"

CORPUS = {  # licence as published with the set, and how often its pictures are drawn
    "cxr-pneumonia": ("CC BY 4.0", 1.0),
    "ct-lung": ("CC BY 4.0", 1.0),
    "mri-brain": ("MIT", 1.0),
    "malaria-cells": ("public domain", 0.5),
    "histo-lung": ("CC BY 4.0", 3.0),  # the sets in colour are small
    "face-mask": ("CC0", 3.0),
    "blood-cells-bccd": ("MIT", 3.0),
}
BOXED = {"face-mask": "face_masks:mobilenet", "blood-cells-bccd": "face_masks:blood-cells"}
TARGETS = ("us-breast", "ct-covid", "skin-ham10000", "fundus-odir")
SHARES = (0.05, 0.1, 0.25, 1.0)
ABLATION: dict[
    str, Parts | tuple[str, int, int] | None
] = {  # what a row learnt from; of shipped weights their name, depth and size of picture
    "from scratch": None,
    "labels": Parts(1, 0, 0),
    "views": Parts(0, 1, 0),
    "views by NT-Xent": Parts(0, 1, 0),
    "teacher": Parts(0, 0, 1),
    "labels, views": Parts(1, 1, 0),
    "views, teacher": Parts(0, 1, 1),
    "labels, views, teacher": Parts(1, 1, 1),
    "views, as shipped": ("resdx-views", 18, 64),
    "views, teacher, as shipped": ("resdx", 18, 64),
    "views, as shipped, 112 px": ("resdx-views", 18, 112),
    "views, teacher, as shipped, 112 px": ("resdx", 18, 112),
    "views, as shipped, ResNet-50, 112 px": ("resdx-views", 50, 112),
    "views, teacher, as shipped, ResNet-50, 112 px": ("resdx", 50, 112),
}
BASE, SHIPPED = (
    "views",
    ", as shipped",
)  # what a row is compared with, and what the name of a row of shipped weights says before its own such
ABLATED = ((0.1, 5), (1.0, 1))  # shares of the training persons in the ablation, and how often each is drawn
DRAWS = 1000
Rate = tuple[float, float, float]
# Of the head, how much less each stage before it learns, and the penalty of the regression it begins as.
RATES: dict[str, tuple[Rate, ...]] = {
    "scratch": ((1e-4, 1, 0), (3e-4, 1, 0), (1e-3, 1, 0), (3e-3, 1, 0), (1e-2, 1, 0), (3e-2, 1, 0)),
    "resdx": ((3e-4, 0.7, 0), (3e-6, 0.7, 0.01), (1e-5, 0.7, 0.01), (3e-5, 0.7, 0.01), (1e-4, 0.7, 0.01), (3e-4, 0.7, 0.01)),
}
FASTER: dict[str, Any] = {}  # the number format that is faster here, once it is known
HEAD = 0.2  # of a fine-tuning, in which a head that begins at random learns alone
JUDGED = 600  # cases of tune and calib that a rate is judged on
FINALISTS, SHARES_PER_RATE = 3, 3  # rates that are tried again, and the draws of training persons these are tried with
STEPS, BATCH = 100, 32  # of one fine-tuning, whatever the share


def recipe_of(name: str) -> Recipe:
    """How a set is read."""
    if name == "histo-lung":
        return replace(get_recipe("plain"), source=FolderPerClass())
    if name in BOXED:
        return get_recipe(BOXED[name])
    return sets.recipe_of(name)


def run_until(last: str, work: Path, data: Path, name: str, size: int = 0) -> Run:
    """The run of a set in WORK, up to a stage."""
    path = work / (f"{name}-{size}" if size else name)
    if not (path / "run.json").exists():
        recipe = recipe_of(name)
        start(data / name, recipe=recipe.set("size", str(size)) if size else recipe, out=path)
    for stage in STAGES:
        run = Run.open(path)
        if not is_done(run, stage):
            repeat(run, stage.name)
        if stage.name == last:
            break
    return Run.open(path)


def members(work: Path, data: Path) -> list[Member]:
    """The corpus."""
    return [Member(run_until("audit", work, data, name), name, *known) for name, known in CORPUS.items()]


# --- on a target: features and fine-tuning


def persons_of(part: Part) -> NDArray[np.intp]:
    """A number a person, at every case."""
    return person_codes([group or case for group, case in zip(part.groups, part.ids, strict=True)], len(part.ids))


@dataclass(frozen=True)
class Target:
    """A left-out set: what is learnt from, what is judged, and the persons of both."""

    name: str
    run: Run
    prepared: Prepared
    train: Part
    judged: Part

    @classmethod
    def open(cls, work: Path, data: Path, name: str, size: int, part: str) -> Target:
        """`part` is "test", or "tune" for tune and calib together."""
        run = run_until("prepare", work, data, name, size)
        prepared = prepared_of(run)
        judged = (
            part_of(run, prepared, part) if part == "test" else part_of(run, prepared, "tune") + part_of(run, prepared, "calib")
        )
        return cls(name, run, prepared, part_of(run, prepared, "train"), judged)

    def share(self, share: float, seed: int) -> NDArray[np.intp]:
        """Positions in train of a share of its persons, the smaller inside the larger; every class has two cases at least."""
        person = persons_of(self.train)
        order = nested(self.train.truth, person, seed=[seed])
        few = np.isin(person, order[: max(2, round(share * len(order)))])
        for column in self.train.truth.T:  # a class that the share lacks comes in with its first persons
            for one in order:
                if (column[few] == 1).sum() >= 2:
                    break
                few |= (person == one) & (column == 1)
        return np.flatnonzero(few)

    def area(self, probability: NDArray[np.float32]) -> float:
        """Macro AUROC of answers to the judged part."""
        return float(macro_auroc(self.judged.truth, probability))


def features_of(target: Target, net: Net, weights: Path | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pooled features of train and of the judged part."""
    network = build(net, 1, weights=weights)
    train, judged = (
        predict_logits(network, target.prepared.images, part.rows).embeddings for part in (target.train, target.judged)
    )
    return train, judged


def by_regression(target: Target, x: NDArray[np.float32], z: NDArray[np.float32], at: NDArray[np.intp]) -> NDArray[np.float32]:
    """Answers of a logistic regression on standardised features, one a class, strength 1/C = 100."""
    out = []
    for column in target.train.truth.T:
        known = at[~np.isnan(column[at])]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500, class_weight="balanced"))
        model.fit(x[known], column[known])
        out.append(model.predict_proba(z)[:, 1])
    return np.stack(out, 1).astype(np.float32)


def by_training(
    target: Target, net: Net, weights: Path | None, at: NDArray[np.intp], seed: int, rate: Rate
) -> NDArray[np.float32]:
    """Answers of the network after the same number of steps on a share, whatever it started from."""
    part = target.train.at(at)
    batch = min(BATCH, max(4, len(at)))
    learn = Training(
        epochs=1,
        batch=batch,
        lr=rate[0],
        lr_decay=rate[1],
        head_penalty=rate[2],
        freeze_batchnorm=bool(rate[2]),
        ema=0.98,
        warmup=0.1,
    )
    epochs = max(1, round(STEPS / steps_of(learn, len(at))))
    learn = replace(learn, epochs=epochs, head_epochs=round(HEAD * epochs) if weights and not rate[2] else 0)
    settings = replace(target.run.settings, seed=seed, weights=str(weights or ""), choices=dict(FASTER))
    run = replace(target.run, recipe=replace(target.run.recipe, model=net, learn=learn), settings=settings)
    bench = bench_of(run, learn, target.prepared, part)
    FASTER["dtype"] = bench.dtype  # measured by the first
    progress = Progress()
    for _ in range(epochs):
        run_epoch(bench, part, progress, lambda: None)
        progress.epoch += 1
    outputs = predict_logits(bench.average, target.prepared.images, target.judged.rows, dtype=bench.dtype)
    return target.run.recipe.task.probabilities(outputs.logits)


# --- the commands


def nt_xent(first: Tensor, second: Tensor) -> Tensor:
    """The loss of SimCLR (Chen et al. 2020) in VICReg's place, at temperature 0.2, in its scale."""
    both = normalize(torch.cat([first, second]).float(), dim=1)
    alike = (both @ both.T / 0.2).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(both), device=both.device).roll(len(first))
    return 25 * cross_entropy(alike, partner)


def ablation(work: Path, data: Path, *, only: Sequence[str] = (), size: int = 64, epochs: int = 6) -> None:
    """Frozen features of the left-out sets, and a regression on them, after a small pre-training with each part of the loss."""
    targets = [Target.open(work, data, one, size, "tune") for one in TARGETS]
    for name, begun in ABLATION.items():
        if only and name not in only:
            continue
        if isinstance(begun, tuple):
            weights, depth, side = starting_file(*begun[:2]), *begun[1:]
        else:
            weights, depth, side = pretrained_with(work, data, name, begun, size, epochs) if begun else None, 18, size
        for target in targets:
            if not ablated_path(work, target.name, 1.0, 0, name).exists():  # the last that is written
                seen = target if side == size else Target.open(work, data, target.name, side, "tune")
                x, z = features_of(seen, Net(ResNet(depth)), weights)
                for share, seed in ((share, seed) for share, seeds in ABLATED for seed in range(seeds)):
                    keep(
                        ablated_path(work, target.name, share, seed, name),
                        by_regression(target, x, z, target.share(share, seed)),
                    )
    done = [name for name in ABLATION if all(ablated_path(work, one, 1.0, 0, name).exists() for one in TARGETS)]
    write_json(FIGURES / "pretraining-ablation.json", ablated(work, targets, done))


def ablated_path(work: Path, target: str, share: float, seed: int, name: str) -> Path:
    """Where the answers of a row are kept."""
    begun = ABLATION[name]
    file = f" {digest(cast(Path, starting_file(*begun[:2])))[:8]}" if isinstance(begun, tuple) else ""
    return answers_path(work / "ablation", target, share, seed, name + file)


def pretrained_with(work: Path, data: Path, name: str, parts: Parts, size: int, epochs: int) -> Path:
    """Packed weights of a small ResNet-18 that was pre-trained with some parts of the loss."""
    recipe = pretraining_recipe(18, size)
    recipe = replace(recipe, learn=replace(recipe.learn, epochs=epochs, start_size=0))  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        if "NT-Xent" in name:
            patch.setattr(room, "vicreg", nt_xent)
        out = work / f"ablation-{name.replace(', ', '-').replace(' ', '-')}"
        return pretrain(members(work, data), out, recipe=recipe, parts=parts)


def ablated(work: Path, targets: Sequence[Target], names: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Macro AUROC of each row on each set and share, their mean, and the mean less that of BASE.

    The difference is over the same draws of persons.
    """
    values: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for target in targets:
        for share, seeds in ABLATED:
            said = {
                name: [np.load(ablated_path(work, target.name, share, seed, name)) for seed in range(seeds)] for name in names
            }
            for name, areas in resampled(target, said).items():
                values[name][f"{target.name} {share:g}"] = [float(np.mean([target.area(one) for one in said[name]]))]
                drawn[name].append(areas.mean(0))
    for row in values.values():
        row["mean"] = [float(np.mean([value[0] for value in row.values()]))]
    for name, row in values.items():
        base = base_of(name)
        if base in values:
            less = np.mean(drawn[name], axis=0) - np.mean(drawn[base], axis=0)
            row[f"less {BASE}"] = [row["mean"][0] - values[base]["mean"][0], *np.nanquantile(less, (0.025, 0.975)).tolist()]
    return values


def base_of(name: str) -> str:
    """The row that a row of the ablation is compared with."""
    _, shipped, size = name.partition(SHIPPED)
    return BASE + shipped + size


def rates(work: Path, data: Path, weights: Path | None, depth: int, *, only: Sequence[str] = (), size: int = 112) -> None:
    """AUROC of each learning rate of each start on each target, on the validation and calibration sets.

    From 10 % of the persons: all rates with one draw of them, the best FINALISTS with more.
    """
    kept = FIGURES / f"pretraining-rates-{depth}.json"
    for one in only or TARGETS:
        target = Target.open(work, data, one, size, "tune")
        some = np.random.default_rng(0).permutation(len(target.judged.ids))[:JUDGED]
        target = replace(target, judged=target.judged.at(np.sort(some)))
        for begun, file in (("scratch", None), ("resdx", weights)):
            for seed in range(SHARES_PER_RATE):
                for rate in finalists(begun, depth, one) if seed else RATES[begun]:
                    found: dict[str, Any] = read_json(kept) if kept.exists() else {}  # another process may measure other targets
                    areas = found.setdefault(begun, {}).setdefault(_key(rate), {}).setdefault(one, [])
                    if len(areas) == seed:
                        area = target.area(by_training(target, Net(ResNet(depth)), file, target.share(0.1, seed), seed, rate))
                        found = read_json(kept) if kept.exists() else {}
                        found.setdefault(begun, {}).setdefault(_key(rate), {}).setdefault(one, []).append(area)
                        write_json(kept, found)
                        print(one, begun, _key(rate), seed, area, flush=True)


def _key(rate: Rate) -> str:
    return " ".join(f"{value:g}" for value in rate)


def areas_of(start: str, depth: int, target: str) -> dict[Rate, list[float]]:
    """AUROC with each draw of the training persons that a rate was tried with; of ResNet-18 where none was for the depth."""
    for one in (depth, 18):
        path = FIGURES / f"pretraining-rates-{one}.json"
        kept = read_json(path).get(start, {}) if path.exists() else {}
        if found := {name: areas[target] for name, areas in kept.items() if areas.get(target)}:
            return {cast(Rate, tuple(map(float, name.split()))): areas for name, areas in found.items()}
    return {}


def finalists(start: str, depth: int, target: str) -> list[Rate]:
    """The rates that were best with the first draw."""
    found = areas_of(start, depth, target)
    return sorted(found, key=lambda rate: -found[rate][0])[:FINALISTS]


def rate_of(start: str, depth: int, target: str) -> Rate:
    """Of the finalists, the one that was best in the mean of all draws. Raises ValueError before all of them were tried."""
    found, last = areas_of(start, depth, target), finalists(start, depth, target)
    if not last or any(len(found[rate]) < SHARES_PER_RATE for rate in last):
        raise ValueError(
            f"the rates of {start} on {target} are not all tried: run `python -m benchmarks.pretraining rates` first"
        )
    return max(last, key=lambda rate: np.mean(found[rate]))


def targets_of(work: Path, data: Path) -> list[Run]:
    """The left-out sets, split: a corpus that holds a picture or a person of a test set is refused."""
    return [run_until("split", work, data, name, 112) for name in TARGETS]


def make(work: Path, data: Path, depth: int, epochs: int, size: int, parts: Parts, weights: str) -> None:
    """A file for the shelf, in WORK under the parts that it was learnt from; `weights` to begin with."""
    recipe = pretraining_recipe(depth, size)
    recipe = replace(
        recipe,
        model=Net(ResNet(depth, weights=weights)),
        learn=replace(recipe.learn, epochs=epochs),  # type: ignore[arg-type]
    )
    kinds = [name for name in ("labels", "views", "teacher") if getattr(parts, name)]
    out = work / "-".join((f"resnet{depth}", *kinds))
    pretrain(members(work, data), out, recipe=recipe, parts=parts, targets=targets_of(work, data))


def transfer(
    work: Path, data: Path, name: str, depth: int, shares: Sequence[float], *, only: Sequence[str] = (), size: int = 112
) -> None:
    """Four starts on four left-out sets: answers are kept a case, so that differences can be paired."""
    weights, kind = cast(Path, starting_file(name, depth)), kind_of(name, depth)
    net, mobile = Net(ResNet(depth)), Net(Pretrained("mobilenetv2_100", weights="imagenet", frozen="all"))
    for one in only or TARGETS:
        plain, tuned = rate_of("scratch", depth, one), rate_of("resdx", depth, one)
        target = Target.open(work, data, one, size, "test")
        large = Target.open(work, data, one, 224, "test")
        for run in (target.run, large.run):
            read_once_more(run, part_hash([case.id for case in run.cases("test")], content_hashes(run)))
        own = cache(partial(features_of, target, net, weights))  # not asked for where all its answers are kept
        other = cache(partial(features_of, large, mobile, None))
        mine, begun = f"resnet{depth} {digest(weights)[:8]}", f"resnet{depth} from scratch"
        # What is kept under a name depends on nothing else than the name.
        ways: dict[str, tuple[str, Callable[[NDArray[np.intp], int], NDArray[np.float32]]]] = {
            "resdx, frozen": (
                f"{mine} frozen",
                lambda at, seed, t=target, f=own: by_regression(t, *f(), at),  # type: ignore[call-arg, misc]
            ),
            "ImageNet MobileNet-V2, frozen": (
                "mobilenet",
                lambda at, seed, t=large, f=other: by_regression(t, *f(), at),  # type: ignore[call-arg, misc]
            ),
            "from scratch": (
                f"{begun} {plain}",
                lambda at, seed, t=target, r=plain: by_training(t, net, None, at, seed, r),  # type: ignore[misc]
            ),
            "resdx, fine-tuned": (
                f"{mine} {tuned}",
                lambda at, seed, t=target, r=tuned: by_training(t, net, weights, at, seed, r),  # type: ignore[misc]
            ),
        }
        for share in shares:
            said: dict[str, list[NDArray[np.float32]]] = {way: [] for way in ways}
            learnt = [target.share(share, seed) for seed in range(seeds_of(kind, share))]
            for seed, at in enumerate(learnt):
                for way, (what, answer) in ways.items():
                    path = answers_path(work, one, share, seed, what)
                    if not path.exists():
                        keep(path, answer(at, seed))
                    said[way].append(np.load(path, allow_pickle=False))
                    print(one, share, seed, way, len(at), round(target.area(said[way][-1]), 4), flush=True)
            found = {"learnt": [len(at) for at in learnt], "rates": [plain, tuned], **compared(target, said)}
            write_json(FIGURES / f"transfer-{kind}-{one}-{share:g}.json", found)


def kind_of(name: str, depth: int) -> str:
    """What answers and figures of shipped weights are kept under: the name of their file."""
    return f"resnet{depth}{name.removeprefix('resdx')}"


def seeds_of(kind: str, share: float) -> int:
    """How often a share is drawn and learnt: three times, and twice as often where ResNet-18 is compared with from scratch."""
    return 6 if "18" in kind and share == 0.1 else 3


def answers_path(work: Path, name: str, share: float, seed: int, what: str) -> Path:
    """Where the answers of one trial are kept."""
    return work / "answers" / f"{name}-{share:g}-{seed}-{re.sub('[^a-z0-9.]+', '-', what)}.npy"


def keep(path: Path, answers: NDArray[np.float32]) -> None:
    """Write answers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, answers)


def resampled(target: Target, said: dict[str, list[NDArray[np.float32]]]) -> dict[str, NDArray[np.float64]]:
    """Macro AUROC of every way with every seed, shape (seeds, DRAWS), over the same draws of judged persons."""
    truth = target.judged.truth
    draws: dict[str, list[NDArray[np.float64]]] = {way: [] for way in said}
    for counts in resample(np.nan_to_num(truth).argmax(1), persons_of(target.judged), replicates=DRAWS, seed=0):
        for way, answers in said.items():
            draws[way].append(np.stack([macro_auroc(truth, one, counts) for one in answers]))
    return {way: np.concatenate(parts, axis=1) for way, parts in draws.items()}


def compared(target: Target, said: dict[str, list[NDArray[np.float32]]]) -> dict[str, Any]:
    """Mean macro AUROC over seeds of each way, and each less "from scratch", paired by persons and seeds, with t intervals."""
    persons = persons_of(target.judged)
    few = effective_sample_size(macro_auroc, target.judged.truth, persons)
    drawn = {way: areas.mean(0) for way, areas in resampled(target, said).items()}
    areas = {way: np.array([target.area(one) for one in answers]) for way, answers in said.items()}
    out: dict[str, Any] = {"cases": len(persons), "persons": int(persons.max()) + 1, "rarest": few}
    for way in said:
        for name, by_seed, draws in (
            (way, areas[way], drawn[way]),
            (f"{way} less from scratch", areas[way] - areas["from scratch"], drawn[way] - drawn["from scratch"]),
        ):
            value, reach = float(by_seed.mean()), reach_of(by_seed, draws, few)
            out[name] = [value, value - reach, value + reach]
    return out


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ablation", "make", "rates", "transfer"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--parts", type=float, nargs=3, default=(0, 1, 0), metavar=("LABELS", "VIEWS", "TEACHER"))
    parser.add_argument("--weights", default="", help="of make, a file to begin with; of rates and transfer, a name")
    parser.add_argument("--only", nargs="*", default=(), metavar="NAME", help="these rows of the ablation, or these targets")
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES)
    asked = parser.parse_args()
    if asked.what == "ablation":
        ablation(asked.work, asked.data, only=asked.only)
    elif asked.what == "make":
        make(asked.work, asked.data, asked.depth, asked.epochs, asked.size, Parts(*asked.parts), asked.weights)
    elif asked.what == "rates":
        rates(asked.work, asked.data, starting_file(asked.weights or "resdx", asked.depth), asked.depth, only=asked.only)
    else:
        transfer(asked.work, asked.data, asked.weights or "resdx", asked.depth, asked.shares, only=asked.only)


if __name__ == "__main__":
    main()
