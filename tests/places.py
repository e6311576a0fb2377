"""Where the repository lies, and the public data sets beside it that some tests read where they are there."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared"
