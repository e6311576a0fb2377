"""Pre-training on several data sets at once: two views of an image, labels, and a teacher.

Every set has its own columns of one linear head. The self-supervised part is VICReg (Bardes, Ponce and LeCun 2022): two views
of a picture shall have equal projections, whose coordinates vary and do not repeat each other; it needs no large batch. The
teacher part predicts the last map that another network makes of the same view (Romero et al. 2015 for maps, Beyer et al. 2022
for the same view), enlarged for it. As in `train`, nothing random has a state, and a killed run goes on to the same weights.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import TaskID
from torch import Tensor, nn
from torch.nn.functional import mse_loss, relu

from ...errors import RecipeError, RunError
from ...files import write_bytes, write_json, write_text
from ...models.forward import BATCH, DTYPES, default_device, three_channels, to_tensor
from ...models.network import Network, build, pool
from ...models.packed import Seen, pack
from ...models.specs import Depth, Net, ResNet
from ...recipes.learning import Training
from ...recipes.recipe import Recipe
from ...records import to_record
from ...runs.provenance import merged, seen_by, start_of
from ...runs.run import Run
from ...runs.settings import Settings
from ...transforms.augment import (
    Affine,
    ChannelJitter,
    ColorJitter,
    Flip,
    RandomErasing,
    RandomResizedCrop,
    apply,
)
from ...transforms.image import Resize
from ..checkpoint import Progress, load_checkpoint, save_checkpoint
from ..loop import ema_update, faster, rate_at
from ..losses import loss_function
from .card import card, reserved_auroc
from .corpus import Corpus, Member, gather
from .distillation import TEACHER, maps_of, taught

PROJECTED = 1024  # length of a projection
STEPS = 100  # steps from one checkpoint to the next
STATISTICS = 1024  # pictures that give the packed network its BatchNorm statistics
WHOLE = 0.3  # the last share of the steps that sees views of full size, if they start smaller (Touvron et al. 2019)


@dataclass(frozen=True)
class Parts:
    """How much each part of the loss counts; 0 leaves it out."""

    labels: float = 0.0
    views: float = 1.0
    teacher: float = 0.0

    def __post_init__(self) -> None:
        worth = list(asdict(self).values())
        if not all(0 <= value < math.inf for value in worth) or not any(worth):
            raise RunError("the parts of the loss (labels, views, teacher) are numbers of 0 or more, and one of them is not 0")


class Pupil(nn.Module):
    """The network that is pre-trained: a backbone with three heads.

    One linear head for all sets, a projector for the views, and a linear map to the `teacher` channels of the teacher's.

    The teacher's channels are standardised over the batch, so that all count alike.
    """

    def __init__(self, network: Network, teacher: int) -> None:
        super().__init__()
        self.network = network
        wide = network.channels
        self.projector = nn.Sequential(
            nn.Linear(wide, PROJECTED), nn.BatchNorm1d(PROJECTED), nn.ReLU(), nn.Linear(PROJECTED, PROJECTED)
        )
        self.imitate = nn.Conv2d(wide, teacher, 1) if teacher else nn.Identity()
        self.standard = nn.BatchNorm2d(teacher, affine=False) if teacher else nn.Identity()


@dataclass(frozen=True)
class Lesson:
    """What a pre-training works with."""

    run: Run
    corpus: Corpus
    parts: Parts
    network: Pupil
    average: Pupil
    optimiser: torch.optim.Optimizer
    losses: tuple[Callable[[Tensor, Tensor], Tensor], ...]
    teacher: Callable[[Tensor], Tensor] | None
    dtype: str


def pretraining_recipe(depth: int = 50, size: int = 112) -> Recipe:
    """What is learnt, and how: the settings of a training, here in steps of all sets together."""
    return Recipe(
        name="pretraining",
        title="Pre-training",
        prepare=(Resize(size),),
        augment=(
            Flip(),
            Affine(degrees=20, scale=0.2, shift=0.05, shear=4),
            RandomResizedCrop(),
            ColorJitter(brightness=0.25, contrast=0.3, gamma=0.3),
            ChannelJitter(),
            RandomErasing(),
        ),
        model=Net(ResNet(cast(Depth, depth))),  # which ResNet checks
        learn=Training(epochs=10, batch=64, lr=1e-3, ema=0.998, start_size=64),
    )


def pretrain(
    members: Sequence[Member],
    out: str | Path,
    *,
    recipe: Recipe | None = None,
    parts: Parts | None = None,
    targets: Sequence[Run] = (),
    seed: int = 0,
    quiet: bool = False,
) -> Path:
    """Learn from all members, or go on where it was killed; gives the path of the packed weights.

    Writes into `out`: corpus.json (what was learnt from, and what was left out), failures.csv, state.safetensors (the
    checkpoint), weights.safetensors (the backbone with hashes of every case it has seen) and card.md.

    Args:
        recipe: model, size, augmentation and learning; `pretraining_recipe` by default
        parts: how much labels, views and teacher count
        targets: runs whose test part must not be in the corpus

    Raises:
        DataError: a set holds a target's test picture, the starting weights have learnt from one, or nothing is left of a set.
        RunError: `out` holds a pre-training of another kind, or cannot be written.
    """
    asked, parts = recipe or pretraining_recipe(), parts or Parts()
    _check(asked)
    run = _opened(Path(out), asked, parts, members, seed, quiet)
    with run.alone():
        known = seen_by(start_of(run))
        corpus = gather(members, asked.size, targets=targets, labels=parts.labels > 0, known=known)
        run = _same_corpus(run, corpus)
        run.write_failures(corpus.failures)
        started = {"file": str(start_of(run)), "cases": len(known.sha256)} if known else None
        write_json(run.path / "corpus.json", {"parts": asdict(parts), "started_from": started, "sets": corpus.table()})
        run.say(
            f"corpus: {len(corpus):,} cases of {len(corpus.pools)} sets; {sum(len(p.reserved) for p in corpus.pools):,} reserved"
        )
        path = run.path / "weights.safetensors"
        if not (path.exists() and run.events("stage")):
            with run.timed("pretrain"):
                lesson = _lesson(run, corpus, parts)
                _learn(lesson)
                _finish(lesson, path)
        return path


def vicreg(first: Tensor, second: Tensor) -> Tensor:
    """VICReg loss of two projections (B, D) of the same images (Bardes, Ponce and LeCun 2022).

    Invariance, variance and covariance, with the weights 25, 25 and 1 of the paper.
    """
    first, second = first.float(), second.float()
    # A hinge keeps each coordinate's deviation at 1 or more, which forbids the collapse to one point.
    spread = torch.stack([relu(1 - (z.var(0) + 1e-4).sqrt()).mean() for z in (first, second)]).mean()
    return 25 * mse_loss(first, second) + 25 * spread + _covariance(first) + _covariance(second)


def _covariance(z: Tensor) -> Tensor:
    centred = z - z.mean(0)
    matrix = centred.T @ centred / (len(z) - 1)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / z.shape[1]  # off the diagonal, over D as in the paper


def _check(recipe: Recipe) -> None:
    """Raise RecipeError for settings that a pre-training does not have; none is ignored in silence."""
    if not isinstance(recipe.learn, Training) or not isinstance(recipe.model.backbone, ResNet):
        raise RecipeError("a pre-training trains a ResNet by gradient descent")
    if recipe.model.backbone.frozen:
        raise RecipeError("a pre-training leaves nothing frozen; leave model.backbone.frozen empty")
    plain = pretraining_recipe()
    for prefix, had, standard, used in (
        ("", recipe, plain, ("name", "title", "prepare", "augment", "model", "learn")),
        ("model.", recipe.model, plain.model, ("backbone",)),
        ("learn.", recipe.learn, Training(), ("epochs", "batch", "lr", "weight_decay", "warmup", "ema", "start_size")),
    ):
        names = [field.name for field in fields(cast(Any, had)) if field.name not in used]
        if odd := [name for name in names if getattr(had, name) != getattr(standard, name)]:
            raise RecipeError(f"a pre-training has no {prefix}{odd[0]}; leave it as it is")
    if recipe.prepare != (Resize(recipe.size),):
        raise RecipeError(
            "a pre-training prepares pictures by Resize(SIZE) alone; what else shall be done belongs to the recipe of a set"
        )
    if recipe.learn.batch < 8:
        raise RecipeError(
            f"a pre-training compares the pictures of a batch, so learn.batch must be at least 8, not {recipe.learn.batch}"
        )


def _same_corpus(run: Run, corpus: Corpus) -> Run:
    """Keep the corpus's hash; another one would give other weights, which say less than they have seen."""
    had = run.settings.choices.get("corpus", corpus.sha256)
    if had != corpus.sha256:
        raise RunError(
            f"{run.path} began with another corpus (files, labels or an audit have changed); put them back or choose another "
            "--out"
        )
    return run.changed(choices={**run.settings.choices, "corpus": corpus.sha256})


