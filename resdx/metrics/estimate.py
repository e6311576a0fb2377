"""A figure for a person to read: a value with its interval, and how many persons it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure for a person to read: `n` counts persons; None is "not estimable".

    `low` and `high` bound the 95 % interval; `note` says how it was made, or why there is none.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    note: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return "not estimable"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"

    def to_json(self) -> dict[str, float | int | str | None]:
        """Plain data for metrics.json."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n, "note": self.note}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Estimate:
        """The inverse of `to_json`."""
        return cls(**data)
