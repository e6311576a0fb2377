"""Short pages beside the report: one HTML file that loads nothing, in its colours and type.

And figures as a person reads
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..errors import count
from .charts import CHARTS, Line


def render(template: str, found: Mapping[str, Any]) -> str:
    """A page as one HTML file that loads nothing; every text of the user is escaped."""
    environment = Environment(
        loader=PackageLoader("resdx.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"shown": shown, "signed": signed, "p": p_value, "named": named, "count": count}
    return environment.get_template(template).render(found, charts=CHARTS, line=Line, guide=Line((0, 1), (0, 1), look="guide"))


def shown(estimate: Mapping[str, Any]) -> str:
    """0.812 (0.790 to 0.833)."""
    return _written(estimate, "")


def signed(estimate: Mapping[str, Any]) -> str:
    """+0.012 (−0.003 to +0.027): a difference shows its direction."""
    return _written(estimate, "+")


def named(key: str) -> str:
    """A key of compare.json as words."""
    name, _, of = key.partition(" ")
    return _WORDS.get(name, name.replace("_", " ").capitalize()) + (f", {of}" if of else "")


_WORDS = {
    "auroc": "AUROC",
    "macro_auroc": "AUROC, mean of classes",
    "macro_f1": "F1, mean of classes",
    "brier": "Brier score (lower is better)",
    "ece": "Calibration error (lower is better)",
}


def _written(estimate: Mapping[str, Any], sign: str) -> str:
    def number(value: float) -> str:
        return f"{value:{sign}.3f}".replace("-", "−")

    if estimate["value"] is None:
        return "not estimable"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{number(estimate['value'])} (no interval)"
    return f"{number(estimate['value'])} ({number(estimate['low'])} to {number(estimate['high'])})"


def p_value(p: float | None) -> str:
    """= 0.031, as it stands after a p."""
    if p is None:
        return "not estimable"
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
