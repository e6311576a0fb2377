"""Small charts as inline SVG.

Colours come from the page (CSS classes), so that they follow light, dark and print. Every chart has a title and a sentence
for screen readers; the figures themselves stand in a table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from markupsafe import Markup

WIDTH, HEIGHT = 400, 330  # units of the drawing; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 46  # margins for the axes
SHAPES = (  # what to draw at a point: the first is a dot (a line without length has round ends)
    "h0",
    "m-3.4 2.6h6.8l-3.4-6z",
    "m-2.7-2.7h5.4v5.4h-5.4z",
    "m-3-3l6 6m0-6l-6 6",
    "m0-4l3.4 4l-3.4 4l-3.4-4z",
    "m-3.7 0h7.4m-3.7-3.7v7.4",
    "m-3.4-2.6h6.8l-3.4 6z",
    "m-3.6 0h7.2",
)
FOREST_ROW = 42  # units of the drawing that a row of a forest plot takes

Limits = tuple[float, float]
Values = Sequence[float | None]  # None breaks the line


@dataclass(frozen=True)
class Line:
    """One line of a chart, with a band where `low` and `high` are given.

    `look` is main, second or guide (dashed, grey).
    """

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
    return _svg(parts, title, text, HEIGHT)


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


def penalties(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """AUROC over the power of ten of the penalty, for each penalty that was tried.

    The AUROC is that on tune, or out of fold.
    """
    x = [math.log10(row["penalty"]) for row in rows]
    known = [row["tune_score"] for row in rows if row["tune_score"] is not None] or [0.0]
    room = max((max(known) - min(known)) * 0.08, 0.005)
    line = Line(x, [row["tune_score"] for row in rows], dots=True)
    return chart(
        [line],
        title="AUROC by penalty",
        text=f"{len(rows)} penalties were tried; the best AUROC is {max(known):.3f}.",
        x="penalty, power of ten (strong ← → weak)",
        y="AUROC",
        x_range=(min(x) - 0.25, max(x) + 0.25),
        y_range=(min(known) - room, max(known) + room),
    )


def forest(
    rows: Sequence[tuple[str, Mapping[str, Any]]], *, title: str, text: str, x: str, reference: float | None = 0
) -> Markup:
    """Estimates one below the other, each named above its interval.

    `reference` (no difference) is dashed, None draws none.
    """
    known = [one[key] for _, one in rows for key in ("low", "value", "high") if one[key] is not None]
    known += [] if reference is None else [reference]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = max((high - low) * 0.06, 0.005)
    frame = _Frame((low - room, high + room), (0, 1))
    bottom = TOP + FOREST_ROW * len(rows)
    parts = [Markup("<title>{}</title><desc>{}</desc>").format(title, text), _forest_axis(frame, bottom, x)]
    if reference is not None:
        parts.append(Markup('<path class="line guide" d="M{} {}V{}"/>').format(frame.x(reference), TOP, bottom))
    parts += [_forest_row(frame, TOP + FOREST_ROW * k, name, one) for k, (name, one) in enumerate(rows)]
    head = '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}. {}">'
    return Markup(head).format(WIDTH, bottom + BOTTOM, title, text) + Markup("").join(parts) + Markup("</svg>")


def scatter(points: Sequence[tuple[float, float]], classes: Sequence[int], *, title: str, text: str) -> Markup:
    """Points (N, 2) on a square without axes, a colour and a shape a class.

    `classes` (N,) count from 0; from eight on colours and shapes repeat. One path a class keeps the page small.
    """
    if not points:
        return Markup("")
    side, room = WIDTH, 12
    lows = [min(point[k] for point in points) for k in (0, 1)]
    span = max(max(point[k] for point in points) - lows[k] for k in (0, 1)) or 1.0
    scale = (side - 2 * room) / span
    parts = [Markup("<title>{}</title><desc>{}</desc>").format(title, text)]
    for wanted in sorted(set(classes)):
        shape = SHAPES[wanted % len(SHAPES)]
        moves = [
            f"M{room + scale * (x - lows[0]):.0f} {room + scale * (y - lows[1]):.0f}{shape}"
            for (x, y), name in zip(points, classes, strict=True)
            if name == wanted
        ]
        parts.append(Markup('<path class="mark c{}" d="{}"/>').format(wanted % len(SHAPES), "".join(moves)))
    return _svg(parts, title, text, side)


def mark(number: int) -> Markup:
    """The sign of a class in `scatter`, alone, for its legend."""
    shape = SHAPES[number % len(SHAPES)]
    sign = '<svg class="sign" viewBox="0 0 14 14" aria-hidden="true"><path class="mark c{}" d="M7 7{}"/></svg>'
    return Markup(sign).format(number % len(SHAPES), shape)


def growth(points: Sequence[Mapping[str, Any]]) -> Markup:
    """AUROC against the number of persons learnt from, a dot with a whisker each."""
    figures = [point["auroc"] for point in points]
    known = [one[key] for one in figures for key in ("value", "low", "high") if one[key] is not None] or [0.5, 1.0]
    x = [float(point["persons"]) for point in points]
    value, low, high = ([one[key] for one in figures] for key in ("value", "low", "high"))
    room = max((max(known) - min(known)) * 0.1, 0.01)
    limits = (min(known) - room, min(1.0, max(known) + room) if max(known) < 1 else 1.0 + room / 4)
    lines = [Line(x, value, look="guide"), Line(x, value, low, high, dots=True, whiskers=True)]
    text = f"AUROC on held-out persons after learning from {', '.join(f'{one:,.0f}' for one in x)} persons."
    return chart(
        lines, title="Learning curve", text=text, x="persons learnt from", y="AUROC", x_range=(0, max(x) * 1.05), y_range=limits
    )


def anchors(curve: Sequence[float], chosen: int) -> Markup:
    """Mean overlap of boxes with the best of 1, 2 ... anchors; a dot at the number that was chosen."""
    count = [float(k) for k in range(1, len(curve) + 1)]
    lines = [Line(count, curve)]
    if chosen <= len(curve):
        lines.append(Line([float(chosen)], [curve[chosen - 1]], dots=True))
    text = f"Mean overlap from {curve[0]:.2f} with one anchor to {curve[-1]:.2f} with {len(curve)}."
    return chart(lines, title="Anchors", text=text, x="anchors", y="mean overlap", x_range=(0, len(curve) + 1), y_range=(0, 1))


# What the templates call, by name.
CHARTS: dict[str, Callable[..., Markup]] = {
    draw.__name__: draw
    for draw in (chart, roc, precision_recall, reliability, decision, learning, penalties, forest, scatter, mark, growth, anchors)
}


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


def _svg(parts: Sequence[Markup], title: str, text: str, height: float) -> Markup:
    head = '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}. {}">'
    return Markup(head).format(WIDTH, height, title, text) + Markup("").join(parts) + Markup("</svg>")


def _axes(frame: _Frame, x: str, y: str) -> Markup:
    bottom, right, middle = HEIGHT - BOTTOM, WIDTH - RIGHT, (HEIGHT - BOTTOM + TOP) / 2
    parts = []
    for value in ticks(*frame.y_range):
        at = frame.y(value)
        grid = '<path class="grid" d="M{} {}H{}"/><text x="{}" y="{}" text-anchor="end">{}</text>'
        parts.append(Markup(grid).format(LEFT, at, right, LEFT - 7, at + 4, f"{value:g}"))
    whole = frame.x_range[1] > 1.5  # epochs and persons: no half ones
    for value in (one for one in ticks(*frame.x_range) if not whole or one == int(one)):
        tick = '<path class="axis" d="M{} {}v4"/><text x="{}" y="{}" text-anchor="middle">{}</text>'
        parts.append(Markup(tick).format(frame.x(value), bottom, frame.x(value), bottom + 18, f"{value:,g}"))
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


def _forest_axis(frame: _Frame, bottom: float, x: str) -> Markup:
    tick = '<path class="grid" d="M{} {}V{}"/><text x="{}" y="{}" text-anchor="middle">{}</text>'
    marks = [
        Markup(tick).format(frame.x(value), TOP, bottom + 4, frame.x(value), bottom + 18, f"{value:g}")
        for value in ticks(*frame.x_range)
    ]
    name = '<path class="axis" d="M{} {}H{}"/><text class="name" x="{}" y="{}" text-anchor="middle">{}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    return Markup("").join(marks) + Markup(name).format(LEFT, bottom, WIDTH - RIGHT, middle, bottom + BOTTOM - 8, x)


def _forest_row(frame: _Frame, top: float, name: str, one: Mapping[str, Any]) -> Markup:
    label = '<text class="name" x="0" y="{}">{}</text><text x="{}" y="{}" text-anchor="end">{}</text>'
    shown = "not estimable" if one["value"] is None else f"{one['value']:.3f}"
    out = [Markup(label).format(top + 14, name, WIDTH, top + 14, shown)]
    if one["low"] is not None and one["high"] is not None:
        bar = '<path class="whisker" d="M{} {}H{}"/>'
        out.append(Markup(bar).format(frame.x(one["low"]), top + 28, frame.x(one["high"])))
    if one["value"] is not None:
        out.append(Markup('<circle class="dot" cx="{}" cy="{}" r="4.5"/>').format(frame.x(one["value"]), top + 28))
    return Markup("").join(out)
