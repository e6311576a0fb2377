"""Small charts as inline SVG: colours come from the page (CSS classes), so that they follow light, dark and print.

Every chart has a title and a sentence for screen readers; the figures themselves stand in a table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from markupsafe import Markup

WIDTH, HEIGHT = 400, 330  # units of the drawing; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 46  # margins for the axes

Limits = tuple[float, float]
Values = Sequence[float | None]  # None breaks the line


@dataclass(frozen=True)
class Line:
    """One line of a chart, with a band where `low` and `high` are given; `look` is main, second or guide (dashed, grey)."""

    x: Sequence[float]
    y: Values
    low: Values | None = None
    high: Values | None = None
    look: Literal["main", "second", "guide"] = "main"
    dots: bool = False
    whiskers: bool = False  # low and high as a bar at each point instead of a band


def chart(
    lines: Sequence[Line], *, title: str, text: str, x: str, y: str, x_range: Limits = (0, 1), y_range: Limits = (0, 1)
) -> Markup:
    """Lines over two axes named `x` and `y`; `title` and `text` are what a screen reader says."""
    frame = _Frame(x_range, y_range)
    parts = [Markup("<title>{}</title><desc>{}</desc>").format(title, text), _axes(frame, x, y)]
    parts += [_band(frame, line) for line in lines if line.low and line.high and not line.whiskers]
    parts += [_stroke(frame, line) for line in lines]
    head = '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}. {}">'
    return Markup(head).format(WIDTH, HEIGHT, title, text) + Markup("").join(parts) + Markup("</svg>")


def roc(curve: Mapping[str, Any], name: str) -> Markup:
    """The ROC curve of one class with its band, above the diagonal of chance."""
    guide = Line((0, 1), (0, 1), look="guide")
    line = Line(curve["fpr"], curve["value"], curve["low"], curve["high"])
    text = "Sensitivity against false-positive rate, with the diagonal of chance."
    return chart(
        [guide, line], title=f"ROC curve of {name}", text=text, x="false-positive rate (1 − specificity)", y="sensitivity"
    )


def precision_recall(curve: Mapping[str, Any], name: str, prevalence: float) -> Markup:
    """The precision-recall curve of one class with its band, above the prevalence."""
    guide = Line((0, 1), (prevalence, prevalence), look="guide")
    line = Line(curve["recall"], curve["value"], curve["low"], curve["high"])
    text = f"Precision against sensitivity; the dashed line is the prevalence, {prevalence:.3f}."
    title = f"Precision-recall curve of {name}"
    return chart([guide, line], title=title, text=text, x="sensitivity (recall)", y="precision (PPV)")


def reliability(bins: Sequence[Mapping[str, Any]], name: str) -> Markup:
    """How often what was promised happened, a dot a bin, beside the diagonal of perfect calibration."""
    happened = [one["happened"] for one in bins]
    dots = Line(
        [one["promised"] for one in bins],
        [one["value"] for one in happened],
        [one["low"] for one in happened],
        [one["high"] for one in happened],
        dots=True,
        whiskers=True,
    )
    text = "Observed frequency against predicted probability in bins of equal size; the dashed diagonal is perfect calibration."
    lines = [Line((0, 1), (0, 1), look="guide"), dots]
    return chart(lines, title=f"Reliability of {name}", text=text, x="predicted probability", y="observed frequency")


def decision(curve: Mapping[str, Any], name: str) -> Markup:
    """Net benefit of acting on the model, beside acting on everyone and on no one."""
    thresholds, value, everyone = curve["threshold"], curve["value"], curve["treat_all"]
    top = max([0.05, everyone[0], *(one for one in (curve["high"] or value) if one is not None)]) * 1.05
    bottom = -top / 4
    lines = [
        Line((0, 1), (0, 0), look="guide"),
        Line(thresholds, [one if one >= bottom else None for one in everyone], look="second"),
        Line(
            thresholds,
            _above(value, bottom) or (),
            _above(curve["low"], bottom, clip=True),
            _above(curve["high"], bottom, clip=True),
        ),
    ]
    text = "Net benefit against the threshold probability: the model, acting on everyone, and acting on no one (zero)."
    title = f"Decision curve of {name}"
    return chart(lines, title=title, text=text, x="threshold probability", y="net benefit", y_range=(bottom, top))


def learning(epochs: Sequence[Mapping[str, Any]], key: str, name: str) -> Markup:
    """`key` of each epoch as a line; `name` labels the axis."""
    x = [float(epoch["epoch"]) for epoch in epochs]
    y = [epoch.get(key) for epoch in epochs]
    known = [value for value in y if value is not None] or [0.0]
    room = max((max(known) - min(known)) * 0.08, 0.005)
    line = Line(x, y, dots=len(x) <= 40)
    sides = (min(x) - 0.5, max(x) + 0.5) if len(x) == 1 else (min(x), max(x))
    text = f"{name} in each of {len(x)} epochs, last {known[-1]:.3f}."
    limits = (min(known) - room, max(known) + room)
    return chart([line], title=f"{name} by epoch", text=text, x="epoch", y=name, x_range=sides, y_range=limits)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `wanted` of them."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= rough * 0.999)
    first = math.ceil(low / step - 1e-6)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-6) + 1)]


@dataclass(frozen=True)
class _Frame:
    """From values to the place on the drawing."""

    x_range: Limits
    y_range: Limits

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low), 1)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - low) / (high - low), 1)

    def path(self, x: Iterable[float], y: Iterable[float]) -> str:
        return "M" + "L".join(f"{self.x(one)} {self.y(other)}" for one, other in zip(x, y, strict=True))


def _axes(frame: _Frame, x: str, y: str) -> Markup:
    bottom, right, middle = HEIGHT - BOTTOM, WIDTH - RIGHT, (HEIGHT - BOTTOM + TOP) / 2
    parts = []
    for value in ticks(*frame.y_range):
        at = frame.y(value)
        grid = '<path class="grid" d="M{} {}H{}"/><text x="{}" y="{}" text-anchor="end">{}</text>'
        parts.append(Markup(grid).format(LEFT, at, right, LEFT - 7, at + 4, f"{value:g}"))
    whole = frame.x_range[1] > 1  # epochs: no half ones
    for value in (one for one in ticks(*frame.x_range) if not whole or one == int(one)):
        tick = '<path class="axis" d="M{} {}v4"/><text x="{}" y="{}" text-anchor="middle">{}</text>'
        parts.append(Markup(tick).format(frame.x(value), bottom, frame.x(value), bottom + 18, f"{value:g}"))
    names = (
        '<path class="axis" d="M{} {}H{}"/><text class="name" x="{}" y="{}" text-anchor="middle">{}</text>'
        '<text class="name" transform="translate(13 {}) rotate(-90)" text-anchor="middle">{}</text>'
    )
    parts.append(Markup(names).format(LEFT, bottom, right, (LEFT + right) / 2, HEIGHT - 8, x, middle, y))
    return Markup("").join(parts)


def _band(frame: _Frame, line: Line) -> Markup:
    rows = zip(line.x, line.low or (), line.high or (), strict=True)
    out = []
    for known, run in groupby(rows, lambda row: row[1] is not None and row[2] is not None):
        if known:
            x, low, high = zip(*run, strict=True)
            out.append(Markup('<path class="band" d="{}Z"/>').format(frame.path((*x, *reversed(x)), (*high, *reversed(low)))))
    return Markup("").join(out)


def _stroke(frame: _Frame, line: Line) -> Markup:
    points = list(zip(line.x, line.y, strict=True))
    out = [_whiskers(frame, line)]
    if not line.whiskers:
        for known, run in groupby(points, lambda point: point[1] is not None):
            if known:
                out.append(Markup('<path class="line {}" d="{}"/>').format(line.look, frame.path(*zip(*run, strict=True))))
    if line.dots:
        dot = Markup('<circle class="dot" cx="{}" cy="{}" r="3.5"/>')
        out += [dot.format(frame.x(x), frame.y(y)) for x, y in points if y is not None]
    return Markup("").join(out)


def _whiskers(frame: _Frame, line: Line) -> Markup:
    rows = zip(line.x, line.low, line.high, strict=True) if line.whiskers and line.low and line.high else ()
    bar = Markup('<path class="whisker" d="M{} {}V{}"/>')
    return Markup("").join(
        bar.format(frame.x(x), frame.y(low), frame.y(high)) for x, low, high in rows if low is not None and high is not None
    )


def _above(values: Values | None, bottom: float, *, clip: bool = False) -> Values | None:
    """Values below `bottom` left out, or brought to it, so that a steep fall does not leave the drawing."""
    if values is None:
        return None
    return [None if one is None or (one < bottom and not clip) else max(one, bottom) for one in values]
