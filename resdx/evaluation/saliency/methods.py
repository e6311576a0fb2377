"""Saliency maps of a network: each method maps (network, images, targets) -> (B, h, w).

`images` are (B, 3, H, W) in [0, 1], `targets` (B,) the index of the class that is explained in each. A map is float32, at
least 0, of its own resolution (`enlarge` brings it to the picture's), and has no unit: only its places are compared. What is
explained is a `Score`: how much the network holds with the class, by default its log-odds among all classes, which with two
classes is the difference of the two logits. Every function puts the network into eval mode and leaves its weights and their
gradients alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ...data.tasks import MultiLabel, Ordinal, Task
from ...models.network import Network, pool

Score = Callable[[Tensor, Tensor], Tensor]  # logits (B, outputs), targets (B,) -> (B,)

CELLS = 7  # occlusion: windows along a side
BLOCKS = 16  # integrated gradients: squares along a side that attributions are summed over
STEPS = 16  # integrated gradients: points of the path
BLUR = 8  # a picture without its content is blurred by a Gaussian of its side / BLUR
TINY = 1e-6


def class_odds(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-odds of a class under the softmax: its logit minus the log-sum-exp of all others.

    With two classes their difference.
    """
    column = targets[:, None]
    # the log-sum-exp leaves the class itself out
    return logits.gather(1, column).squeeze(1) - logits.scatter(1, column, -torch.inf).logsumexp(1)


