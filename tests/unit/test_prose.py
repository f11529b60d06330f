"""The words beside the code: decision records have all their parts, links and paths in the docs lead somewhere, the
picture of the parts is that of the code, and docstrings begin with a verb or a noun."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import grimp
import pytest

from tests.support import records_page, rooms_page
from tests.support.processes import ROOT

_PLACES: Final = ("docs", "docs/adr", "examples/frontend", "examples/nextjs", "clients/js", "clients/python")
FOLDERS: Final = (ROOT, *(ROOT / name for name in _PLACES))
PAGES: Final = sorted(page for folder in FOLDERS for page in folder.glob("*.md"))

_REST: Final = ["Alternatives", "Consequences", "Enforced by"]
SECTIONS: Final = (["Context", "Decision", *_REST], ["Decision", "Why", *_REST])
_LINK: Final = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)")
_PATH: Final = re.compile(r"`((?:services|shared|clients|tests|bench|deploy|docs|examples)/[\w./-]+)`")
UNTRACKED: Final = {"bench/results/", "tests/browser/screenshots"}
"""Paths that a command makes."""

CHECKED: Final = ("bench", "clients", "deploy", "services", "shared", "tests")
"""Folders whose docstrings are checked."""

REWORDED: Final = CHECKED
"""Folders whose comments and docstrings have none of the words that this field has another word for."""

NAMES_AS_STORED: Final = {"keys.py"}
"""Files that list names in Redis, which stay as they are."""

_BEGINNING: Final = re.compile(r"(?:What|Who|Whose|Where|How)\b")
_WORDS: Final = re.compile(r"\b(?:whoever|somebody|stands? in|all the same)\b", re.IGNORECASE)
_QUOTED: Final = re.compile(r"`[^`]*`")
_REPLACED: Final = re.compile(
    r"\b(?:bells?|rings?|rung|seats?|parked|lanes?|wish(?:es)?|hand(?:s|ed)? back|hand-backs?|upkeep|wires"
    r"|tells?|told|hears?|heard|anew|(?:closed|open) gates?|gates? (?:is|are) (?:closed|open))\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("record", records_page.RECORDS, ids=lambda record: record.stem[:4])
def test_a_decision_record_has_all_its_parts(record: Path) -> None:
    """Number, status, date and every section are there; the reasons come before the decision or right after it."""
    assert records_page.head(record)["number"] == str(int(record.name[:4]))
    assert re.findall(r"^## (.+)$", record.read_text(encoding="utf-8"), re.MULTILINE) in SECTIONS


def test_the_index_of_decision_records_lists_them_all() -> None:
    """docs/adr/README.md has a row for each; `make docs` writes it."""
    text = records_page.PATH.read_text(encoding="utf-8")
    assert records_page.written(text) == text


def test_numbers_of_decision_records_are_used_once() -> None:
    """Two records with one number would make every reference to it a riddle."""
    numbers = [record.name[:4] for record in records_page.RECORDS]
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


def _docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring, those after constants and fields included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value.strip()


@pytest.mark.parametrize("folder", CHECKED)
def test_docstrings_begin_with_a_verb_or_a_noun(folder: str) -> None:
    """None begins with What, Who, Where or How, and none has one of the words that a plainer one replaces."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in _docstrings(path)
        if _BEGINNING.match(text) or _WORDS.search(text)
    ]
    assert not found


def _comments(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each comment of a Python or Lua file."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".lua":
        for line, text in enumerate(source.splitlines(), 1):
            if "--" in text:
                yield line, text.partition("--")[2]
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("folder", REWORDED)
def test_prose_has_the_words_of_the_field(folder: str) -> None:
    """Comments and docstrings say notified, throttled, released or blocked, not the words of earlier releases."""
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".lua")]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word[0]}"
        for path in sorted(files)
        if path.name not in NAMES_AS_STORED
        for line, text in (*_comments(path), *(_docstrings(path) if path.suffix == ".py" else ()))
        if (word := _REPLACED.search(_QUOTED.sub("", text)))
    ]
    assert not found


_FILE: Final = re.compile(r"`([\w/]+\.(?:py|lua))`")
SOURCES_OF_TABLES: Final = {"finish_reasons.py"}
"""It names files of other projects, where its figures come from."""


def test_files_that_code_names_exist() -> None:
    """A comment or docstring that sends its reader to another file names one that is there."""
    files = [
        path
        for folder in ("services", "shared", "tests", "bench", "deploy")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".lua")
    ]
    known = {path.as_posix() for path in files}
    named = {
        (path.name, name)
        for path in files
        if path.name not in SOURCES_OF_TABLES
        for name in _FILE.findall(path.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    assert sorted((file, name) for file, name in named if not any(path.endswith(f"/{name}") for path in known)) == []