def _opened(out: Path, recipe: Recipe, parts: Parts, members: Sequence[Member], seed: int, quiet: bool) -> Run:
    """The directory, made or opened again; the same has to be asked of it."""
    choices = {"parts": asdict(parts), "sets": [[m.name, m.run.manifest.sha256, m.weight] for m in members]}
    if not (out / "run.json").exists():
        return Run.create(out, recipe, Settings(str(out.resolve()), seed, choices=choices), quiet=quiet)
    run = Run.open(out, quiet=quiet)
    had = {key: run.settings.choices.get(key) for key in choices}
    # through JSON, which turns tuples to lists
    if run.recipe != recipe or json.loads(json.dumps(choices)) != had or run.settings.seed != seed:
        raise RunError(f"{out} holds another pre-training; ask for the same again or choose another --out")
    return run


def _lesson(run: Run, corpus: Corpus, parts: Parts) -> Lesson:
    recipe, device = run.recipe, default_device()
    learn = cast(Training, recipe.learn)
    teacher = build(TEACHER, 1).eval() if parts.teacher else None
    torch.manual_seed(run.settings.seed)
    network = build(recipe.model, max(1, corpus.first[-1]))  # sets without classes have no head
    pupil = Pupil(network, teacher.channels if teacher else 0).to(device)
    pupil = pupil.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(pupil).requires_grad_(False)
    matrices = [p for p in pupil.parameters() if p.ndim > 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices},
        {"params": [p for p in pupil.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=learn.lr, weight_decay=learn.weight_decay, fused=True)
    losses = tuple(loss_function(pool.member.run.recipe.task) for pool in corpus.pools)
    says = maps_of(teacher, device) if teacher else None
    lesson = Lesson(run, corpus, parts, pupil, average, optimiser, losses, says, "bfloat16")
    dtype = run.settings.choices.get("dtype") or _faster(lesson)
    says = maps_of(teacher, device, dtype) if teacher else None
    return replace(lesson, run=run.changed(choices={**run.settings.choices, "dtype": dtype}), dtype=dtype, teacher=says)


def _faster(lesson: Lesson) -> str:
    """The number format that is faster here; measured once and stored."""

    def loss_of(dtype: str) -> Callable[[], Tensor]:
        trial = replace(lesson, network=copy.deepcopy(lesson.network), dtype=dtype)
        return lambda: _loss(trial, 0, lesson.run.recipe.size)[0]

    return faster(loss_of)


def _learn(lesson: Lesson) -> None:
    run, learn = lesson.run, cast(Training, lesson.run.recipe.learn)
    progress = load_checkpoint(lesson)
    epoch_steps = math.ceil(len(lesson.corpus) / learn.batch)
    total = learn.epochs * epoch_steps
    with run.progress("pretrain", total) as bar:
        bar.update(TaskID(0), completed=progress.step)
        while progress.step < total:
            started, sums, until = time.perf_counter(), np.zeros(3), min(progress.step + STEPS, total)
            steps = until - progress.step
            lesson.network.train()
            while progress.step < until:
                sums += _step(lesson, progress, rate_at(learn, progress.step, epoch_steps), epoch_steps)
                bar.advance(TaskID(0))
            progress.epoch = progress.step // epoch_steps
            if not np.isfinite(sums).all():
                raise RunError(f"{run.path}: the loss is not finite at step {progress.step}; lower learn.lr (now {learn.lr:g})")
            save_checkpoint(lesson, progress)
            seconds = time.perf_counter() - started
            labels, views, teacher = (sums / steps).tolist()
            run.log("steps", step=progress.step, labels=labels, views=views, teacher=teacher, seconds=seconds)
            run.say(
                f"step {progress.step:,} of {total:,}: labels {labels:.3f}, views {views:.2f}, teacher {teacher:.3f}, "
                f"{steps * learn.batch / seconds:.0f} cases/s"
            )


def _step(lesson: Lesson, progress: Progress, rate: float, epoch_steps: int) -> NDArray[np.float64]:
    """One step; gives the three parts of the loss."""
    learn = cast(Training, lesson.run.recipe.learn)
    for group in lesson.optimiser.param_groups:
        group["lr"] = learn.lr * rate
    last = progress.step >= (1 - WHOLE) * learn.epochs * epoch_steps
    size = lesson.run.recipe.size if last else min(learn.start_size or lesson.run.recipe.size, lesson.run.recipe.size)
    torch.manual_seed(int(np.random.default_rng([lesson.run.settings.seed, progress.step]).integers(2**62)))  # dropout
    loss, found = _loss(lesson, progress.step, size)
    lesson.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(lesson.network.parameters(), 5.0)
    lesson.optimiser.step()
    progress.step += 1
    ema_update(lesson.average, lesson.network, min(learn.ema, progress.step / (progress.step + 10)))  # a short memory at first
    return found


def _loss(lesson: Lesson, step: int, size: int) -> tuple[Tensor, NDArray[np.float64]]:
    """The loss of a step and its three parts; both views learn from the labels where there are two."""
    run, pupil, parts, corpus = lesson.run, lesson.network, lesson.parts, lesson.corpus
    learn, device = cast(Training, run.recipe.learn), next(lesson.network.parameters()).device
    drawn = corpus.draw(learn.batch, run.settings.seed, step)
    pools = corpus.pools
    images = _pictures(corpus, drawn, device)
    keys = np.concatenate([pools[k].keys[at] for k, at in drawn])
    views = 2 if parts.views else 1
    varied = [
        # no two views share their draws
        apply(run.recipe.augment, images, keys, seed=run.settings.seed, epoch=views * step + view, size=size)
        for view in range(views)
    ]
    with torch.autocast(device.type, DTYPES[lesson.dtype], enabled=lesson.dtype != "float32"):
        seen = torch.cat(varied).contiguous(memory_format=torch.channels_last)  # one batch, so that BatchNorm sees both views
        maps = pupil.network.maps(seen)
        embedding = pool(maps)
        logits = pupil.network.head(embedding) if parts.labels else None
        projected = pupil.projector(embedding) if parts.views else None
        imitated = pupil.imitate(maps) if parts.teacher else None
    terms = [embedding.new_zeros((), dtype=torch.float32) for _ in range(3)]
    if logits is not None:
        for view in torch.split(logits.float(), len(images)):
            start = 0
            for k, at in drawn:
                rows, start = slice(start, start + len(at)), start + len(at)
                targets = torch.from_numpy(pools[k].targets[at]).to(device)
                # Each set's mean counts by its share of the batch.
                terms[0] = terms[0] + lesson.losses[k](view[rows, corpus.outputs(k)], targets) * (len(at) / len(images) / views)
    if projected is not None:
        terms[1] = vicreg(*projected.chunk(2))
    if imitated is not None and lesson.teacher:
        wanted = taught(lesson.teacher, seen, cast("tuple[int, int]", imitated.shape[2:]))
        terms[2] = mse_loss(imitated.float(), pupil.standard(wanted))
    weights = (parts.labels, parts.views / 25, parts.teacher)  # a VICReg loss is about 25 times a cross-entropy
    total = torch.stack([weight * term for weight, term in zip(weights, terms, strict=True)]).sum()
    return total, np.array([float(term.detach()) for term in terms])


def _finish(lesson: Lesson, path: Path) -> None:
    """Pack the EMA backbone, measure the cost of packing on reserved cases, write weights and card."""
    run, corpus, network = lesson.run, lesson.corpus, lesson.average.network
    heads = lesson.parts.labels > 0  # else they have learnt nothing
    whole = reserved_auroc(corpus, network, heads=heads, dtype=lesson.dtype)
    seen = {name: np.concatenate([getattr(pool, name) for pool in corpus.pools]) for name in ("sha256", "perceptual")}
    sources = {
        "trunk": to_record(run.recipe.model.backbone),
        "sets": corpus.table(),
        "parts": asdict(lesson.parts),
        "recipe": run.recipe.fingerprint(),
        "seed": run.settings.seed,
    }
    known = merged(Seen(sources, **seen), seen_by(start_of(run)))
    backbone, data = pack(cast(nn.Module, network.backbone), map(network.normalise, _plain(lesson)), cast(Seen, known))
    packed = copy.deepcopy(network)
    packed.backbone = cast(Any, backbone)
    small = reserved_auroc(corpus, packed, heads=heads, dtype=lesson.dtype)
    write_bytes(path, data)
    before = len(cast(Seen, known).sha256) - len(corpus)
    write_text(run.path / "card.md", card(run, corpus, asdict(lesson.parts), whole, small, len(data), before))
    run.say(f"weights: {path}, {len(data) / 1e6:.1f} MB")


def _plain(lesson: Lesson) -> list[Tensor]:
    """Batches of plain pictures, drawn as in training."""
    corpus, seed, device = lesson.corpus, lesson.run.settings.seed + 1, default_device()
    return [_pictures(corpus, corpus.draw(BATCH, seed, step), device) for step in range(STATISTICS // BATCH)]


def _pictures(corpus: Corpus, drawn: Sequence[tuple[int, NDArray[np.int64]]], device: torch.device) -> Tensor:
    """(B, 3, S, S) of the cases that were drawn, pool by pool."""
    pools = [(corpus.pools[k], at) for k, at in drawn]
    return torch.cat([three_channels(to_tensor(pool.pictures.images[pool.rows[at]], device)) for pool, at in pools])
