"""Figures and their intervals: pure functions of y_true, y_score and groups.

Intervals resample persons, never images.

Nothing here reads files or knows of runs.
"""

from .estimate import Estimate
from .intervals import estimate, estimates

__all__ = ["Estimate", "estimate", "estimates"]
