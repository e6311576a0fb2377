"""A run as one page for a sceptical clinician.

As a page (report.html), as data (report.json), and on paper (report.pdf).
"""

from .format import figure, interval
from .page import facts, render, report, report_folds
from .pdf import to_pdf

__all__ = ["facts", "figure", "interval", "render", "report", "report_folds", "to_pdf"]
