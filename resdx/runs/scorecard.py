"""What a test set says of a model, as metrics.json keeps it: written and read here alone.

Stored names stay as they were first written; `from_json` gives the records, `to_json` the same data back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..metrics.estimate import Estimate
from .level_scores import (
    CalibrationScores,
    ClassScores,
    Figures,
    LevelScores,
    ReferralScores,
    SubgroupScores,
    to_figures,
    to_plain,
)


@dataclass(frozen=True)
class SetScores:
    """Figures of the answers to a set of cases, image by image and person by person.

    `classes` are all of them, `shown` those with figures of their own: of two classes the positive one. A person's
    probability is the
    `pool` (mean or max) of that of their images. `subgroups` are by kind (source, sex, age, view) and value, where two are known.
    """

    classes: tuple[str, ...]
    shown: tuple[str, ...]
    cases: int
    persons: int
    not_assessed: int
    pool: Literal["mean", "max"]
    mixed_persons: int
    notes: tuple[str, ...]
    image: LevelScores
    person: LevelScores
    subgroups: Mapping[str, Mapping[str, SubgroupScores]]

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        return {
            "classes": list(self.classes),
            "shown": list(self.shown),
            "cases": self.cases,
            "persons": self.persons,
            "not_assessed": self.not_assessed,
            "pool": self.pool,
            "mixed_persons": self.mixed_persons,
            "notes": list(self.notes),
            "image": self.image.to_json(),
            "person": self.person.to_json(),
            "subgroups": {
                kind: {value: one.to_json() for value, one in values.items()} for kind, values in self.subgroups.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SetScores:
        """The inverse of `to_json`."""
        return cls(
            classes=tuple(data["classes"]),
            shown=tuple(data["shown"]),
            cases=data["cases"],
            persons=data["persons"],
            not_assessed=data["not_assessed"],
            pool=data["pool"],
            mixed_persons=data["mixed_persons"],
            notes=tuple(data["notes"]),
            image=LevelScores.from_json(data["image"]),
            person=LevelScores.from_json(data["person"]),
            subgroups={
                kind: {value: SubgroupScores.from_json(one) for value, one in values.items()}
                for kind, values in data["subgroups"].items()
            },
        )


@dataclass(frozen=True)
class Shifted:
    """Brier score and calibration error with the probabilities moved to another class balance."""

    prior: tuple[float, ...]  # (K,) the balance
    figures: Figures

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        return {"prior": list(self.prior), **to_plain(self.figures)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Shifted:
        """The inverse of `to_json`."""
        return cls(tuple(data["prior"]), to_figures(data, but=("prior",)))


@dataclass(frozen=True)
class PriorCorrected:
    """Figures after a prior shift: to the balance observed among the persons of the set,
    and to the one estimated without labels.
    """

    prior_calib: tuple[float, ...]
    observed: Shifted
    estimated: Shifted

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        both = {"observed": self.observed.to_json(), "estimated": self.estimated.to_json()}
        return {"prior_calib": list(self.prior_calib), **both}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PriorCorrected:
        """The inverse of `to_json`."""
        observed, estimated = (Shifted.from_json(data[name]) for name in ("observed", "estimated"))
        return cls(tuple(data["prior_calib"]), observed, estimated)


@dataclass(frozen=True)
class ClassBoxes:
    """Boxes of one class: how many there are, in how many pictures, the score threshold,
    and figures by name (ap50, recall ...).
    """

    boxes: int
    pictures: int
    threshold: float
    figures: Figures


@dataclass(frozen=True)
class DrawnBoxes:
    """A picture of the test set with its boxes drawn, by its path below the run.

    With it go how many boxes are there and how many were found.
    """

    case: str
    picture: str
    there: int
    found: int


@dataclass(frozen=True)
class BoxScores:
    """How well a detector finds the boxes of the test set: by class, the mean over classes, and pictures.

    At most `most` boxes a picture.
    """

    classes: Mapping[str, ClassBoxes]
    mean: Figures
    pictures: tuple[DrawnBoxes, ...]
    most: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        return {
            "classes": {
                name: {"boxes": one.boxes, "pictures": one.pictures, "limit": one.threshold, **to_plain(one.figures)}
                for name, one in self.classes.items()
            },
            "mean": to_plain(self.mean),
            "pictures": [
                {"case": one.case, "picture": one.picture, "there": one.there, "found": one.found} for one in self.pictures
            ],
            "most": self.most,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BoxScores:
        """The inverse of `to_json`."""
        own = ("boxes", "pictures", "limit")
        classes = {
            name: ClassBoxes(one["boxes"], one["pictures"], one["limit"], to_figures(one, but=own))
            for name, one in data["classes"].items()
        }
        return cls(classes, to_figures(data["mean"]), tuple(DrawnBoxes(**one) for one in data["pictures"]), data["most"])


@dataclass(frozen=True)
class MemberFigure:
    """A figure of an ensemble or of a member.

    Of a member with what the ensemble is ahead of it, and the p value of that.
    """

    value: Estimate
    lead: Estimate | None = None
    p: float | None = None


@dataclass(frozen=True)
class MemberScores:
    """Figures of an ensemble, or of one of its members, by their keys."""

    name: str
    figures: Mapping[str, MemberFigure]

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        return {
            "name": self.name,
            "figures": {
                key: {"value": one.value.to_json(), **({"lead": one.lead.to_json(), "p": one.p} if one.lead else {})}
                for key, one in self.figures.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MemberScores:
        """The inverse of `to_json`."""
        figures = {}
        for key, one in data["figures"].items():
            lead = Estimate.from_json(one["lead"]) if "lead" in one else None
            figures[key] = MemberFigure(Estimate.from_json(one["value"]), lead, one.get("p"))
        return cls(data["name"], figures)


@dataclass(frozen=True, slots=True)
class ScoredSet:
    """The cases that were scored: the hash of their files, how often the store's ledger says they were
    read, cases and persons.
    """

    hash: str
    reads: int
    cases: int
    persons: int
    before: int = 0  # cases that had been read before, in whatever test set


@dataclass(frozen=True)
class Scorecard:
    """Everything `evaluate` found on the test set, read once: what metrics.json holds.

    `stamp` is what stands on every page of a run whose figures are not those of new persons, and empty otherwise. `boxes`
    are of a
    detector, `members` of an ensemble. `referral` is what is answered at each level, where the calibration has such a rule;
    `calibration` says of each shown class whether its probabilities are right.
    `seconds` is what each stage took.
    """

    protocol: str
    stamp: str
    test: ScoredSet
    scores: SetScores
    prior_corrected: PriorCorrected | None = None
    boxes: BoxScores | None = None
    members: tuple[MemberScores, ...] = ()
    referral: tuple[ReferralScores, ...] = ()
    calibration: Mapping[str, CalibrationScores] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def overall(self) -> Figures:
        """Figures over all classes, image by image: accuracy, macro_auroc, brier ..."""
        return self.scores.image.overall

    @property
    def classes(self) -> Mapping[str, ClassScores]:
        """Figures of each shown class against the rest, image by image."""
        return self.scores.image.classes

    @property
    def persons(self) -> LevelScores:
        """The same figures person by person."""
        return self.scores.person

    @property
    def subgroups(self) -> Mapping[str, Mapping[str, SubgroupScores]]:
        """Figures by source, sex, age and view, where two values are known."""
        return self.scores.subgroups

    def to_json(self) -> dict[str, Any]:
        """Plain data for metrics.json."""
        return {
            "protocol": self.protocol,
            "stamp": self.stamp,
            "test": set_to_json(self.test),
            "scores": self.scores.to_json(),
            "prior_corrected": self.prior_corrected and self.prior_corrected.to_json(),
            **({"boxes": self.boxes.to_json()} if self.boxes else {}),
            **({"members": [one.to_json() for one in self.members]} if self.members else {}),
            **({"calibration": {name: one.to_json() for name, one in self.calibration.items()}} if self.calibration else {}),
            **({"referral": [one.to_json() for one in self.referral]} if self.referral else {}),
            "seconds": dict(self.seconds),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scorecard:
        """The inverse of `to_json`."""
        prior, boxes = data.get("prior_corrected"), data.get("boxes")
        return cls(
            protocol=data.get("protocol", "honest"),
            stamp=data["stamp"],
            test=ScoredSet(**data["test"]),
            scores=SetScores.from_json(data["scores"]),
            prior_corrected=PriorCorrected.from_json(prior)
            if prior and "observed" in prior
            else None,  # older runs had another layout
            boxes=boxes and BoxScores.from_json(boxes),
            members=tuple(MemberScores.from_json(one) for one in data.get("members", ())),
            calibration={name: CalibrationScores.from_json(one) for name, one in data.get("calibration", {}).items()},
            referral=tuple(ReferralScores.from_json(one) for one in data.get("referral", ())),
            seconds=data.get("seconds", {}),
        )


def set_to_json(test: ScoredSet) -> dict[str, Any]:
    """Plain data of a test set."""
    found = {"hash": test.hash, "reads": test.reads, "cases": test.cases, "persons": test.persons}
    return found | ({"before": test.before} if test.before else {})
