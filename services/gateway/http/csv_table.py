"""Tables as CSV (RFC 4180) that a spreadsheet opens without running anything of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

CSV: Final = "text/csv"

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of cells that spreadsheets take for formulas: an apostrophe before one makes it a text."""


def table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """The rows below their names. None: an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    shown = str(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
