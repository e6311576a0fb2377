"""Files of a run: written whole or not at all, locked, hashed, and the progress bar."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .errors import RunError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def write_text(path: Path, text: str) -> None:
    """Write beside `path` and rename, so that a reader never sees half a file.

    Raises RunError when it cannot be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside `path`, flush to disk and rename.

    Raises RunError when it cannot be written (full disk, no right).
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # a name of this process, since two may write at once
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # on the disk before the rename: a crash leaves the old file or the new one
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}); free some space or choose another --out"
        ) from error


def digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append_text(path: Path, text: str) -> None:
    """Add `text` to the end of a log. Raises RunError when it cannot be written (full disk, no right)."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}); free some space or choose another --out"
        ) from error


def read_log(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a log, oldest first.

    A line that a crash cut off is passed over, and an absent log is empty.
    """
    out = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            out.append(json.loads(line))
        except ValueError:
            continue
    return out


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented JSON, whole or not at all; NaN is refused (it is not JSON)."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON. Raises RunError naming the file when it is absent or broken."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise RunError(f"{path} is not there; has that stage been run?") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); repeat the stage that writes it") from error


@contextmanager
def progress(what: str, total: int, *, quiet: bool = False) -> Iterator[Progress]:
    """A bar on standard error; inside, call `bar.advance(0, n)` or `bar.update(0, completed=n)`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, quiet=quiet)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        bar.add_task(what, total=total)
        yield bar


def lock(descriptor: int) -> None:
    """Lock an open file for this process alone. Raises OSError at once when another one has it."""
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