def label_odds(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-odds of a label that stands on its own: its logit."""
    return logits.gather(1, targets[:, None]).squeeze(1)


def grade_odds(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-odds of one grade from the logits of "above grade k" (see tasks.Ordinal)."""
    above = logits.cummin(1).values.sigmoid()  # P(above grade k) can only fall with k: (B, K - 1)
    edges = torch.cat([torch.ones_like(above[:, :1]), above, torch.zeros_like(above[:, :1])], 1)  # (B, K + 1), from 1 to 0
    # P(grade) = P(above the one before) - P(above it)
    return (edges[:, :-1] - edges[:, 1:]).gather(1, targets[:, None]).squeeze(1).clamp(TINY, 1 - TINY).logit()


def score_of(task: Task) -> Score:
    """What a map of this task explains."""
    return label_odds if isinstance(task, MultiLabel) else grade_odds if isinstance(task, Ordinal) else class_odds


def class_activation(network: Network, images: Tensor, targets: Tensor, *, score: Score = class_odds) -> Tensor:
    """Class activation map (Zhou et al. 2016, Selvaraju et al. 2017).

    ReLU(sum_k dy/dz_k A_k) over the last maps A and their means z.

    The head sees the pooled vector alone, so its own small derivative is all that is needed, and no convolution is run
    backwards. For a linear head and `label_odds` the slopes are the weights of the class; for any head the map is Grad-CAM on
    the last stage.
    """
    maps, slopes = _slopes(network, images, targets, score)
    return torch.einsum("be,behw->bhw", slopes, maps).relu()


def grad_cam(network: Network, images: Tensor, targets: Tensor, *, score: Score = class_odds, stage: str = "") -> Tensor:
    """Grad-CAM on the maps of a `stage` (default the last) (Selvaraju et al. 2017).

    Weights are the mean gradients of the score.
    """
    names = list(network.eval().backbone.stages())
    at = names.index(stage or names[-1])
    with torch.no_grad():
        maps = network.run_stages(network.normalise(images), names[0], last=names[at])
    with torch.enable_grad():
        maps.requires_grad_()
        last = network.run_stages(maps.clone(), names[at + 1]) if at + 1 < len(names) else maps
        value = score(network.head(pool(last)), targets)
    (gradient,) = torch.autograd.grad(value.sum(), maps)
    return torch.einsum("be,behw->bhw", gradient.mean((2, 3)), maps.detach()).relu()


def grad_cam_plus_plus(network: Network, images: Tensor, targets: Tensor, *, score: Score = class_odds) -> Tensor:
    """Grad-CAM++ on the last maps (Chattopadhyay et al. 2018), which weighs small evidence more.

    Below a pooled head the gradient g is the same at every place of a map, so the paper's weights, the sum over places of
    ReLU(g) g^2 / (2 g^2 + g^3 sum(A)), become ReLU(d) / (2 + d z) with d = dy/dz, up to a factor that all maps share.
    """
    maps, slopes = _slopes(network, images, targets, score)
    rising = slopes.relu()
    return torch.einsum("be,behw->bhw", rising / (2 + rising * pool(maps).relu()), maps).relu()


def occlusion(network: Network, images: Tensor, targets: Tensor, *, score: Score = class_odds, cells: int = CELLS) -> Tensor:
    """How much the score falls when a window is blurred away (Zeiler and Fergus 2014): (B, cells, cells).

    The windows are two cells wide, centred on the cells and cut at the border; a place whose loss raises the score counts 0.
    """
    network.eval()
    blurred, size = absent(images), images.shape[-1]
    out = torch.zeros(len(images), cells, cells, device=images.device)
    with torch.no_grad():
        whole = score(network(images), targets)
        for row in range(cells):
            for column in range(cells):
                down, along = window(row, cells, size), window(column, cells, size)
                covered = images.clone()
                covered[..., down, along] = blurred[..., down, along]
                out[:, row, column] = whole - score(network(covered), targets)  # above 0: the window spoke for the class
    return out.relu()


def window(cell: int, cells: int, size: int) -> slice:
    """The pixels along a side that occlusion covers for a cell.

    Two cells wide, centred on it, cut at the border.
    """
    start, stop = (round((cell + shift) * size / cells) for shift in (-0.5, 1.5))  # half a cell on either side of the cell
    return slice(max(0, start), min(size, stop))


def integrated_gradients(
    network: Network, images: Tensor, targets: Tensor, *, score: Score = class_odds, steps: int = STEPS
) -> Tensor:
    """Attributions summed over squares, where they speak for the class: (B, BLOCKS, BLOCKS)."""
    places = attributions(network, images, targets, score=score, steps=steps)
    # The mean of a square times its pixels is the sum that belongs to it.
    return (adaptive_avg_pool2d(places[:, None], BLOCKS)[:, 0] * (places[0].numel() / BLOCKS**2)).relu()


def attributions(
    network: Network,
    images: Tensor,
    targets: Tensor,
    *,
    score: Score = class_odds,
    steps: int = STEPS,
    baseline: Tensor | None = None,
) -> Tensor:
    """Integrated gradients (Sundararajan et al. 2017), signed and summed over colours: (B, H, W).

    The path is straight from `baseline` (default: the picture without its content) and cut into `steps` parts, each judged at
    its middle. All places together add up to score(picture) - score(baseline), up to the error of the steps.
    """
    network.eval()
    start = absent(images) if baseline is None else baseline
    total = torch.zeros_like(images)
    for step in range(steps):
        with torch.enable_grad():
            # the middle of a part of the path
            point = (start + (step + 0.5) / steps * (images - start)).detach().requires_grad_()
            value = score(network(point), targets)
        total += torch.autograd.grad(value.sum(), point)[0]
    return ((images - start) * total / steps).sum(1)


def absent(images: Tensor) -> Tensor:
    """The image (B, C, H, W) without its content: blurred by a Gaussian of an eighth of its side.

    Its border is repeated outwards.

    Black would itself be a finding (air), and a mean grey an opacity; a strong blur keeps the exposure of each region.
    """
    size = images.shape[-1]
    sigma, reach = size / BLUR, int(2.5 * size / BLUR)
    steps = torch.arange(-reach, reach + 1, device=images.device)  # offsets of the kernel, in pixels
    weights = torch.exp(-(steps**2) / (2 * sigma**2)).expand(size, -1)
    # (size, 2 reach + 1): beyond the border its last column counts
    columns = (torch.arange(size, device=images.device)[:, None] + steps).clamp(0, size - 1)
    # As a matrix: a depthwise convolution with so long a kernel is many times slower on a processor.
    # (size, size): row i holds the Gaussian around i
    blur = torch.zeros(size, size, device=images.device).scatter_add_(1, columns, weights / weights[0].sum())
    return blur @ images @ blur.T


def enlarge(maps: Tensor, size: int) -> Tensor:
    """(B, h, w) -> (B, size, size), bilinear; the centre of a cell stays where it was."""
    return interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]


def _slopes(network: Network, images: Tensor, targets: Tensor, score: Score) -> tuple[Tensor, Tensor]:
    """The last maps (B, E, h, w), and how steeply the score rises with each pooled one (B, E)."""
    network.eval()
    with torch.no_grad():
        maps = network.maps(images)
    with torch.enable_grad():
        pooled = pool(maps).requires_grad_()
        value = score(network.head(pooled), targets)
    return maps, torch.autograd.grad(value.sum(), pooled)[0]
