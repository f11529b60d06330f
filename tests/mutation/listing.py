"""The list of mutations: the damaged lines, and the tests that must notice.

A file of `mutations/` has one table per mutation:

    [[mutation]]
    name = "recover_does_not_notify"       the damage, once in all files
    file = "shared/store/lua/recover.lua"
    old = "…"                               exactly once in the file
    new = "…"
    tests = ["tests/store/test_lost_workers.py"]
    survives = "…"                          why no test can notice, where none can
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = Path(__file__).parent / "mutations"


class Mutation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One damage: in `file` the text `old` becomes `new`. `tests`: files or tests below the project's root."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str = ""

    def damaged(self, root: Path) -> str:
        """The file's text with the damage; ValueError when `old` does not stand there exactly once."""
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: what it changes stands {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)


def mutations() -> Iterator[Mutation]:
    """All of them, file by file. msgspec.ValidationError for a table that is none."""
    for path in sorted(FOLDER.glob("*.toml")):
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("mutation", [])
        yield from msgspec.convert(tables, list[Mutation])
