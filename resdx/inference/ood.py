"""Out-of-distribution (OOD) score: how far an embedding lies from those of the training cases.

Behind the flag
"unlike-training".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from ..errors import DataError

Array = NDArray[np.float32]
Floats = NDArray[np.float64]

DIRECTIONS = 64  # principal directions of the embedding that are kept


@dataclass(frozen=True, eq=False)
class OodScore:
    """How far an embedding lies from those of the training cases.

    The distance has no unit: it is the root of the sum of the squared Mahalanobis distance a direction, within the leading
    `directions`, and the squared length of what they leave over, in multiples of its mean; each is about 1 on the training
    cases. It does not change when all embeddings are shifted, turned or scaled alike.
    """

    mean: Array  # (E,)
    directions: Array  # (D, E), orthonormal
    spread: Array  # (D,) variance along each direction, shrunk towards their mean
    rest: float  # mean squared length outside the directions; 0 where nothing is left over

    @property
    def extent(self) -> float:
        """Root mean square distance of the training embeddings from their mean."""
        return float(np.sqrt(self.spread.sum() + self.rest))

    def distance(self, embeddings: ArrayLike) -> Floats:
        """(N, E) -> (N,). Raises DataError where the width is another one or a value is not finite."""
        x = _check_embeddings(embeddings)
        if x.shape[1] != len(self.mean):
            raise DataError(
                f"the embeddings have {x.shape[1]} values but the model was fitted on {len(self.mean)}; is it the same run?"
            )
        x = x - self.mean
        inside = x @ self.directions.T.astype(float)
        squared = (inside**2 / self.spread).mean(axis=1)  # squared Mahalanobis distance within the directions, over their number
        if self.rest > 0:
            squared += np.maximum((x**2).sum(axis=1) - (inside**2).sum(axis=1), 0) / self.rest  # what lies outside them
        return np.asarray(np.sqrt(squared))

    def to_arrays(self) -> dict[str, Array]:
        """Float32 arrays by name, for a safetensors file."""
        return {
            "mean": self.mean,
            "directions": self.directions,
            "spread": self.spread,
            "rest": np.array([self.rest], np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> OodScore:
        """The inverse of `to_arrays`. Raises DataError where an array is missing."""
        if missing := {"mean", "directions", "spread", "rest"} - set(arrays):
            raise DataError(f"the file of the OOD score lacks {min(missing)}; fit the calibration again")
        return cls(arrays["mean"], arrays["directions"], arrays["spread"], float(arrays["rest"][0]))


def fit_ood_score(embeddings: ArrayLike) -> OodScore:
    """Mean and leading directions of the training embeddings (N, E).

    Raises:
        DataError: fewer than two cases, a value that is not finite, or embeddings that are all the same.
    """
    x = _check_embeddings(embeddings)
    n, width = x.shape
    mean = x.mean(axis=0)
    x = x - mean
    total = float((x**2).sum() / n)
    if n < 2 or total <= 0:
        raise DataError(f"{n} training embeddings without any spread cannot say what is unlike them; was the model trained?")
    wide = width > n  # then the (N, N) matrix of products has the same spectrum and is smaller
    products = x @ x.T if wide else x.T @ x
    kept = min(DIRECTIONS, n - 1, width)
    size = len(products)
    variance, vectors = eigh(products / n, subset_by_index=(size - kept, size - 1))
    real = variance > 1e-10 * total
    variance, vectors = variance[real], vectors[:, real]
    # From the (N, N) products: v = X^T u / sqrt(n lambda), which has length 1.
    directions = (x.T @ vectors / np.sqrt(n * variance)).T if wide else vectors.T
    shrink = kept / (n + kept)  # as many pretended cases of mean spread as there are directions
    spread = (1 - shrink) * variance + shrink * variance.mean()
    rest = total - variance.sum()
    return OodScore(
        mean.astype(np.float32),
        directions.astype(np.float32),
        spread.astype(np.float32),
        float(np.float32(rest)) if rest > 1e-6 * total else 0.0,
    )


def _check_embeddings(embeddings: ArrayLike) -> Floats:
    x = np.asarray(embeddings, float)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise DataError(f"embeddings of shape {x.shape} must be (N, E) and finite; were they stored in too short a number?")
    return x
