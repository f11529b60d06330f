"""Findings of a benchmark: printed as a table, kept as a line of JSON."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """Median, least and greatest of several measurements."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """ValueError when there is nothing to summarise."""
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.least)}-{number(self.greatest)})"


def number(value: float) -> str:
    """As many digits as mean something: 12,345 / 123 / 12.3 / 1.23."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` (0..1) of all lie, nearest rank; ValueError when there are none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


class Report(msgspec.Struct, kw_only=True):
    """One benchmark's tables. `figures` are compared with those of a later run; `notes` are caveats."""

    name: str
    title: str
    tables: list[tuple[list[str], list[list[str]]]] = []
    figures: dict[str, float | Spread] = {}
    notes: list[str] = []

    def add_table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """One more table; cells are text, numbers or spreads."""
        self.tables.append((list(columns), [[_cell(cell) for cell in row] for row in rows]))

    def print(self) -> None:
        """Markdown to standard output, wide enough to be read as it is."""
        print(f"\n## {self.name}: {self.title}\n")
        for columns, rows in self.tables:
            widths = [max(len(line[i]) for line in [columns, *rows]) for i in range(len(columns))]
            lines = [columns, ["-" * width for width in widths], *rows]
            for line in lines:
                print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
            print()
        for note in self.notes:
            print(f"- {note}")
        sys.stdout.flush()

    def append_to(self, folder: Path) -> None:
        """Append one line to `<name>.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        line = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            **msgspec.structs.asdict(self),
        }
        with (folder / f"{self.name}.json").open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


def _cell(value: object) -> str:
    return number(value) if isinstance(value, int | float) else str(value)
