"""Finds the jobs that wait or run over all organisations, where they are: in streams, backlogs and sets. Read only.

No index orders them, and none is written for it. So ids are read, which begin with the time of submit, and put in
order: all of them where there are at most `WINDOW`; of more, one window after the other, each newest first.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from shared.job import JobSnapshot, JobStatus
from shared.job_ids import JOB_ID
from shared.store.engine.calls import Reads
from shared.store.keys import Keys
from shared.store.reading.job_index import PIECE, SCANNED_MAX, Listing, Wanted
from shared.store.results import JobPage, UnreadableJob
from shared.yielding import Yields

WINDOW: Final = 10_000
"""Ids that one page puts in order at most: some 20 commands, and 20 ms of this process."""

IDS_PER_READ: Final = 1000
READ_AT_ONCE: Final = 64
"""Sets of organisations that are asked for in one write."""

LIVE: Final = frozenset({JobStatus.QUEUED, JobStatus.PROCESSING})

_CURSOR: Final = re.compile(r"([0-9]{1,12})\.((?:ai-job-[0-9]{13}-[0-9a-z]{9})?)\Z", re.ASCII)


class LiveCursor(msgspec.Struct, frozen=True):
    """A place to go on: the window that begins after `skip` ids, before one job; empty: at its beginning."""

    skip: int = 0
    before: str = ""

    def __str__(self) -> str:
        return f"{self.skip}.{self.before}"


def parse_cursor(text: str) -> LiveCursor:
    """Read a cursor; ValueError for a text that is none."""
    found = _CURSOR.match(text)
    if found is None:
        raise ValueError("not a cursor of this listing")
    return LiveCursor(int(found[1]), found[2])


def submitted_ms(job_id: str) -> int:
    """The time in a job's id, in ms since the epoch; 0 where there is none."""
    return int(job_id.split("-")[2]) if JOB_ID.match(job_id) else 0


def _pieces(ids: Sequence[str], size: int) -> list[Sequence[str]]:
    """All of them, so many at a time."""
    return [ids[first : first + size] for first in range(0, len(ids), size)]


def _order(job_id: str) -> tuple[int, str]:
    return submitted_ms(job_id), job_id


def _newest_first(ids: Sequence[str], before: str) -> list[str]:
    """Those that come after the job `before` in the order of a page, each once; empty: all."""
    left = {job for job in ids if not before or _order(job) < _order(before)}
    return sorted(left, key=_order, reverse=True)


class LiveJobs:
    """Of one store. Methods may raise StoreUnavailable."""

    def __init__(self, reads: Reads, keys: Keys, listing: Listing) -> None:
        self._reads = reads
        self._keys = keys
        self._listing = listing

    async def page(
        self, statuses: frozenset[JobStatus], cursor: LiveCursor | None, limit: int, wanted: Wanted | None = None
    ) -> JobPage:
        """Up to `limit` jobs of these statuses that are `wanted`, newest first, of one window. A page may be shorter,
        its cursor goes on; jobs that move meanwhile may be met twice or not at all."""
        at, looked, found = cursor or LiveCursor(), 0, list[JobSnapshot | UnreadableJob]()
        ids, more = await self._window(at.skip, runs_only=statuses == {JobStatus.PROCESSING})
        rest = str(LiveCursor(at.skip + WINDOW)) if more else None

        left = _newest_first(ids, at.before)
        for piece in _pieces(left, PIECE):
            rows = await self._listing.rows(piece)
            for job_id in piece:
                looked += 1
                if (job := rows.get(job_id)) is not None and _is_wanted(job, statuses, wanted):
                    found.append(job)
                if len(found) == limit or looked >= SCANNED_MAX:
                    return JobPage(found, rest if job_id == left[-1] else str(LiveCursor(at.skip, job_id)))
        return JobPage(found, rest)

    async def _window(self, skip: int, *, runs_only: bool) -> tuple[list[str], bool]:
        """Ids after so many others, in the order of their places, and whether there are more."""
        ids: list[str] = []
        yields = Yields()
        async for piece in self._places(runs_only=runs_only):
            ids += piece[min(skip, len(piece)) :]
            skip = max(skip - len(piece), 0)
            if len(ids) > WINDOW:
                return ids[:WINDOW], True
            await yields.give()
        return ids, False

    async def _places(self, *, runs_only: bool) -> AsyncIterator[list[str]]:
        """Ids, a piece of one place at a time. In the streams are those that run, and the next ones."""
        for stream in self._keys.streams:
            async for piece in self._stream(stream):
                yield piece
        if runs_only:
            return

        for name in ("throttled_deadlines", "due_high", "due_normal", "due_low"):
            async for piece in self._set(self._keys.fixed(name), 0):
                yield piece
        for prefix in ("delayed", "suspect_backlog", "backlog"):
            keys = sorted(self._keys.prefix(prefix) + one for one in await self._holders(prefix))
            for some in _pieces(keys, READ_AT_ONCE):
                async for piece in self._sets(some):
                    yield piece

    async def _holders(self, prefix: str) -> list[str]:
        """Organisations that may have such a set, encoded."""
        if prefix == "suspect_backlog":
            flat = await self._reads.execute("HGETALL", self._keys.fixed("placed_suspects"))
            return [one.decode() for one in flat[::2]]
        index = self._keys.fixed("due" if prefix == "delayed" else "backlogs")
        return [one.decode() for one in await self._reads.execute("ZRANGE", index, 0, -1)]

    async def _stream(self, key: str) -> AsyncIterator[list[str]]:
        first = "-"
        while True:
            rows = await self._reads.execute("XRANGE", key, first, "+", "COUNT", IDS_PER_READ)
            yield [row[1][1].decode(errors="replace") for row in rows if row[1]]
            if len(rows) < IDS_PER_READ:
                return
            first = f"({rows[-1][0].decode()}"

    async def _sets(self, keys: Sequence[str]) -> AsyncIterator[list[str]]:
        """Several at once: of most organisations few jobs wait."""
        firsts = await asyncio.gather(*(self._members(key, 0) for key in keys))
        for key, members in zip(keys, firsts, strict=True):
            yield members
            if len(members) == IDS_PER_READ:
                async for piece in self._set(key, IDS_PER_READ):
                    yield piece

    async def _set(self, key: str, start: int) -> AsyncIterator[list[str]]:
        members = await self._members(key, start)
        while members:
            yield members
            start += IDS_PER_READ
            members = await self._members(key, start) if len(members) == IDS_PER_READ else []

    async def _members(self, key: str, start: int) -> list[str]:
        found = await self._reads.execute("ZRANGE", key, start, start + IDS_PER_READ - 1)
        return [member.decode(errors="replace") for member in found]


def _is_wanted(job: JobSnapshot | UnreadableJob, statuses: frozenset[JobStatus], wanted: Wanted | None) -> bool:
    """A filter wants none that cannot be read."""
    if isinstance(job, UnreadableJob):
        return wanted is None and statuses == LIVE
    return job.status in statuses and (wanted is None or wanted(job))
