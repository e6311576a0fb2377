"""Logits and embeddings of prepared pictures.

This is the one way from a trained network, or an exported one, to raw outputs.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import TaskID
from torch import nn

from .. import __version__
from ..files import write_bytes
from ..models.network import Network
from ..records import to_record
from ..runs.partition import Part
from ..runs.prepared import Prepared
from ..runs.run import Run, Scores
from .engines import Engine, Outputs
from .engines.torch import TorchNetwork
from .opening import load_network, votes_of

Floats32 = NDArray[np.float32]

AT_ONCE = 256  # cases whose features go through a head at a time


def predict_logits(
    model: Network | Engine,
    images: NDArray[np.uint8],
    rows: NDArray[np.int64] | None = None,
    *,
    views: int = 1,
    dtype: str = "float32",
    maps: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Outputs:
    """Logits (N, outputs) and embeddings (N, E) of `images[rows]`, averaged over views.

    Args:
        model: a network of PyTorch, or an engine, which has its own views and number format.
        images: prepared pictures (M, S, S, C), C = 1 or 3; may be a memory map.
        rows: which of them (N,), in this order; all by default.
        views: 1, 2 or 8 dihedral views of each picture, for a network.
        dtype: "float32" or "bfloat16", for a network.
        maps: whether the maps are kept too, where there are some: (N, K, h, w), or what a detector predicts of each cell.
        progress: called with the number of pictures of each batch.
    """
    rows = np.arange(len(images)) if rows is None else rows
    engine: Engine = TorchNetwork(model, images.shape[1], views=views, dtype=dtype) if isinstance(model, Network) else model
    found = list[Outputs]()
    for outputs in engine.predict(_batches(images, rows, engine.batch)):
        found.append(outputs if maps else outputs._replace(maps=None))
        if progress:
            progress(len(outputs.logits))
    if not found:
        widths = (model.head.outputs, model.channels) if isinstance(model, Network) else (0, 0)
        return Outputs(*(np.zeros((0, width), np.float32) for width in widths))
    kept = [one.maps for one in found if one.maps is not None]
    logits, embeddings = np.concatenate([one.logits for one in found]), np.concatenate([one.embeddings for one in found])
    return Outputs(logits, embeddings, np.concatenate(kept) if kept else None)


def _batches(images: NDArray[np.uint8], rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(rows), size):
        yield images[rows[start : start + size]]


def head_logits(head: nn.Module, features: NDArray[np.floating[Any]]) -> Floats32:
    """Logits (N, outputs) of a head for features (N, E)."""
    like = next(value for value in head.state_dict().values() if value.is_floating_point())
    if not len(features):
        return np.zeros((0, cast(Any, head).outputs), np.float32)
    logits = []
    with torch.inference_mode():
        for start in range(0, len(features), AT_ONCE):
            some = torch.from_numpy(np.ascontiguousarray(features[start : start + AT_ONCE]))
            logits.append(head(some.to(like.device, like.dtype)).cpu().numpy())
    return np.concatenate(logits).astype(np.float32)


def predict_run(run: Run, prepared: Prepared, rows: NDArray[np.int64], *, network: Network | None = None) -> Outputs:
    """Outputs of a run's network for prepared pictures, or of the members of its ensemble together.

    A backbone that is frozen as a whole is run once for all runs of a store. `network` is the run's, where it is at hand.
    """
    if run.members and network is None:
        return votes_of(run).together(run.recipe.task, [predict_run(one, prepared, rows) for one in run.members])
    network, views = network or load_network(run), run.recipe.views
    if run.recipe.model.backbone.frozen == "all" and views == 1:
        embeddings = cached_embeddings(run, network, prepared)[rows]
        return Outputs(head_logits(network.eval().head, embeddings), embeddings)
    with run.progress("predict", len(rows)) as bar:
        return predict_logits(network, prepared.images, rows, views=views, progress=lambda count: bar.advance(TaskID(0), count))


def predict_part(run: Run, prepared: Prepared, name: str, part: Part) -> Scores:
    """Raw outputs for a part, kept in the run.

    Each member keeps its own, and does not predict again what it has predicted.
    """
    if not run.members:
        outputs = predict_run(run, prepared, part.rows)
    else:
        each = [_predicted(one, name) or predict_part(one, prepared, name, part) for one in run.members]
        outputs = votes_of(run).together(run.recipe.task, [Outputs(one.logits, one.embeddings) for one in each])
    scores = Scores(part.ids, outputs.logits, outputs.embeddings)
    run.write_scores(name, scores)
    return scores


def _predicted(member: Run, name: str) -> Scores | None:
    return member.scores(name) if (member.path / f"scores-{name}.npz").exists() else None


def cached_embeddings(run: Run, network: Network, prepared: Prepared) -> Floats32:
    """(N, E) embeddings of every prepared picture.

    They are kept beside the pictures under the hash of the backbone's tensors.
    """
    path = prepared.folder / f"embeddings-{_fingerprint(run, network)}.npy"
    if not path.exists():
        with run.progress("features", len(prepared.images)) as bar:
            found = predict_logits(network, prepared.images, progress=lambda count: bar.advance(TaskID(0), count)).embeddings
        out = io.BytesIO()
        np.save(out, found)
        write_bytes(path, out.getvalue())
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _fingerprint(run: Run, network: Network) -> str:
    """Everything that an embedding follows from, the picture apart.

    The form of the backbone, its normalisation and its tensors.
    """
    # the tensors are hashed themselves
    form = {key: value for key, value in to_record(run.recipe.model.backbone).items() if key not in ("weights", "frozen")}
    digest = hashlib.sha256(json.dumps([form, network.backbone.mean, network.backbone.std, __version__]).encode())
    for name, value in cast(torch.nn.Module, network.backbone).state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]
