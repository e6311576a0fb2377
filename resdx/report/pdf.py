"""The page on paper.

It is printed by the browser that is there, because only a browser lays it out as it is read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..errors import RunError
from ..runs.run import Run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge")
SECONDS = 120  # a page of 15 MB prints in a few


def to_pdf(run: Run) -> Path:
    """Print report.html to report.pdf with Chromium, Chrome or Edge, and give back its path.

    Raises:
        RunError: there is no report yet, no such browser, or it did not print.
    """
    page, out = run.need("report.html", "report").resolve(), run.path.resolve() / "report.pdf"
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise RunError(
            f"no Chromium, Chrome or Edge is on the path to make a PDF; open {page} in any browser and print it to a file "
            f"(Ctrl+P)"
        )
    out.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={profile}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            flags.append("--no-sandbox")  # root, as in a container, has none to start
        try:
            subprocess.run([browser, *flags, f"--print-to-pdf={out}", page.as_uri()], capture_output=True, timeout=SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunError(f"{browser} did not print {page} ({error}); open it in a browser and print it to a file") from error
    if not out.exists():
        raise RunError(f"{browser} did not print {page}; open it in a browser and print it to a file (Ctrl+P)")
    return out
