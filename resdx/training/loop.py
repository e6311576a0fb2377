"""Training by gradient descent that can be killed at any moment and resumes bit for bit.

Nothing random has a state: order, augmentation, mixup and dropout follow from (seed, epoch, step, case). The checkpoint of
an epoch holds weights, average, optimiser and progress in one safetensors file that is written whole or not at all.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import TaskID
from torch import Tensor, nn

from ..data.tasks import Classify, Detect, class_weights
from ..errors import RunError
from ..inference.logits import predict_logits
from ..models.backbones.wrappers import fit_inputs
from ..models.batchnorm import rebatchnorm
from ..models.forward import BATCH, DTYPES, default_device, three_channels, to_tensor
from ..models.freeze import freeze
from ..models.heads.trained import Head
from ..models.heads.yolo import yolo_loss
from ..models.network import Detector, Network, build
from ..models.weights import save_state
from ..recipes.learning import Training
from ..runs.partition import Part, tune_score
from ..runs.prepared import Prepared
from ..runs.run import Run
from ..transforms.augment import apply, move_boxes
from . import distributed as ranks
from .activation_cache import ActivationCache, cache_activations, clear_cache
from .checkpoint import Progress, load_checkpoint, save_checkpoint
from .detection import find_boxes, mean_ap50
from .losses import Loss, loss_function
from .sklearn_heads import fit_linear

STEP_OF_SIZE = 16  # pixels; progressive sizes are multiples of it
# Of the usual spread: what hardly varies on plain images does on augmented ones, and a large weight on it would break the
# first steps.
MIN_SPREAD = 0.3
FOLDED_CASES = 512  # training cases that give a network with folded BatchNorm its statistics back


@dataclass(frozen=True)
class Bench:
    """What the training of one run works with."""

    run: Run
    learn: Training
    prepared: Prepared
    network: Network
    average: Network
    optimiser: torch.optim.Optimizer
    loss: Loss
    dtype: str


def fit(run: Run, prepared: Prepared, train: Part, tune: Part) -> Network:
    """Train the run's network, or go on where it was killed; gives the best on the validation set.

    The EMA of the weights is what is scored and kept.

    Raises:
        RunError: the checkpoint is of another machine setting, or it cannot be written.
    """
    learn = cast(Training, run.recipe.learn)
    bench = bench_of(run, learn, prepared, train)
    run = bench.run
    progress = load_checkpoint(bench)
    total = steps_of(learn, len(train.ids))  # an epoch
    if not progress.step:
        clear_cache(run)  # what another training left that was stopped
    views = 0 if _is_over(learn, progress) else learn.cached_views
    cache = cache_activations(run, bench.network, prepared, train, bench.dtype, views=views) if views else None
    tune_cache = cache_activations(run, bench.network, prepared, tune, bench.dtype, views=0) if cache else None
    ranks.begin(bench.network)
    figure = "AP50" if isinstance(run.recipe.task, Detect) else "AUROC"
    with run.progress("train", learn.epochs * total) as bar:
        while not _is_over(learn, progress):
            started, epoch = time.perf_counter(), progress.epoch
            ranks.broadcast(progress)
            mean_loss = run_epoch(bench, train, progress, lambda: bar.advance(TaskID(0)), cache)
            if not math.isfinite(mean_loss):
                raise RunError(
                    f"{run.path}: the loss is not finite in epoch {epoch + 1}; lower learn.lr (now {learn.lr:g}) and train again"
                )
            scored = bench.average if learn.ema else bench.network
            score = score_now(bench, scored, tune, tune_cache)
            better = progress.judge(learn, score)
            progress.epoch += 1
            if better:
                save_state(scored, run.path / "best.safetensors")
            save_checkpoint(bench, progress)
            seconds = time.perf_counter() - started
            run.log(
                "epoch",
                epoch=progress.epoch,
                loss=mean_loss,
                tune_score=score,
                seconds=seconds,
                size=size_at(learn, run.recipe.size, epoch),
            )
            run.say(
                f"epoch {progress.epoch} of {learn.epochs}: loss {mean_loss:.3f}, tune "
                f"{_score_text(score, figure)}{' (best)' if better else ''}, "
                f"{seconds:.0f} s, {len(train.ids) / seconds:.0f} images/s"
            )
    ranks.end()
    clear_cache(run)
    if not progress.waited:
        run.say("train: the last epoch was the best on tune; more may help (learn.epochs), chosen on tune alone")
    return bench.network


def score_now(bench: Bench, network: Network, tune: Part, cache: ActivationCache | None) -> float:
    """What the tune part says of the network as it is now: `parts.tune_score`.

    Where boxes are to be found, how well they are.
    """
    images, dtype = bench.prepared.images, bench.dtype
    if isinstance(network, Detector):
        return mean_ap50(find_boxes(network, images, tune.rows, dtype=dtype), tune.targets)
    logits = cached_logits(network, cache, dtype) if cache else predict_logits(network, images, tune.rows, dtype=dtype).logits
    return tune_score(bench.run, tune, logits)


def _is_over(learn: Training, progress: Progress) -> bool:
    return progress.epoch >= learn.epochs or bool(learn.patience and progress.waited >= learn.patience)


def run_worker(run: Run, prepared: Prepared, train: Part) -> None:
    """Do the share of one more process in a training that the first one leads: no judging, no writing."""
    learn = cast(Training, run.recipe.learn)
    bench = bench_of(run, learn, prepared, train)
    load_checkpoint(bench)
    cache = (
        cache_activations(run, bench.network, prepared, train, bench.dtype, views=learn.cached_views)
        if learn.cached_views
        else None
    )
    ranks.sync_batchnorm(bench.network)
    while (progress := ranks.broadcast(cast(Progress | None, None))) is not None:
        run_epoch(bench, train, progress, lambda: None, cache)
    ranks.leave()


def _score_text(score: float, name: str) -> str:
    """A validation score in words.

    Below 0 it is a Brier score, which takes the place of an AUROC that the validation set is too small for.
    """
    return f"{name} {score:.3f}" if score >= 0 else f"Brier score {-score:.3f}"


def steps_of(learn: Training, cases: int) -> int:
    """Steps an epoch; a last batch of one is left out (BatchNorm needs two)."""
    return max(1, math.ceil(cases / learn.batch) - (cases % learn.batch == 1))


def size_at(learn: Training, full: int, epoch: int) -> int:
    """Pixels of the pictures in an epoch (progressive resizing, Howard 2018)."""
    if not learn.start_size or learn.start_size >= full:
        return full
    fraction = epoch / max(1, round(2 / 3 * (learn.epochs - 1)))  # the last third of the epochs has the full size
    if fraction >= 1:
        return full
    return min(full, round((learn.start_size + fraction * (full - learn.start_size)) / STEP_OF_SIZE) * STEP_OF_SIZE)


def rate_at(learn: Training, step: int, epoch_steps: int) -> float:
    """Factor on the learning rate at a step.

    The head phase runs at full rate, the schedule covers the rest.
    """
    head, total = learn.head_epochs * epoch_steps, learn.epochs * epoch_steps
    if step < head or learn.schedule in ("plateau", "constant"):
        return 1.0
    fraction = (step - head) / max(1, total - head)
    warm = 0.3 if learn.schedule == "onecycle" else learn.warmup  # Smith and Topin 2018, as in PyTorch
    if fraction < warm:
        rise = fraction / warm  # the rate starts at 1/25
        return 0.04 + 0.96 * rise if learn.schedule == "cosine" else 0.04 + 0.96 * (1 - math.cos(math.pi * rise)) / 2
    return (1 + math.cos(math.pi * (fraction - warm) / (1 - warm))) / 2  # down to 0 (Loshchilov and Hutter 2017)


def order_of(learn: Training, train: Part, seed: int, epoch: int) -> NDArray[np.int64]:
    """Positions in the train part in the order of an epoch.

    Balanced sampling draws every class equally often.
    """
    rng = np.random.default_rng([seed, epoch])
    count = len(train.ids)
    if learn.sampling == "natural":
        return rng.permutation(count)
    known = np.nan_to_num(train.truth)
    chance = (known / np.maximum(known.sum(0), 1)).max(1)  # (N,): one over the cases of a case's rarest class
    chance[chance == 0] = chance[chance > 0].min()  # a case without any class counts as a frequent one
    return rng.choice(count, count, p=chance / chance.sum())


def run_epoch(
    bench: Bench, train: Part, progress: Progress, tick: Callable[[], None], cache: ActivationCache | None = None
) -> float:
    """One pass over the training set from where `progress` stands; gives the mean loss.

    On the cached activations of its frozen part, if there are any.
    """
    learn, seed, network = bench.learn, bench.run.settings.seed, bench.network
    backbone = bench.run.recipe.model.backbone
    freeze(network.backbone, "all" if progress.epoch < learn.head_epochs else backbone.frozen)
    network.train()
    if learn.freeze_batchnorm:
        for module in cast(nn.Module, network.backbone).modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    device = network.device
    size = size_at(learn, bench.run.recipe.size, progress.epoch)
    # in turn: an epoch is one view of every case
    view = progress.epoch % learn.cached_views if learn.cached_views else progress.epoch
    order = order_of(learn, train, seed, progress.epoch)
    count = steps_of(learn, len(order))
    losses = []
    for batch in (order[i * learn.batch : (i + 1) * learn.batch] for i in range(count)):
        own = [ranks.rank()] if ranks.rank() else []
        torch.manual_seed(int(np.random.default_rng([seed, progress.step, *own]).integers(2**62)))  # dropout
        factor = rate_at(learn, progress.step, count) * progress.factor
        for group in bench.optimiser.param_groups:
            group["lr"] = group["base"] * factor
        fraction = ranks.shard(len(batch))
        whole = (
            bool(learn.mixup) or len(batch) < ranks.world()
        )  # a blend needs its neighbour, and an empty share cannot be varied
        shown = batch if whole else batch[fraction]
        steps = bench.run.recipe.augment
        if cache:
            images = cache.batch(shown, view, device)
        else:
            images = to_tensor(bench.prepared.images[train.rows[shown]], device)
            images = apply(steps, images, train.keys[shown], seed=seed, epoch=view, size=size)
        targets = torch.from_numpy(train.targets[batch]).to(device)
        if isinstance(bench.run.recipe.task, Detect):
            targets = move_boxes(steps, targets, train.keys[batch], seed=seed, epoch=view)
        if learn.mixup:
            images, targets = mix(images, targets, learn.mixup, seed, progress.step)
        images = images[fraction] if whole else images
        with torch.autocast(device.type, DTYPES[bench.dtype], enabled=bench.dtype != "float32"):
            logits = cache.logits(network, images) if cache else network(three_channels(images))
        value = bench.loss(ranks.all_gather(logits, len(batch)), targets)
        bench.optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        ranks.all_reduce_gradients(network)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        bench.optimiser.step()
        progress.step += 1
        if learn.ema:
            ema_update(bench.average, network, min(learn.ema, progress.step / (progress.step + 10)))  # a short memory at first
        losses.append(value.detach())
        tick()
    return float(torch.stack(losses).mean())


def cached_logits(network: Network, cache: ActivationCache, dtype: str) -> NDArray[np.float32]:
    """Logits (N, outputs) of a part whose frozen part was kept."""
    network.eval()
    device, out = network.device, []
    with torch.inference_mode(), torch.autocast(device.type, DTYPES[dtype], enabled=dtype != "float32"):
        for start in range(0, cache.cases, BATCH):
            at = np.arange(start, min(start + BATCH, cache.cases))
            out.append(cache.logits(network, cache.batch(at, 0, device)).float().cpu().numpy())
    return np.concatenate(out)


def mix(images: Tensor, targets: Tensor, alpha: float, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018): each case is blended with its neighbour in the batch.

    One Beta(alpha, alpha) fraction a batch.
    """
    fraction = float(np.random.default_rng([seed, step, 1]).beta(alpha, alpha))
    return fraction * images + (1 - fraction) * images.roll(1, 0), fraction * targets + (1 - fraction) * targets.roll(1, 0)


