"""Synthetic chest films with known truth: the demo, the tests and the tuning fork of the audit."""

from .collection import Cue, Truth, draw_phantoms
from .film import NORMAL, OPACITY

__all__ = ["NORMAL", "OPACITY", "Cue", "Truth", "draw_phantoms"]
