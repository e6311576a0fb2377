"""Synthetic chest films with known truth: the demo, the tests and the tuning fork of the audit."""

from .collection import Cue, Truth, draw_phantoms
from .film import NORMAL, OPACITY
from .layouts import LAYOUTS, draw_layout

__all__ = ["LAYOUTS", "NORMAL", "OPACITY", "Cue", "Truth", "draw_layout", "draw_phantoms"]
