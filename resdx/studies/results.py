"""What comes out of an external validation and of a comparison, as records.

The pages are made of the same data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..metrics.estimate import Estimate
from ..runs.level_scores import Figures, to_figures
from ..runs.scorecard import PriorCorrected, ScoredSet, SetScores


@dataclass(frozen=True)
class Change:
    """A figure on the study's own test set, elsewhere, and the second less the first."""

    internal: Estimate
    external: Estimate
    change: Estimate


@dataclass(frozen=True)
class ExternalScorecard:
    """Figures of a study on cases of another place, external-NAME.json.

    `changes` are by figure ("auroc ill", "accuracy"), the `main` one first; `calibration` has intercept and slope of a logistic
    recalibration by class, at home (`internal`) and there (`external`). `left_out` are cases that the study knew.
    """

    name: str
    verdict: str
    stamp: str
    test: ScoredSet
    scores: SetScores
    main: str
    changes: Mapping[str, Change]
    calibration: Mapping[str, Mapping[str, Figures]]
    referred: Mapping[str, Estimate]
    prior_corrected: PriorCorrected | None
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExternalScorecard:
        """What external-NAME.json holds."""
        prior = data["prior_corrected"]
        sides = ("internal", "external", "change")
        return cls(
            name=data["name"],
            verdict=data["verdict"],
            stamp=data["stamp"],
            test=ScoredSet(**data["test"]),
            scores=SetScores.from_json(data["scores"]),
            main=data["main"],
            changes={key: Change(*(Estimate.from_json(one[side]) for side in sides)) for key, one in data["change"].items()},
            calibration={
                name: {side: to_figures(found) for side, found in both.items()} for name, both in data["calibration"].items()
            },
            referred=to_figures(data["referred"]),
            prior_corrected=PriorCorrected.from_json(prior) if prior else None,
            left_out=tuple(data["shared"]["left_out"]),
            notes=tuple(data["notes"]),
        )


@dataclass(frozen=True)
class PairFigure:
    """A figure of both sides of a pair, None where it cannot be estimated, and the first less the second."""

    first: float | None
    second: float | None
    difference: Estimate


@dataclass(frozen=True)
class PairTest:
    """A test of one figure for one pair.

    `p` as it is, `p_adjusted` by Holm over all pairs, None where it cannot be tested.
    """

    figure: str
    test: str
    p: float | None
    p_adjusted: float | None


@dataclass(frozen=True)
class Pair:
    """Two models, or two systems of several seeds, on the same test cases."""

    first: str
    second: str
    systems: bool
    verdict: str
    figures: Mapping[str, PairFigure]
    tests: tuple[PairTest, ...]


@dataclass(frozen=True)
class Comparison:
    """Studies on the same test cases: figures of each by its name, and every pair.

    `main` is the figure that verdicts are about.
    """

    main: str
    models: Mapping[str, Figures]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Comparison:
        """What compare.json holds."""
        models = {one["name"]: to_figures(one["figures"]) for one in data["models"]}
        return cls(data["main"], models, tuple(map(_pair, data["pairs"])), tuple(data["notes"]))


def _pair(data: Mapping[str, Any]) -> Pair:
    figures = {
        key: PairFigure(one["first"], one["second"], Estimate.from_json(one["difference"]))
        for key, one in data["figures"].items()
    }
    tests = tuple(PairTest(one["figure"], one["test"], one["p"], one["p_holm"]) for one in data["tests"])
    return Pair(data["first"], data["second"], data["systems"], data["verdict"], figures, tests)
