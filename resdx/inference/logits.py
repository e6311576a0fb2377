"""Logits and embeddings of prepared pictures: the one way from a trained network to raw outputs."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import TaskID
from torch import nn

from .. import __version__
from ..files import write_bytes
from ..models.forward import DTYPES, VIEWS, batch_of, three_channels, to_tensor, turned
from ..models.network import Network
from ..records import to_record
from ..runs.partition import Part
from ..runs.prepared import Prepared
from ..runs.run import Run, Scores
from .engines import Answers
from .opening import load_network, votes_of

Floats32 = NDArray[np.float32]


def infer(
    network: Network,
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    *,
    views: int = 1,
    dtype: str = "float32",
    progress: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Answers for `images[rows]`, averaged over views: logits (N, outputs) and embeddings (N, E).

    `progress` is called with the number of pictures of each batch.
    """
    network.eval()
    device = network.device
    batch = batch_of(device, images.shape[1])
    logits, embeddings = list[Any](), list[Any]()
    with torch.inference_mode(), torch.autocast(device.type, DTYPES[dtype], enabled=dtype != "float32"):
        for start in range(0, len(rows), batch):
            tensor = to_tensor(images[rows[start : start + batch]], device)
            said = [network.answer(three_channels(turned(tensor, view)))[:2] for view in VIEWS[views]]
            for into, each in zip((logits, embeddings), zip(*said, strict=True), strict=True):
                into.append(torch.stack(each).mean(0).float().cpu().numpy())
            if progress:
                progress(len(tensor))
    if not logits:
        return np.zeros((0, network.head.outputs), np.float32), np.zeros((0, network.channels), np.float32)
    return np.concatenate(logits), np.concatenate(embeddings)


def logits_of(head: nn.Module, features: NDArray[np.floating[Any]]) -> Floats32:
    """Logits (N, outputs) of a head for features (N, E)."""
    like = next(value for value in head.state_dict().values() if value.is_floating_point())
    if not len(features):
        return np.zeros((0, cast(Any, head).outputs), np.float32)
    said = []
    with torch.inference_mode():
        for start in range(0, len(features), AT_ONCE):
            some = torch.from_numpy(np.ascontiguousarray(features[start : start + AT_ONCE]))
            said.append(head(some.to(like.device, like.dtype)).cpu().numpy())
    return np.concatenate(said).astype(np.float32)


def answers(run: Run, network: Network, prepared: Prepared, rows: NDArray[np.int64]) -> tuple[Floats32, Floats32]:
    """Logits and embeddings of prepared pictures; a backbone that is frozen as a whole is run once for all runs of a store."""
    views = run.recipe.views
    if run.recipe.model.backbone.frozen == "all" and views == 1:
        embeddings = frozen_embeddings(run, network, prepared)[rows]
        return logits_of(network.eval().head, embeddings), embeddings
    with run.progress("answers", len(rows)) as bar:
        return infer(network, prepared.images, rows, views=views, progress=lambda count: bar.advance(TaskID(0), count))


def frozen_embeddings(run: Run, network: Network, prepared: Prepared) -> Floats32:
    """(N, E) embeddings of every prepared picture, kept beside them under the hash of the backbone's tensors."""
    path = prepared.folder / f"embeddings-{_fingerprint(run, network)}.npy"
    if not path.exists():
        with run.progress("features", len(prepared.images)) as bar:
            rows = np.arange(len(prepared.images))
            found = infer(network, prepared.images, rows, progress=lambda count: bar.advance(TaskID(0), count))[1]
        out = io.BytesIO()
        np.save(out, found)
        write_bytes(path, out.getvalue())
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _fingerprint(run: Run, network: Network) -> str:
    """Everything an embedding follows from beside the picture: the form of the backbone, its normalisation and its tensors."""
    form = {key: value for key, value in to_record(run.recipe.model.backbone).items() if key not in ("weights", "frozen")}
    digest = hashlib.sha256(json.dumps([form, network.backbone.mean, network.backbone.std, __version__]).encode())
    for name, value in cast(torch.nn.Module, network.backbone).state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def run_answers(run: Run, prepared: Prepared, rows: NDArray[np.int64]) -> Answers:
    """Logits and embeddings of prepared pictures: what the run's network says of them, or the members of its ensemble together."""
    if not run.members:
        return Answers(*answers(run, load_network(run), prepared, rows))
    return votes_of(run).together(run.recipe.task, [run_answers(one, prepared, rows) for one in run.members])


def answer_part(run: Run, prepared: Prepared, name: str, part: Part) -> Scores:
    """Raw answers to a part, kept in the run; each member keeps its own, and is not asked again for what it has answered."""
    if not run.members:
        scores = Scores(part.ids, *run_answers(run, prepared, part.rows)[:2])
    else:
        each = [_answered(one, name) or answer_part(one, prepared, name, part) for one in run.members]
        said = [Answers(one.logits, one.embeddings) for one in each]
        scores = Scores(part.ids, *votes_of(run).together(run.recipe.task, said)[:2])
    run.write_scores(name, scores)
    return scores


def _answered(member: Run, name: str) -> Scores | None:
    return member.scores(name) if (member.path / f"scores-{name}.npz").exists() else None


AT_ONCE = 256  # cases that a head is asked about
