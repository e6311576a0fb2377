"""What was asked of a run beside its recipe, as run.json keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, cast

from ..records import record

Protocol = Literal["honest", "published", "assumed"]
Refer = Literal["unsure", "none"]

ALPHA = 0.10  # share of the cases of a class that may be answered wrongly, unless another is asked for


@record
class Settings:
    """What was asked, beside the recipe.

    It is stored in run.json and not changed by a stage, except for what it settles. The scan settles `data`, the folder that
    paths are below, and keeps what was asked for in `asked`; where the recipe names no classes, `found` are those of the
    data. `skip` names evidence that is not made. `choices` are measured once (number format, threads) and kept, so that a
    resumed run computes the same.
    """

    data: str
    seed: int = 0
    protocol: Protocol = "honest"
    accepted: tuple[str, ...] = ()
    fold: int | None = None
    folds: int = 5
    weights: str = ""
    version: str = ""
    created: str = ""
    asked: str = ""
    found: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    choices: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alpha(self) -> float:
        """Share of the cases of a class that may be answered wrongly.

        Kept among `choices` where it was asked for.
        """
        return float(self.choices.get("alpha", ALPHA))

    @property
    def refer(self) -> Refer:
        """Is "none" where every case is answered; kept among `choices` where it was asked for."""
        return cast(Refer, self.choices.get("refer", "unsure"))
