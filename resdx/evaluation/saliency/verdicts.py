"""What the checks of a method say of its maps, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def verdict(row: Mapping[str, Any]) -> str:
    """What the checks of one method mean, in a sentence."""
    if failed := failures(row):
        return f"Do not read {row['name']}: {'; '.join(failed)}."
    pointing = row["pointing"]
    place = f"; its peak lies on the known place in {pointing.value:.0%} of cases" if pointing is not None else ""
    return f"{row['name']} passed the checks{place}: it shows where the network looked, not that it was right to."


def failures(row: Mapping[str, Any]) -> list[str]:
    """The checks that a method failed."""
    said = []
    left = row["randomisation"]
    if (left.value if left.low is None else left.low) > LEFT:
        said.append(f"it keeps much of its shape when the network's weights are randomised (rank correlation {left.value:.2f})")
    if not (row["gain"].low if row["gain"].low is not None else row["gain"].value) > 0:
        said.append("blurring what it marks changes the answer no more than blurring at random (or too few cases tell)")
    if row["stability"].value < ALIKE:
        said.append("it changes when the picture is merely saved as JPEG")
    place = row["pointing"]
    if place is not None and (place.value if place.low is None else place.low) <= row["pointing_chance"]:
        said.append("that its peak lies on the known place more often than by chance is not shown")
    if 2 * row["blank"] > row["cases"]:
        said.append("it is blank in most cases")
    return said


def overall(rows: Sequence[Mapping[str, Any]]) -> str:
    """One sentence over all methods."""
    good = [row["name"] for row in rows if not row["verdict"].startswith("Do not")]
    bad = [row["name"] for row in rows if row["name"] not in good]
    if not good:
        return "Every method failed a check: do not read the maps of this run."
    rest = f"; do not read {', '.join(bad)}" if bad else ""
    return f"Of the maps of this run, {', '.join(good)} passed the checks{rest}."


ALIKE = 0.5  # rank correlation from which two maps are much the same
LEFT = 0.3  # rank correlation, by the lower end of its interval, that a map may keep when the weights are randomised
