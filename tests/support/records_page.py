"""Writes the index of the decision records, docs/adr/README.md: `python -m tests.support.records_page`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.support.processes import ROOT

PATH: Final = ROOT / "docs" / "adr" / "README.md"
RECORDS: Final = sorted(PATH.parent.glob("[0-9]*.md"))

_HEAD: Final = re.compile(
    r"# (?P<number>\d+)\. (?P<title>.+)\n\n"
    r"- Status: (?P<status>accepted|superseded by .+)\n"
    r"- Date: (?P<date>\d{4}-\d\d-\d\d)(?:, last amended (?P<amended>\d{4}-\d\d-\d\d))?"
)
_TABLE: Final = re.compile(r"(?<=\|---\|---\|---\|---\|\n).*", re.DOTALL)


def head(record: Path) -> dict[str, str | None]:
    """Number, title, status, date and the date of the last change. ValueError for a record that begins otherwise."""
    found = _HEAD.match(record.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{record.name}: begin it with `# <number>. <title>`, then `- Status:` and `- Date:`")
    return found.groupdict()


def written(text: str) -> str:
    """The index with a row for each record."""
    return _TABLE.sub(lambda _: "".join(_row(record) for record in RECORDS), text)


def _row(record: Path) -> str:
    says = head(record)
    date = f"{says['date']}, amended {says['amended']}" if says["amended"] else says["date"]
    return f"| {says['number']} | [{says['title']}]({record.name}) | {says['status']} | {date} |\n"


if __name__ == "__main__":
    PATH.write_text(written(PATH.read_text(encoding="utf-8")), encoding="utf-8")
