"""Jobs of all organisations in one list: those that wait and run, and those that failed or were cancelled.

Completed jobs are in no index of all: nothing is written for them on their way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from shared.job import JobSnapshot
from shared.store.audit_trail import CURSOR_PATTERN
from shared.store.job_store import JobStore
from shared.store.reading.ended_jobs import EndedAs, EndedFilter
from shared.store.reading.live_jobs import LIVE, LiveCursor, parse_cursor, submitted_ms
from shared.store.results import JobPage, UnreadableJob

SEARCHED_MAX: Final = 5000
"""Entries of an index that one page searches, about."""

_ENTRY: Final = re.compile(CURSOR_PATTERN.replace("$", r"\Z"), re.ASCII)
_BEGINNING, _END, _BETWEEN = "", "-", "_"

Wanted = Callable[[JobSnapshot], bool]
Row = JobSnapshot | UnreadableJob


class _Part(msgspec.Struct, frozen=True):
    """A page of one kind: jobs with the time by which they are in order (ms) and the cursor behind each; `rest`: the
    cursor when all of them were taken."""

    rows: Sequence[tuple[int, str, Row]]
    rest: str

    def place_after(self, taken: Sequence[str]) -> str | None:
        """The cursor behind the jobs that were taken, of which these are the cursors; None: none was."""
        if len(taken) == len(self.rows):
            return self.rest
        return taken[-1] if taken else None


class FleetJobs:
    """Of one store. Methods may raise StoreUnavailable."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def page(self, cursor: str | None, limit: int, ended: EndedFilter, wanted: Wanted | None) -> JobPage:
        """Up to `limit` jobs, newest first: by their end, or while they have none by their submit. ValueError for a
        cursor that is none."""
        places = _places(cursor)
        parts = await asyncio.gather(
            self._live(places[0], limit, wanted),
            self._ended(EndedAs.FAILED, places[1], limit, ended),
            self._ended(EndedAs.CANCELLED, places[2], limit, ended),
        )
        ranked = sorted(
            ((at_ms, number, place, row) for number, part in enumerate(parts) for at_ms, place, row in part.rows),
            key=lambda one: one[0], reverse=True,
        )[:limit]  # fmt: skip

        for number, part in enumerate(parts):
            taken = [place for _, of, place, _ in ranked if of == number]
            places[number] = part.place_after(taken) or places[number]
        is_over = all(place == _END for place in places)
        return JobPage([row for *_, row in ranked], None if is_over else _BETWEEN.join(places))

    async def _live(self, place: str, limit: int, wanted: Wanted | None) -> _Part:
        if place == _END:
            return _Part([], _END)
        cursor = parse_cursor(place) if place else None
        page = await self._store.queries.live(LIVE, cursor, limit, wanted)
        skip = cursor.skip if cursor else 0
        rows = [(submitted_ms(row.id), str(LiveCursor(skip, row.id)), row) for row in page.jobs]
        return _Part(rows, page.cursor or _END)

    async def _ended(self, kind: EndedAs, place: str, limit: int, wanted: EndedFilter) -> _Part:
        if place == _END:
            return _Part([], _END)
        entries, cursor = await self._store.ended_jobs.page(
            kind, None, wanted, before=place or None, limit=limit, searched_max=SEARCHED_MAX
        )
        rows = await self._store.queries.rows([entry.job_id for entry in entries])
        shown = [(one.at_ms, one.id, rows[one.job_id]) for one in entries if one.job_id in rows]
        return _Part(shown, cursor or _END)


def _places(cursor: str | None) -> list[str]:
    """The place to go on in each part; ValueError for a text that no page gave."""
    if cursor is None:
        return [_BEGINNING] * 3
    live, *entries = places = cursor.split(_BETWEEN)
    if live not in (_BEGINNING, _END):
        parse_cursor(live)
    if len(entries) != 2 or any(one not in (_BEGINNING, _END) and _ENTRY.match(one) is None for one in entries):
        raise ValueError("not a cursor of this listing")
    return places
