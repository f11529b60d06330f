"""Output: tables for people, tab-separated lines for other programs, JSON when asked. Texts of others stay text."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from presswork_client.reading import snake

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that move the cursor, colour or turn text around: a terminal would obey them."""

_NAMES: Final = frozenset({"jobId", "id", "taskId"})
"""Columns that are copied: they stay on one line."""

_MOMENT: Final = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d+Z$")
"""A time in UTC; a person needs no parts of a second."""

Row = Mapping[str, Any]


def clean(text: str) -> str:
    """A text without characters that a terminal obeys; line ends and tabs stay."""
    return _CONTROL.sub("\ufffd", text)


def note(text: str) -> None:
    """Say something to the person, beside the output; nothing where that is closed."""
    with contextlib.suppress(OSError):
        print(clean(text), file=sys.stderr, flush=True)


def console(*, stderr: bool = False) -> Console:
    """A console for the terminal."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


class Output:
    """Standard output. `as_json`: JSON instead of tables and texts."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.terminal = sys.stdout.isatty()

    @property
    def whole(self) -> bool:
        """Whether it is a file, which gets a text when it is whole: what was written cannot be taken back."""
        try:
            return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
        except (OSError, ValueError):
            return False

    def text(self, text: str) -> None:
        """Write a piece of text as it is; for a terminal without its control characters."""
        sys.stdout.write(clean(text) if self.terminal else text)
        sys.stdout.flush()

    def line(self, value: Any) -> None:
        """Write one line of JSON."""
        print(json.dumps(value, ensure_ascii=False, default=str), flush=True)

    def table(self, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Write rows, of each these columns; as JSON whole, in one array."""
        if self.as_json:
            print(json.dumps(list(rows), ensure_ascii=False, indent=2, default=str))
        elif self.terminal:
            self._drawn(columns, rows)
        else:
            for row in rows:
                print("\t".join(_cell(row.get(column)) for column in columns))

    def record(self, row: Row) -> None:
        """Write one thing, a member a line."""
        if self.as_json:
            print(json.dumps(row, ensure_ascii=False, indent=2, default=str))
            return
        width = max(map(len, row), default=0) if self.terminal else 0
        for name, value in row.items():
            if value not in (None, "", [], {}):
                print(f"{name:{width}}  {clean(_cell(value))}" if self.terminal else f"{name}\t{_cell(value)}")

    def _drawn(self, columns: Sequence[str], rows: Iterable[Row]) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(snake(column).replace("_", " "), overflow="fold", no_wrap=column in _NAMES)
        for row in rows:
            table.add_row(*(Text(_MOMENT.sub(r"\1 \2", clean(_cell(row.get(column))))) for column in columns))
        if table.row_count:
            console().print(table)
        else:
            note("None")


def columns_of(rows: Sequence[Row], first: Sequence[str] = ()) -> list[str]:
    """The columns that rows have: `first` those, in this order, then all others that hold no lists or objects."""
    found = dict.fromkeys(name for name in first if any(name in row for row in rows))
    for row in rows:
        found |= dict.fromkeys(name for name, value in row.items() if not isinstance(value, (dict, list)))
    return list(found)


def usd(cost: float | None) -> str:
    """A cost, to the nano-USD; empty: unknown."""
    return "" if cost is None else f"{cost:.9f}".rstrip("0").rstrip(".")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return usd(value)
    if isinstance(value, date):
        return value.isoformat()
    return re.sub(r"[\t\r\n]+", " ", str(value))
