"""Figures and how sure they are: pure functions of y_true, y_score and groups, with intervals that resample persons.

Nothing here reads files or knows of runs.
"""

from .estimate import Estimate
from .intervals import estimate, estimates

__all__ = ["Estimate", "estimate", "estimates"]
