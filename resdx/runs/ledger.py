"""The ledger of test reads: which cases of a store have been read, how often, and by what.

A line a read: time, hash of the test set, run, and what read it. The first line of a test set lists its cases by the beginning
of the hashes of their files, so that a set that shares cases with one read before is known to.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..files import append_text, read_log
from .run import Run

LEDGER = "test-reads.jsonl"
SCORED = "evaluate"  # what reads a test set to score it; an older ledger knows no other
SHOWN = 16  # digits of the hash of a case


def read_once_more(run: Run, name: str, cases: Iterable[str] = (), *, by: str = SCORED) -> int:
    """Enter in the store's ledger that a test set is read, and give how often it has been scored by now.

    Args:
        name: the hash of the set.
        cases: the hashes of its cases.
        by: what reads it, such as "evaluate" or "suspects".
    """
    path, before = run.store / LEDGER, _entries(run)
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    entry: dict[str, Any] = {"time": now, "test": name, "run": run.path.name}
    entry |= {"by": by} if by != SCORED else {}
    if (listed := sorted({case[:SHOWN] for case in cases})) and not any("cases" in one for one in before if one["test"] == name):
        entry["cases"] = listed
    append_text(path, json.dumps(entry) + "\n")
    return sum(one["test"] == name and one.get("by", SCORED) == SCORED for one in [*before, entry])


def read_set(run: Run, name: str, cases: Iterable[str]) -> tuple[int, int]:
    """Enter that a test set is scored.

    Gives how often it has been by now, and how many of its cases had been read before.
    """
    listed = list(cases)
    before = read_before(run, name, listed)
    return read_once_more(run, name, listed), before


def read_before(run: Run, name: str, cases: Iterable[str]) -> int:
    """How many of the cases of a test set, by their hashes, have been read before.

    In this store, in whatever set.
    """
    entries, asked = _entries(run), {case[:SHOWN] for case in cases}
    if any(one["test"] == name for one in entries):
        return len(asked)  # an older ledger lists no cases
    return len(asked & {case for one in entries for case in one.get("cases", ())})


def _entries(run: Run) -> list[Mapping[str, Any]]:
    path = run.store / LEDGER
    return list(read_log(path)) if path.exists() else []
