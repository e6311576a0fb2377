"""Sanity checks of saliency maps that need no opinion of what the map should show.

Pictures are (B, 3, S, S) tensors in [0, 1] and maps (B, h, w) of at least 0, on the CPU or the network's device.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_fill_holes, gaussian_filter, label
from scipy.stats import rankdata
from torch import Tensor, nn

from ...data.cases import Box
from ...models.network import Network
from .methods import absent, enlarge

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # of the pixels removed or inserted; closer where the curve falls fastest
QUALITY = 75  # of the JPEG that a stable map survives
DARK = 0.1  # brightness of air outside the body, at most
AIR = (0.03, 0.8)  # share of the picture that the air around a body takes, if there is any
ONE_BODY = 0.9  # share of everything that is not air in its largest piece


def randomised(network: Network, images: Tensor, *, seed: int) -> Network:
    """The same network with every layer drawn anew (Adebayo et al. 2018, complete randomisation).

    `network` stays as it is.

    BatchNorm takes its statistics from `images`: without them a random network of this depth says the same of every picture.
    """
    random = copy.deepcopy(network).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in random.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    norms = [module for module in random.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # running statistics become those of this one batch
        norm.train()
    with torch.no_grad():
        random(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return random.eval()


def rank_correlation(maps: NDArray[np.floating], others: NDArray[np.floating]) -> Floats:
    """Spearman's correlation of each map with the other: (B, h, w) twice -> (B,).

    A blank map has nothing in common, 0.
    """
    # equal values share their middle rank
    ours, theirs = (rankdata(some.reshape(len(some), -1), axis=1) for some in (maps, others))
    ours, theirs = (ranks - ranks.mean(1, keepdims=True) for ranks in (ours, theirs))
    bottom = np.sqrt((ours**2).sum(1) * (theirs**2).sum(1))
    return np.asarray(np.divide((ours * theirs).sum(1), bottom, out=np.zeros(len(ours)), where=bottom > 0))


def curves(answer: Callable[[Tensor], Tensor], images: Tensor, maps: Tensor) -> tuple[Floats, Floats]:
    """Areas under the deletion and the insertion curve (Petsiuk et al. 2018): two (B,) in [0, 1].

    `answer` gives the probability (B,) of what was said. The pixels that the map holds for most important are blurred away
    first, or come first out of the blur. A good map has a small first area and a large second one.
    """
    blurred = absent(images)
    # pixels, the most important first: (B, S * S)
    order = enlarge(maps, images.shape[-1]).flatten(1).argsort(dim=1, descending=True, stable=True)
    place = order.argsort(dim=1).view(len(images), 1, *images.shape[2:])  # the place of each pixel in that order
    whole, nothing = answer(images), answer(blurred)
    deleted, inserted = [whole], [nothing]
    for share in SHARES[1:-1]:
        first = place < share * order.shape[1]
        deleted.append(answer(torch.where(first, blurred, images)))
        inserted.append(answer(torch.where(first, images, blurred)))
    deleted.append(nothing)
    inserted.append(whole)
    at = torch.tensor(SHARES, dtype=torch.float64)
    # trapezoids over the shares
    first_area, second_area = (torch.trapezoid(torch.stack(one, 1).double().cpu(), at) for one in (deleted, inserted))
    return first_area.numpy(), second_area.numpy()


def reencoded(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A prepared picture (S, S, C) after a JPEG of quality 75, which no reader would tell from it."""
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(file, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(file)).reshape(picture.shape)


def body_mask(picture: NDArray[np.uint8]) -> Mask | None:
    """Where the body is, (S, S), in a picture (S, S, C) with dark air around it.

    None where the picture does not tell.

    Air is what is dark and joined to the border. It must take a plausible share of the picture and leave one body in one piece.
    """
    grey = gaussian_filter(picture.mean(2) / 255, 1)
    pieces, _ = label(grey < DARK)
    border = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    air = np.isin(pieces, border[border > 0])  # dark and joined to the border
    if not AIR[0] <= air.mean() <= AIR[1]:
        return None
    solid, _ = label(~air)
    sizes = np.bincount(solid.ravel())[1:]
    if sizes.max() < ONE_BODY * sizes.sum():
        return None
    return np.asarray(binary_fill_holes(solid == sizes.argmax() + 1))  # dark organs inside belong to the body


def share_within(heat: NDArray[np.floating], mask: Mask) -> float:
    """Share of a map (S, S) that lies in a mask; 0 for a blank map."""
    return float(heat[mask].sum() / heat.sum()) if heat.sum() > 0 else 0.0


def hits(shape: Sequence[int], size: int, boxes: Sequence[Box]) -> Mask:
    """The cells (h, w) of a map that point at a box.

    Their centre lies in it, or outside by no more than half a cell.
    """
    rows, columns = ((np.arange(count) + 0.5) * size / count for count in shape)  # centres of the cells, in pixels of the picture
    high, wide = size / shape[0] / 2, size / shape[1] / 2
    out = np.zeros(shape, bool)
    for box in boxes:
        down = (rows >= box.y1 - high) & (rows <= box.y2 + high)
        out |= down[:, None] & (columns >= box.x1 - wide) & (columns <= box.x2 + wide)
    return out
