"""The living review of published systems.

What is measured (`review`), and the pages that are written from it (`write_pages`).
"""

from .cells import review
from .page import reviewed, write_pages

__all__ = ["review", "reviewed", "write_pages"]
