"""The words beside the code: decision records have all their parts, links and paths in the docs lead somewhere, and the
picture of the parts is that of the code."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

import grimp
import pytest

from tests.support import rooms_page
from tests.support.processes import ROOT

RECORDS: Final = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
FOLDERS: Final = (ROOT, ROOT / "docs", ROOT / "docs" / "adr", ROOT / "examples" / "frontend")
PAGES: Final = sorted(page for folder in FOLDERS for page in folder.glob("*.md"))

SECTIONS: Final = ("Decision", "Why", "Alternatives", "Consequences", "Enforced by")
_LINK: Final = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)")
_PATH: Final = re.compile(r"`((?:services|shared|tests|bench|deploy|docs|examples)/[\w./-]+)`")
UNTRACKED: Final = {"bench/results/"}
"""Paths that a command makes."""


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem[:4])
def test_a_decision_record_has_all_its_parts(record: Path) -> None:
    """Number, status, date and every section are there, in order, and the index lists the record with its date."""
    text = record.read_text(encoding="utf-8")
    head = re.match(
        r"# (\d+)\. (.+)\n\n- Status: (accepted|superseded by .+)\n- Date: (\d{4}-\d\d-\d\d)(?:, last amended (\S+))?",
        text,
    )
    assert head, f"{record.name} begins with its number and title, then its status and date"
    assert int(head[1]) == int(record.name[:4])
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == list(SECTIONS)

    index = (record.parent / "README.md").read_text(encoding="utf-8")
    date = f"{head[4]}, amended {head[5]}" if head[5] else head[4]
    assert f"| {head[1]} | [{head[2]}]({record.name}) | {head[3]} | {date} |" in index


def test_numbers_of_decision_records_are_used_once() -> None:
    """Two records with one number would make every reference to it a riddle."""
    numbers = [record.name[:4] for record in RECORDS]
    assert sorted(set(numbers)) == numbers


def _leads_somewhere(page: Path, link: str, anchor: str) -> bool:
    target = page.parent / link if link else page
    if not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_in_the_docs_lead_somewhere(page: Path) -> None:
    """Every relative link, and every path of the repository in backticks, names a file or folder that is there."""
    text = page.read_text(encoding="utf-8")
    missing = [f"{link}#{anchor}" for link, anchor in _LINK.findall(text) if not _leads_somewhere(page, link, anchor)]
    missing += [path for path in _PATH.findall(text) if path not in UNTRACKED and not (ROOT / path).exists()]
    assert not missing


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph("services", "shared")


def test_the_picture_of_the_parts_is_that_of_the_code() -> None:
    """docs/architecture.md shows the present rooms, imports and rules; `make docs` writes them."""
    text = rooms_page.PATH.read_text(encoding="utf-8")
    assert rooms_page.written(text, _graph()) == text


def test_no_part_imports_itself_through_others() -> None:
    """The arrows of the picture point one way."""
    imports = rooms_page.parts(_graph())
    assert [part for part in imports if part in rooms_page.reachable(imports, part)] == []
