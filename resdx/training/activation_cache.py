"""Activation cache: the frozen part of a network is run once for a few views of each training case.

What is kept is what training would compute anew in every epoch: the stages up to `frozen` in eval mode, BatchNorm included,
in the number format of the training. So the result is the same, and an epoch costs what the rest costs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import TaskID
from torch import Tensor

from ..errors import RunError
from ..models.forward import BATCH, DTYPES, three_channels, to_tensor
from ..models.freeze import frozen_stages
from ..models.network import Network, pool
from ..recipes.learning import Training
from ..runs.partition import Part
from ..runs.prepared import Prepared, reserve
from ..runs.run import Run
from ..transforms.augment import apply


@dataclass(frozen=True)
class ActivationCache:
    """Cached activations (V * N, C, h, w) of N cases, view by view, and the stage they go into.

    They are float32, or the bits of bfloat16.

    Where the whole backbone is frozen they are the pooled embeddings, (V * N, E, 1, 1), and `stage` is empty.
    """

    values: NDArray[np.float32] | NDArray[np.uint16]
    cases: int
    stage: str

    def batch(self, at: NDArray[np.int64], view: int, device: torch.device) -> Tensor:
        """Activations of the cases at these positions."""
        block = torch.from_numpy(np.ascontiguousarray(self.values[view * self.cases + at]))
        block = block.view(torch.bfloat16) if block.dtype == torch.uint16 else block  # NumPy has no bfloat16: its bits are stored
        return block.to(device).contiguous(memory_format=torch.channels_last)

    def logits(self, network: Network, values: Tensor) -> Tensor:
        """What the rest of the network makes of them."""
        return network.head(pool(network.run_stages(values, self.stage) if self.stage else values))  # type: ignore[no-any-return]


def cache_activations(
    run: Run, network: Network, prepared: Prepared, part: Part, dtype: str, *, views: int
) -> ActivationCache | None:
    """Activations of a part, computed or opened again.

    None where they would take more than `learn.cache_gb`.

    With `views` = 0 each case is taken once, as it stands.

    Raises:
        RunError: the disk is full; nothing half-written is left.
    """
    learn = run.recipe.learn
    assert isinstance(learn, Training)
    held, names = frozen_stages(network.backbone), list(network.backbone.stages())
    stage = "" if len(held) == len(names) else names[len(held)]  # the first stage that is run in every epoch
    compute = _prefix(run, network, prepared, part, dtype, held[-1], bool(stage), views)
    first = compute(0, np.arange(1))  # one case shows the shape
    shape = (max(views, 1) * len(part.ids), *first.shape[1:])
    gigabytes = float(np.prod(shape)) * first.element_size() / 1e9  # 1e9 bytes
    what = f"{held[0]} to {held[-1]} are frozen: {max(views, 1)} x {len(part.ids):,} pictures"
    path = run.path / f"activations-{_key(run, prepared, part, dtype, views)}.npy"
    others = sum(one.stat().st_size for one in run.path.glob("activations-*.npy") if one != path) / 1e9
    if gigabytes + others > learn.cache_gb:
        run.say(
            f"train: {what} would take {gigabytes:.1f} GB, more than learn.cache_gb={learn.cache_gb:g}; they are run anew in "
            "every epoch"
        )
        return None
    if not path.exists():
        run.say(f"train: {what} are run once and kept in {gigabytes:.1f} GB")
        _fill(run, path, shape, first.dtype == torch.bfloat16, compute, len(part.ids), views)
    return ActivationCache(np.load(path, mmap_mode="r", allow_pickle=False), len(part.ids), stage)


def clear_cache(run: Run) -> None:
    """Remove what was kept: it serves one training."""
    for pattern in ("activations-*.npy", ".activations-*.part"):  # the second of a killed process
        for path in run.path.glob(pattern):
            path.unlink()


def _prefix(
    run: Run, network: Network, prepared: Prepared, part: Part, dtype: str, last: str, maps: bool, views: int
) -> Callable[[int, NDArray[np.int64]], Tensor]:
    device, first = network.device, next(iter(network.backbone.stages()))

    def compute(view: int, at: NDArray[np.int64]) -> Tensor:
        network.eval()  # the frozen stages are in eval mode while the others train
        images = to_tensor(prepared.images[part.rows[at]], device)
        if views:
            images = apply(run.recipe.augment, images, part.keys[at], seed=run.settings.seed, epoch=view, size=run.recipe.size)
        with torch.inference_mode(), torch.autocast(device.type, DTYPES[dtype], enabled=dtype != "float32"):
            found = network.run_stages(network.normalise(three_channels(images)), first, last=last)
            found = found if maps else pool(found)[:, :, None, None]
        return found.to(DTYPES[dtype]).cpu()

    return compute


def _fill(
    run: Run,
    path: Path,
    shape: tuple[int, ...],
    half: bool,
    compute: Callable[[int, NDArray[np.int64]], Tensor],
    cases: int,
    views: int,
) -> None:
    part = path.with_name(f".{path.name}.part")
    kind = np.uint16 if half else np.float32
    try:
        values = reserve(part, shape, kind)
        with run.progress("frozen part", len(values)) as bar:
            for view, at in _blocks(cases, max(views, 1)):
                found = compute(view, at).contiguous()
                values[view * cases + at] = (found.view(torch.uint16) if half else found).numpy()
                bar.advance(TaskID(0), len(at))
        values.flush()
        del values
        part.replace(path)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}); free some space, or lower learn.cache_gb"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _blocks(cases: int, views: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for view in range(views):
        for start in range(0, cases, BATCH):
            yield view, np.arange(start, min(start + BATCH, cases))


def _key(run: Run, prepared: Prepared, part: Part, dtype: str, views: int) -> str:
    """What the activations follow from: other pictures, another recipe, start, seed or part has others."""
    pictures = prepared.folder.name  # names the files' hashes
    made_of = [run.recipe.fingerprint(), pictures, run.settings.weights, run.settings.seed, dtype, views, part.ids]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
