"""Lists an organisation's jobs, newest first, from the day lists that submit writes. Read only."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from shared.errors import JobUnreadable, StoreRejected
from shared.job import JobSnapshot, JobStatus
from shared.job_ids import JOB_ID
from shared.settings import MAX_DEADLINE_SECONDS
from shared.store.engine.calls import Reads, ScriptCalls, check_item
from shared.store.engine.items import JobItem
from shared.store.keys import Keys
from shared.store.reading import records
from shared.store.results import JobPage, UnreadableJob
from shared.yielding import Yields

DAY_MS: Final = 86_400_000
SCANNED_MAX: Final = 500
PAGE_BYTES: Final = 2 << 20
"""Records, and bytes of them, that one call reads at most: a page may be shorter than asked, its cursor goes on."""

PIECE: Final = 100
CALL_BYTES: Final = 256 * 1024
"""Records, and bytes of them, that one script call reads at most: a longer one would block the server for all
clients."""

FIELDS: Final = (
    "state", "org", "spec", "attempt", "created", "deadline", "started", "ended", "entry", "cancel", "due", "v",
    "outcome", "late", "retried_as",
)  # fmt: skip
"""Fields of a record in the order in which `list.lua` returns them."""

OUTCOME_MAX: Final = 2 * records.BRIEF_FROM
"""Bytes of an outcome that is read whole. Larger ones have a `brief`, but for those that older releases wrote."""


Wanted = Callable[[JobSnapshot], bool]


def _encode(day: int, job_id: str) -> str:
    return base64.urlsafe_b64encode(f"{day} {job_id}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[int, str]:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error):
        raw = ""
    day, _, job_id = raw.partition(" ")
    if JOB_ID.match(job_id) is None or not (day.isascii() and day.isdigit() and len(day) <= 6):
        raise ValueError("not a cursor of this listing")
    return int(day), job_id


class _Reading:
    """A page as far as it is read: the jobs found for it, and how much was read."""

    def __init__(self, limit: int, wanted: Wanted | None) -> None:
        self.found: list[JobSnapshot | UnreadableJob] = []
        self._limit = limit
        self._wanted = wanted
        self._scanned = 0
        self._bytes = 0

    def add(self, job_id: str, row: Sequence[bytes | None] | None) -> None:
        """Note a job, with its record if it is one for this page."""
        self._scanned += 1
        if row is not None:
            self.found += _wanted(_job(job_id, row), self._wanted)
            self._bytes += sum(len(value) for value in row if value is not None)

    @property
    def enough(self) -> bool:
        """Whether the page ends here."""
        return len(self.found) == self._limit or self._scanned >= SCANNED_MAX or self._bytes >= PAGE_BYTES


class Listing:
    """Listings of one store. Methods may raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys

    async def page(
        self,
        organization_id: str,
        *,
        status: JobStatus | None,
        cursor: str | None,
        limit: int,
        wanted: Wanted | None = None,
    ) -> JobPage:
        """Up to `limit` (1 at least) jobs after `cursor`, of one status or all, and only those that are `wanted`.
        ValueError for a cursor not made here."""
        now = int((await self._reads.execute("TIME"))[0]) * 1000
        today = now // DAY_MS
        day, after = (today, None) if cursor is None else _decode(cursor)
        if day > today + 1 or limit < 1:  # a clock that was set back over midnight makes tomorrow a day we know
            raise ValueError("not a cursor of this listing")

        # A search for a few among many reads ahead.
        piece = PIECE if status is not None or wanted is not None else min(limit, PIECE)
        oldest = today - (MAX_DEADLINE_SECONDS * 1000 // DAY_MS + 8)
        reading, yields = _Reading(limit, wanted), Yields()
        while day >= oldest:
            async for job_id, row in self._rows(organization_id, day, after, status, piece):
                reading.add(job_id, row)
                if reading.enough:
                    return JobPage(reading.found, _encode(day, job_id))
                await yields.give()
            day, after = day - 1, None
        return JobPage(reading.found, None)

    async def _rows(
        self, organization_id: str, day: int, after: str | None, status: JobStatus | None, piece: int
    ) -> AsyncIterator[tuple[str, Sequence[bytes | None] | None]]:
        """Jobs of a day before the one named, newest first, each with its record or None: not wanted, or gone."""
        key = self._keys.index(organization_id, day)
        end = await self._end(key, after)
        while end > 0:
            start = max(0, end - piece)
            ids = [raw.decode() for raw in await self._reads.execute("LRANGE", key, start, end - 1)][::-1]
            async for found in self._records(ids, status):
                yield found
            end = start

    async def _end(self, key: str, after: str | None) -> int:
        """The number of jobs of a day that are older than the one named; 0 when it is not there."""
        if after is None:
            return int(await self._reads.execute("LLEN", key))
        position = await self._reads.execute("LPOS", key, after, "RANK", -1)
        return 0 if position is None else int(position)

    async def _records(
        self, ids: list[str], status: JobStatus | None
    ) -> AsyncIterator[tuple[str, Sequence[bytes | None] | None]]:
        while ids:
            replies = await self._calls.run(
                "list", [JobItem(job_id) for job_id in ids], status=status or "", bytes_max=CALL_BYTES,
                outcome_max=OUTCOME_MAX,
            )  # fmt: skip
            for reply in replies:
                if reply == b"LATER":
                    break
                yield ids.pop(0), None if reply == b"NONE" else _fields(reply)

    async def rows(self, ids: Sequence[str]) -> dict[str, JobSnapshot | UnreadableJob]:
        """These jobs, at most `PIECE`, without their texts; those that are gone are left out."""
        found: dict[str, JobSnapshot | UnreadableJob] = {}
        async for job_id, row in self._records(list(ids), None):
            if row is not None:
                found[job_id] = _job(job_id, row)
        return found


def _wanted(job: JobSnapshot | UnreadableJob, wanted: Wanted | None) -> list[JobSnapshot | UnreadableJob]:
    """The job when it is wanted; a filter wants none that cannot be read."""
    return [job] if wanted is None or (isinstance(job, JobSnapshot) and wanted(job)) else []


def _fields(reply: Sequence[bytes | None]) -> Sequence[bytes | None]:
    try:
        check_item(reply)
    except StoreRejected:  # no record at all
        return [None] * len(records.FIELDS)
    shown = dict(zip(FIELDS, reply, strict=True))
    return [shown.get(name) for name in records.FIELDS]


def _job(job_id: str, row: Sequence[bytes | None]) -> JobSnapshot | UnreadableJob:
    """A job, or a mark that it cannot be read: it must not hide the others."""
    try:
        record = records.parse(job_id, row)
    except JobUnreadable as error:
        return UnreadableJob(job_id, error.state)
    return UnreadableJob(job_id, "") if record is None else record.snapshot
