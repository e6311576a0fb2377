"""A small table for Python.

Rows and columns, CSV text, and a pandas DataFrame where pandas is installed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import optional

Value = str | float


@dataclass(frozen=True)
class PredictionTable:
    """The predictions on the test set, one row a case.

    Columns: case, person, truth (`|` between several labels), label (empty = referred to a person), conformal (classes that
    cannot be
    ruled out), flags, and a probability in [0, 1] a class, `p_CLASS`.
    """

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Value], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Mapping[str, Value]]:
        return iter(self.rows)

    def column(self, name: str) -> list[Value]:
        """The values of one column, in row order. Raises KeyError where there is none of that name."""
        if name not in self.columns:
            raise KeyError(f"no column {name!r}; there are {', '.join(self.columns)}")
        return [row[name] for row in self.rows]

    def to_csv(self) -> str:
        """The table as CSV text, with a header."""
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return out.getvalue()

    def to_pandas(self) -> Any:
        """A pandas DataFrame. Raises DataError, with the command that installs it, where pandas is absent."""
        pandas = optional("pandas", extra="pandas", what="to_pandas()")
        return pandas.DataFrame(list(self.rows), columns=list(self.columns))


def prediction_table(rows: list[dict[str, str]], classes: tuple[str, ...]) -> PredictionTable:
    """The rows of predictions.csv with probabilities as numbers."""
    numbers = {f"p_{name}" for name in classes}
    columns = tuple(rows[0]) if rows else ()
    return PredictionTable(
        columns, tuple({key: float(text) if key in numbers else text for key, text in row.items()} for row in rows)
    )
