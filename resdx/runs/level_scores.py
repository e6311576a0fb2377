"""Figures of one level of a test set, its images or its persons.

They are kept in metrics.json (scorecard.py). Every figure is an Estimate by its name. `from_json` reads what any version
wrote so far, and `to_json` gives the same back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..metrics.estimate import Estimate

Figures = Mapping[str, Estimate]


def to_plain(figures: Figures) -> dict[str, Any]:
    """Figures as plain data."""
    return {name: one.to_json() for name, one in figures.items()}


def to_figures(data: Mapping[str, Any], *, but: Sequence[str] = ()) -> dict[str, Estimate]:
    """The inverse of `to_plain`; entries named `but` are no figures."""
    return {name: Estimate.from_json(one) for name, one in data.items() if name not in but}


@dataclass(frozen=True, slots=True)
class Support:
    """How many cases, and how many persons, are behind a figure."""

    cases: int
    persons: int


@dataclass(frozen=True)
class ClassScores:
    """One class against the rest: cases with it and without it, its prevalence, and figures by name.

    Of probabilities: auroc, average_precision, sensitivity_at_specificity_90 and _95, specificity_at_sensitivity_90 and _95,
    work_saved, brier, ece; of decisions: sensitivity, specificity, ppv, npv, f1. All are in [0, 1].
    """

    positive: Support
    negative: Support
    prevalence: Estimate
    figures: Figures

    def __getitem__(self, name: str) -> Estimate:
        return self.figures[name]

    @property
    def auroc(self) -> Estimate:
        """Area under the ROC curve."""
        return self.figures["auroc"]

    @property
    def average_precision(self) -> Estimate:
        """Area under the precision-recall curve; by chance it is the prevalence."""
        return self.figures["average_precision"]

    @property
    def sensitivity(self) -> Estimate:
        """Share of the cases with the class that are called so."""
        return self.figures["sensitivity"]

    @property
    def specificity(self) -> Estimate:
        """Share of the cases without the class that are called so."""
        return self.figures["specificity"]

    @property
    def brier(self) -> Estimate:
        """Mean squared error of the probabilities; 0 is perfect."""
        return self.figures["brier"]

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        sides = {name: {"cases": one.cases, "persons": one.persons} for name, one in self._sides()}
        return {"support": sides, "prevalence": self.prevalence.to_json(), **to_plain(self.figures)}

    def _sides(self) -> tuple[tuple[str, Support], ...]:
        return ("positive", self.positive), ("negative", self.negative)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ClassScores:
        """The inverse of `to_json`."""
        positive, negative = (Support(**data["support"][side]) for side in ("positive", "negative"))
        figures = to_figures(data, but=("support", "prevalence"))
        return cls(positive, negative, Estimate.from_json(data["prevalence"]), figures)


@dataclass(frozen=True)
class Band:
    """A curve of P points with its pointwise 95 % band; no band where there are too few persons."""

    value: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        return {name: None if line is None else list(line) for name, line in self._lines()}

    def _lines(self) -> tuple[tuple[str, tuple[float, ...] | None], ...]:
        return ("value", self.value), ("low", self.low), ("high", self.high)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Band:
        """The inverse of `to_json`."""
        low, high = (None if data[side] is None else tuple(data[side]) for side in ("low", "high"))
        return cls(tuple(data["value"]), low, high)


@dataclass(frozen=True)
class ReliabilityBin:
    """Cases of like probability: the mean of what was predicted, and the share in which it was observed."""

    predicted: float
    observed: Estimate
    cases: int


@dataclass(frozen=True)
class Curves:
    """Curves of one class: sensitivity over `fpr`, precision over `recall`, net benefit over `threshold`,
    and the reliability diagram.
    """

    fpr: tuple[float, ...]
    roc: Band
    recall: tuple[float, ...]
    precision_recall: Band
    threshold: tuple[float, ...]
    net_benefit: Band
    treat_all: tuple[float, ...]  # net benefit of calling every case positive
    reliability: tuple[ReliabilityBin, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        return {
            "roc": {"fpr": list(self.fpr), **self.roc.to_json()},
            "precision_recall": {"recall": list(self.recall), **self.precision_recall.to_json()},
            "decision": {
                "threshold": list(self.threshold),
                **self.net_benefit.to_json(),
                "treat_all": list(self.treat_all),
            },
            "reliability": [
                {"promised": one.predicted, "happened": one.observed.to_json(), "cases": one.cases} for one in self.reliability
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Curves:
        """The inverse of `to_json`."""
        roc, precision, decision = (data[name] for name in ("roc", "precision_recall", "decision"))
        return cls(
            fpr=tuple(roc["fpr"]),
            roc=Band.from_json(roc),
            recall=tuple(precision["recall"]),
            precision_recall=Band.from_json(precision),
            threshold=tuple(decision["threshold"]),
            net_benefit=Band.from_json(decision),
            treat_all=tuple(decision["treat_all"]),
            reliability=tuple(
                ReliabilityBin(one["promised"], Estimate.from_json(one["happened"]), one["cases"]) for one in data["reliability"]
            ),
        )


@dataclass(frozen=True)
class Abstention:
    """The share of cases referred to a person, and how good the answers are that were given.

    No accuracy where cases have several labels.
    """

    referred: Estimate
    answered: int
    accuracy: Estimate | None
    classes: Mapping[str, Figures]

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        accuracy = {} if self.accuracy is None else {"accuracy": self.accuracy.to_json()}
        classes = {name: to_plain(one) for name, one in self.classes.items()}
        return {"referred": self.referred.to_json(), "answered": self.answered, **accuracy, "classes": classes}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Abstention:
        """The inverse of `to_json`."""
        accuracy = Estimate.from_json(data["accuracy"]) if "accuracy" in data else None
        classes = {name: to_figures(one) for name, one in data["classes"].items()}
        return cls(Estimate.from_json(data["referred"]), data["answered"], accuracy, classes)


@dataclass(frozen=True)
class CalibrationScores:
    """Whether the probabilities of a class mean what they say.

    Intercept (0 is perfect), slope (1 is) and Spiegelhalter's `z`, with the p value of the three together. The calibration
    error `ece` stands beside its mean (`ece_perfect`) and 95 % quantile (`ece_most`) where the probabilities are right.
    """

    intercept: Estimate
    slope: Estimate
    z: float | None
    p: float | None
    ece: float
    ece_perfect: float
    ece_most: float

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        figures = {"intercept": self.intercept.to_json(), "slope": self.slope.to_json()}
        numbers = {"z": self.z, "p": self.p, "ece": self.ece, "ece_perfect": self.ece_perfect, "ece_most": self.ece_most}
        return {**figures, **numbers}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CalibrationScores:
        """The inverse of `to_json`."""
        figures = {name: Estimate.from_json(data[name]) for name in ("intercept", "slope")}
        return cls(**{**data, **figures})


@dataclass(frozen=True)
class ClassReferral:
    """Of the cases of a class the share that is answered wrongly.

    `promised` is what it is at most, by the `persons` of the calibration set; None where nothing is promised.
    """

    promised: float | None
    persons: int
    wrong: Estimate


@dataclass(frozen=True)
class ReferralScores:
    """What becomes of the images at one level of referral.

    The share answered, the share of errors among those, and each class.
    """

    alpha: float
    answered: Estimate
    error: Estimate
    classes: Mapping[str, ClassReferral]

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        classes = {
            name: {"promised": one.promised, "persons": one.persons, "wrong": one.wrong.to_json()}
            for name, one in self.classes.items()
        }
        return {"alpha": self.alpha, "answered": self.answered.to_json(), "error": self.error.to_json(), "classes": classes}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ReferralScores:
        """The inverse of `to_json`."""
        classes = {
            name: ClassReferral(one["promised"], one["persons"], Estimate.from_json(one["wrong"]))
            for name, one in data["classes"].items()
        }
        answered, error = (Estimate.from_json(data[name]) for name in ("answered", "error"))
        return cls(data["alpha"], answered, error, classes)


@dataclass(frozen=True)
class LevelScores:
    """Figures of one level, images or persons.

    `overall` holds, by name, what is asked of all classes together: accuracy, majority_rate, balanced_accuracy, macro_f1,
    mcc, brier,
    ece, macro_auroc, of grades quadratic_kappa. `confusion` counts [true class][called class]; None where cases have
    several labels.
    """

    cases: int
    persons: int
    overall: Figures
    classes: Mapping[str, ClassScores]
    curves: Mapping[str, Curves | None]  # None without cases of both sides
    confusion: tuple[tuple[int, ...], ...] | None
    abstention: Abstention

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        return {
            "cases": self.cases,
            "persons": self.persons,
            "overall": to_plain(self.overall),
            "classes": {name: one.to_json() for name, one in self.classes.items()},
            "curves": {name: one and one.to_json() for name, one in self.curves.items()},
            "confusion": None if self.confusion is None else [list(row) for row in self.confusion],
            "abstention": self.abstention.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LevelScores:
        """The inverse of `to_json`."""
        return cls(
            cases=data["cases"],
            persons=data["persons"],
            overall=to_figures(data["overall"]),
            classes={name: ClassScores.from_json(one) for name, one in data["classes"].items()},
            curves={name: one and Curves.from_json(one) for name, one in data["curves"].items()},
            confusion=None if data["confusion"] is None else tuple(map(tuple, data["confusion"])),
            abstention=Abstention.from_json(data["abstention"]),
        )


@dataclass(frozen=True)
class SubgroupScores:
    """Figures of the cases that share a source, a sex, an age band or a view.

    Of a class with too few persons `notes` says so.
    """

    cases: int
    persons: int
    accuracy: Estimate | None
    classes: Mapping[str, Figures]
    notes: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        classes = {
            name: {"note": self.notes[name]} if name in self.notes else to_plain(one) for name, one in self.classes.items()
        }
        accuracy = {} if self.accuracy is None else {"accuracy": self.accuracy.to_json()}
        return {"cases": self.cases, "persons": self.persons, "classes": classes, **accuracy}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SubgroupScores:
        """The inverse of `to_json`."""
        accuracy = Estimate.from_json(data["accuracy"]) if "accuracy" in data else None
        notes = {name: one["note"] for name, one in data["classes"].items() if "note" in one}
        classes = {name: {} if name in notes else to_figures(one) for name, one in data["classes"].items()}
        return cls(data["cases"], data["persons"], accuracy, classes, notes)
