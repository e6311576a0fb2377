"""Which counts can stand behind a published figure.

And so on how many cases, and on which split, it was measured. 0.975504 of a set of 27,558 images is 5,376 of 5,511: a fifth
of the images, rounded down, and no other usual part. Rates of several classes and the accuracy over all of them pin each
other down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import DataError
from ...metrics.estimate import Estimate
from ...metrics.intervals import proportion

SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.5, 1)  # parts that papers test on; all of it by cross-validation
MOST = 200  # cases of a part that nothing is known of
CHOICES = 1_000_000  # sets of counts beyond which nothing is pinned down


@dataclass(frozen=True)
class Printed:
    """A figure as a paper prints it: a share from 0 to 1, or per cent, to so many places."""

    text: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(\d+(\.\d*)?|\.\d+) ?%?", self.text.strip()) or float(self.digits) > 100:
            raise DataError(f"{self.text!r} is no figure; give a share such as 0.9755, or per cent such as 97.55 or 97.55%")
        if not self.per_cent and not self.digits.partition(".")[2]:
            raise DataError(
                f"{self.text!r} has no places, and any share could stand behind it; give it as it is printed: 1.00, or 100%"
            )

    @property
    def digits(self) -> str:
        """The number without its sign of per cent."""
        return self.text.strip().rstrip("%").strip()

    @property
    def per_cent(self) -> bool:
        """97.55 and 0.5% are; 1.0 is a share, and 1% or 100 is not."""
        return "%" in self.text or float(self.digits) > 1

    @property
    def value(self) -> float:
        """From 0 to 1."""
        return float(self.digits) / (100 if self.per_cent else 1)

    @property
    def unit(self) -> float:
        """One in the last place."""
        places = len(self.digits.partition(".")[2])
        return float(10.0 ** -(places + (2 if self.per_cent else 0)))

    def counts(self, of: int) -> range:
        """How many of `of` cases print this figure, rounded or cut off after the last place."""
        low, high = max(0, math.floor(of * (self.value - self.unit / 2))), min(of, math.ceil(of * (self.value + self.unit)))
        while low <= high and not self.fits(low / of):
            low += 1
        while high > low and not self.fits(high / of):
            high -= 1
        return range(low, high + 1)

    def fits(self, share: float) -> bool:
        """Whether `share` prints this figure."""
        return -0.5 - 1e-9 <= (share - self.value) / self.unit < 1 - 1e-9

    def is_cut_off(self, share: float) -> bool:
        """Whether `share` prints this figure only where places are cut off instead of rounded."""
        return (share - self.value) / self.unit > 0.5 + 1e-9


@dataclass(frozen=True)
class Count:
    """`right` of `of` cases, of which `part` says what they may be."""

    right: int
    of: int
    part: str = ""

    @property
    def interval(self) -> Estimate:
        """Wilson's interval, as if each case were a person of its own."""
        return proportion(np.arange(self.of) < self.right)

    def __str__(self) -> str:
        return f"{self.right:,} of {self.of:,} = {self.right / self.of:.6f}{f', {self.part}' if self.part else ''}"


def counts(printed: str, *, total: int = 0, of: int = 0, most: int = MOST) -> list[Count]:
    """All counts that print a figure.

    Args:
        printed: the figure with all its places, such as "0.975504" or "88.89"
        total: cases of the whole data set: only its usual parts are tried
        of: cases of the test part, where the paper states them
        most: where neither is known, parts of up to so many cases

    Raises:
        DataError: the figure cannot be read, a number of cases is negative, or more counts fit than tell anything.
    """
    figure = Printed(printed)
    if min(total, of, most) < 0:
        raise DataError("numbers of cases must be above 0")
    parts: Iterator[tuple[int, str]]
    if of:
        parts = iter([(of, "")])
    elif total:
        parts = usual_parts(total)
    else:
        parts = ((cases, "") for cases in range(1, most + 1))
    found = [(cases, part, figure.counts(cases)) for cases, part in parts]
    if (many := sum(len(rights) for _, _, rights in found)) > CHOICES:
        raise DataError(f"{many:,} counts print {printed}; give a figure with more places, or fewer cases")
    return [Count(right, cases, part) for cases, part, rights in found for right in rights]