def ema_update(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average's weights and BatchNorm statistics towards the network's."""
    with torch.no_grad():
        ours = [t for t in average.state_dict().values() if t.is_floating_point()]
        theirs = [t for t in network.state_dict().values() if t.is_floating_point()]
        torch._foreach_lerp_(ours, theirs, 1 - decay)  # ours += (1 - decay) (theirs - ours)


def bench_of(run: Run, learn: Training, prepared: Prepared, train: Part) -> Bench:
    """Network, EMA, optimiser and loss at their start.

    In the number format that is faster here (measured once and stored).
    """
    recipe, device = run.recipe, default_device()
    torch.manual_seed(run.settings.seed)
    bias = None
    if isinstance(recipe.task, Classify) and not learn.rebalances:
        bias = np.log(np.nanmean(train.targets, axis=0) + 1e-3).tolist()  # the softmax begins at the class frequencies
    weights = Path(run.settings.weights) if run.settings.weights else None
    network = build(recipe.model, recipe.task.outputs(recipe.classes), weights=weights, bias=bias)
    fit_inputs(network.backbone, prepared.images, train.rows)
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if getattr(network.backbone, "folded", False) and network.backbone.frozen != "all":
        some = np.random.default_rng(run.settings.seed).permutation(train.rows)[:FOLDED_CASES]
        rebatchnorm(network, (three_channels(to_tensor(prepared.images[rows], device)) for rows in np.array_split(some, 8)))
    if learn.head_penalty:
        features = predict_logits(network, prepared.images, train.rows).embeddings
        weight, start = fit_linear(
            features.astype(np.float64),
            train.targets,
            learn.head_penalty,
            recipe.task,
            balanced=learn.rebalances,
            min_spread=MIN_SPREAD,
        )
        cast(Head, network.head).start_at(torch.from_numpy(start), torch.from_numpy(weight))
    balance = (
        torch.from_numpy(class_weights(recipe.task, train.targets)).to(device) if learn.class_weights == "balanced" else None
    )
    loss = (
        partial(yolo_loss, network.head.anchors)
        if isinstance(network, Detector)
        else loss_function(recipe.task, weights=balance, smoothing=learn.label_smoothing)
    )
    choices = dict(run.settings.choices)
    if "dtype" not in choices:
        choices["dtype"] = faster_dtype(network, prepared, train, loss)
        run = run.changed(choices=choices)
    average = copy.deepcopy(network).requires_grad_(False)
    return Bench(run, learn, prepared, network, average, _optimiser(learn, network), loss, choices["dtype"])


def _optimiser(learn: Training, network: Network) -> torch.optim.Optimizer:
    """Rates fall by `lr_decay` a stage away from the head; norms and biases are not decayed."""
    groups = []
    for away, (_, parameters) in enumerate(reversed(network.parameter_groups())):
        base = learn.lr * learn.lr_decay**away  # discriminative rates (Howard and Ruder 2018)
        decayed = [p for p in parameters if p.ndim > 1]
        plain = [p for p in parameters if p.ndim <= 1]
        groups += [{"params": decayed, "base": base}, {"params": plain, "base": base, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if learn.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=learn.lr, momentum=0.9, nesterov=True, weight_decay=learn.weight_decay, fused=True)
    kind = torch.optim.AdamW if learn.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=learn.lr, weight_decay=learn.weight_decay, eps=learn.epsilon, fused=True)


def faster_dtype(network: Network, prepared: Prepared, train: Part, loss: Loss) -> str:
    """bfloat16 when two timed steps of a copy are faster with it than with float32.

    Measured once a run and stored.
    """
    some = np.resize(np.arange(len(train.rows)), 16)  # repeated where there are fewer
    device = network.device
    images = three_channels(to_tensor(prepared.images[train.rows[some]], device))
    targets = torch.from_numpy(train.targets[some]).to(device)

    def loss_of(dtype: str) -> Callable[[], Tensor]:
        twin = copy.deepcopy(network).train()

        def forward() -> Tensor:
            with torch.autocast(device.type, DTYPES[dtype], enabled=dtype != "float32"):
                logits = twin(images)
            return loss(logits, targets)

        return forward

    return faster(loss_of)


def faster(loss_of: Callable[[str], Callable[[], Tensor]]) -> str:
    """The number format in which two steps take less time, after one that warms up.

    `loss_of` gives for each the loss on a copy.
    """
    seconds = {}
    for dtype in DTYPES:
        forward = loss_of(dtype)
        for turn in range(3):
            if turn == 1:
                started = time.perf_counter()
            value = forward()
            value.backward()  # type: ignore[no-untyped-call]
            float(value.detach())  # waits for a GPU
        seconds[dtype] = time.perf_counter() - started
    return min(seconds, key=lambda dtype: seconds[dtype])
