"""How far two sets of images are apart: FID and KID of features, SSIM and PSNR, nearest neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

Floats = NDArray[np.float64]
SMALL = 32  # pixels of the pictures whose distances tell copies


def frechet(first: Floats, second: Floats) -> float:
    """Fréchet distance of features (N, E) and (M, E) (Heusel et al. 2017).

    That of two normal distributions with their means and covariances.

    With fewer cases than features it is far above 0 for two samples of one distribution too: give that floor beside it.
    """
    x, y = ((one - one.mean(0)) / np.sqrt(len(one) - 1) for one in (first, second))  # so that x.T @ x is the covariance
    traces = (x**2).sum() + (y**2).sum()
    x, y = (np.asarray(np.linalg.qr(one, "r")) if len(one) > one.shape[1] else one for one in (x, y))  # the same products
    mixed = np.linalg.svd(x @ y.T, compute_uv=False).sum()  # the trace of the root of the product of the covariances
    # |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2)), Fréchet 1957
    return float(((first.mean(0) - second.mean(0)) ** 2).sum() + traces - 2 * mixed)


def kernel_distance(first: Floats, second: Floats) -> float:
    """Kernel inception distance of features (N, E) and (M, E) (Binkowski et al. 2018).

    The squared maximum mean discrepancy under the kernel (x y / E + 1)^3, without bias: around 0 for one distribution.
    """

    def kernel(x: Floats, y: Floats) -> Floats:
        return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)

    n, m = len(first), len(second)
    own, other = kernel(first, first), kernel(second, second)
    # Without the diagonal, a picture against itself, which makes the estimate unbiased
    within = (own.sum() - np.trace(own)) / (n * (n - 1)) + (other.sum() - np.trace(other)) / (m * (m - 1))
    return float(within - 2 * kernel(first, second).mean())


def nearest(
    pictures: NDArray[np.uint8], others: NDArray[np.uint8], persons: NDArray[np.int64], *, own: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """The nearest neighbour of each image (N, S, S, C) among the others (M, S, S, C).

    A distance is the root mean square of the difference in grey values of 0 to 1, at 32 px; infinite where there is none.

    Args:
        persons: (M,) the person of each of the others.
        own: (N,) the person of each image, whose own images do not count.

    Returns:
        (N,) the index of the nearest, its distance, and the distance of the nearest of a further person.
    """
    x, y = _small(pictures), _small(others)
    # (N, M): |x - y|^2 = |x|^2 + |y|^2 - 2 x y
    squared = np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T, 0)
    if own is not None:
        squared = np.where(own[:, None] == persons[None], np.inf, squared)  # a picture's own person would always be nearest
    rows, at = np.arange(len(x)), squared.argmin(1)
    rest = np.where(persons[at][:, None] == persons[None], np.inf, squared).min(1)
    return at, np.sqrt(squared[rows, at] / x.shape[1]), np.sqrt(rest / x.shape[1])


def likeness(picture: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[float, float]:
    """SSIM (Wang et al. 2004) and PSNR in dB of two pictures (S, S, C)."""
    similar = structural_similarity(picture, other, channel_axis=2)  # type: ignore[no-untyped-call]
    peak = peak_signal_noise_ratio(other, picture) if (picture != other).any() else np.inf  # type: ignore[no-untyped-call]
    return float(similar), float(peak)


def _small(pictures: NDArray[np.uint8]) -> Floats:
    side = pictures.shape[1] // (step := max(1, pictures.shape[1] // SMALL)) * step
    grey = pictures[:, :side, :side].astype(np.float64).mean(3) / 255
    # (N, h, w): the mean of each step x step block
    pooled = grey.reshape(len(grey), side // step, step, side // step, step).mean((2, 4))
    out: Floats = pooled.reshape(len(grey), -1)
    return out