def usual_parts(total: int) -> Iterator[tuple[int, str]]:
    """Cases of each usual share of a data set, rounded down and up."""
    for share in SHARES:
        exact = round(share * total, 6)
        for cases, how in dict.fromkeys([(math.floor(exact), "down"), (math.ceil(exact), "up")]):
            if cases and not (how == "up" and cases == exact):
                yield cases, f"{share:.0%} of {total:,}" + (f", rounded {how}" if cases != exact else "")


def joint(printed: str, classes: Sequence[str], *, of: int = 0, most: int = MOST) -> list[tuple[Count, ...]]:
    """Counts of each class that fit the printed rates and the printed accuracy together.

    The rate of a class (its sensitivity) prints as stated, and all classes taken together print the accuracy `printed`. The
    smallest test part comes first: `of` cases together where the paper states them, else at most `most`.

    Raises:
        DataError: a figure cannot be read, there are fewer than two classes, or the figures fit too much to tell anything.
    """
    over_all, rates = Printed(printed), [Printed(one) for one in classes]
    if len(rates) < 2:
        raise DataError("give the rates of at least two classes")
    most = of or most
    each = [[Count(right, cases) for cases in range(1, most) for right in rate.counts(cases)] for rate in rates]
    ways = np.array([1.0])  # to choose one count a class, by their cases together
    for one in each:
        ways = np.convolve(ways, np.bincount([count.of for count in one], minlength=most + 1))[: most + 1]
    if ways.sum() > CHOICES:
        raise DataError(
            f"{ways.sum():,.0f} sets of counts print these figures; give figures with more places, or a smaller --most"
        )
    found = [(_sum(chosen), chosen) for chosen in _within(each, most)]
    found = [(sum_, chosen) for sum_, chosen in found if over_all.fits(sum_.right / sum_.of) and sum_.of == (of or sum_.of)]
    return [chosen for _, chosen in sorted(found, key=lambda pair: pair[0].of)]


def _within(each: Sequence[Sequence[Count]], most: int) -> Iterator[tuple[Count, ...]]:
    """One count of each class, together at most `most` cases."""
    if not each:
        yield ()
        return
    for first in each[0]:
        if first.of > most:
            return  # they stand in the order of their cases
        yield from ((first, *rest) for rest in _within(each[1:], most - first.of))


def _sum(chosen: Sequence[Count]) -> Count:
    return Count(sum(one.right for one in chosen), sum(one.of for one in chosen))


def table(figure: str, classes: Sequence[str], *, total: int = 0, of: int = 0, most: int = MOST, shown: int = 20) -> str:
    """What `counts` or `joint` found, in words, the first `shown` of them."""
    if classes:
        together = joint(figure, classes, of=of, most=most)
        found = len(together)
        lines = [f"{_sum(one)}: " + ", ".join(f"{part.right} of {part.of}" for part in one) for one in together[:shown]]
    else:
        printed, known = Printed(figure), counts(figure, total=total, of=of, most=most)
        cut = [", places cut off" if printed.is_cut_off(one.right / one.of) else "" for one in known[:shown]]
        found = len(known)
        lines = [f"{one}{how}, 95 % interval {_shown(one.interval)}" for one, how in zip(known, cut, strict=False)]
    if not found:
        return f"No such count prints {figure}: another part, another average, or a slip."
    return "\n".join([*lines, *[f"... and {found - shown:,} more"] * (found > shown)])


def _shown(interval: Estimate) -> str:
    return f"{interval.low:.3f}-{interval.high:.3f}" if interval.low is not None else "not estimable"
