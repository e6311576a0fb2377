"""Curves with pointwise bands: the percentiles of a bootstrap of persons, nowhere of zero width."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .bootstrap import resample
from .classification import Array, Metric, Values
from .intervals import LEVEL, MIN_PERSONS, Groups, effective_sample_size, person_codes, tails

FLAT = 1e-9  # width below which a band counts as of zero width


def bands(
    curves: Mapping[str, Metric], y_true: Values, y_score: Values, groups: Groups = None, *, replicates: int = 2000, seed: int = 0
) -> dict[str, tuple[Array, Array | None, Array | None]]:
    """Curves of P points with pointwise 95 % bands, on the same bootstrap replicates.

    Arguments as for `estimate`.

    Returns:
        For each curve its values (P,), and the lower and upper band (P,); both None with too few persons.
    """
    y_true, y_score = np.asarray(y_true), np.asarray(y_score)
    codes = person_codes(groups, len(y_true))
    sample: dict[str, list[Array]] = {name: [] for name in curves}
    n_effective = {name: effective_sample_size(curve, y_true, codes) for name, curve in curves.items()}
    wanted = {name: curve for name, curve in curves.items() if n_effective[name] >= MIN_PERSONS}
    for weights in resample(y_true, codes, replicates=replicates, seed=seed) if wanted else ():
        for name, curve in wanted.items():
            sample[name].append(curve(y_true, y_score, weights))  # (D, P)
    out: dict[str, tuple[Array, Array | None, Array | None]] = {}
    for name, curve in curves.items():
        out[name] = curve(y_true, y_score), None, None
        if name in wanted:
            sampled = np.concatenate(sample[name])
            # A replicate without one of the classes has no curve.
            low, high = np.quantile(sampled[~np.isnan(sampled).any(1)], tails(n_effective[name]), axis=0)
            out[name] = out[name][0], *_never_flat(out[name][0], low, high, n_effective[name])
    return out


def _never_flat(value: Array, low: Array, high: Array, n_effective: int) -> tuple[Array, Array]:
    """A band that is nowhere of zero width.

    Where every replicate gives the same, it is as wide as the bound on persons that are all right, in units of the
    curve's largest value; a curve stays in [0, 1] where it lies there.
    """
    reach = (1 - ((1 - LEVEL) / 2) ** (1 / n_effective)) * float(np.nanmax(np.abs(value), initial=0.0))
    least, most = (0.0, 1.0) if np.nanmin(value) >= 0 else (-np.inf, np.inf)
    flat = high - low < FLAT
    return np.where(flat, np.maximum(low - reach, least), low), np.where(flat, np.minimum(high + reach, most), high)
