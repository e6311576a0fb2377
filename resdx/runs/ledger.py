"""The ledger of test reads: how often each test set of a store has been read, by hash."""

from __future__ import annotations

import datetime as dt
import json

from ..files import append_text, read_log
from .run import Run


def read_once_more(run: Run, name: str) -> int:
    """Note in the store's ledger that this test part is read, and give how often it has been by now."""
    path = run.store / LEDGER
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    append_text(path, json.dumps({"time": now, "test": name, "run": run.path.name}) + "\n")
    return sum(entry["test"] == name for entry in read_log(path))


LEDGER = "test-reads.jsonl"
