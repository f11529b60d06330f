"""Reads a job's events after a cursor; never writes. The log is the truth, a notification only says when to read again.

Replay and live are the same call: read, wait for a notification, read again from the cursor.
"""

from __future__ import annotations

from typing import Final

import msgspec

from shared.errors import JobNotFound
from shared.events import ORIGIN, EventId, JobEvent
from shared.job import JobSnapshot
from shared.store.connection.multiplexer import Transport
from shared.store.keys import Keys
from shared.store.reading import gaps, job_events, records
from shared.store.reading.gaps import Gap, LeaseText
from shared.store.reading.job_events import Lease
from shared.store.reading.records import Record
from shared.yielding import Yields

WINDOW: Final = 128
"""Log fields read at once from a lease that is still open."""

PAGE: Final = 1000
"""Events of ended leases read at once, and of an open one nearly: a late reader of a long log gets it in pages."""


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events after a cursor, in order. `cursor` continues; `ended`: nothing will follow; `gap`: the first one is a gap;
    `more`: some that follow are there already.

    `leases`: the tokens of the job's leases so far, in their order; `mark`: as `EventLog.mark` returns it. Both are
    empty where the record was not read.
    """

    events: list[JobEvent]
    cursor: EventId
    ended: bool
    organization_id: str
    gap: bool = False
    more: bool = False
    leases: tuple[str, ...] = ()
    mark: str = ""


class EventLog:
    """Reader of the event logs of one shard. Methods may raise StoreUnavailable."""

    def __init__(self, transport: Transport, keys: Keys, *, deltas: bool = True) -> None:
        """Make the reader; `deltas` False: an open lease has none to be read; those of a worker that logs some come
        with its end."""
        self._transport = transport
        self._keys = keys
        self._deltas = deltas

    async def read(self, job_id: str, cursor: EventId | None) -> EventPage:
        """Read every event after `cursor` (None: from the beginning). JobNotFound when there is no record.

        For a cursor that is no longer in the log it returns one `gap` with a snapshot. For a finished job whose deltas
        are gone it returns the end alone, to a reader without a cursor.
        """
        record = records.parse(job_id, await self._transport.execute("HMGET", self._keys.job(job_id), *records.FIELDS))
        if record is None:
            raise JobNotFound(job_id)
        try:
            events, more = await self._after(record, cursor)
        except (Gap, *records.DAMAGE):
            return await self._snapshot(record, fresh=cursor is None)
        return self._page(record, events, cursor, more=more)

    async def mark(self, job_id: str) -> str:
        """Text that changes with every transition of a job: a cheap check whether something was missed. JobNotFound."""
        state, entry = await self._transport.execute("HMGET", self._keys.job(job_id), "state", "entry")
        if state is None:
            raise JobNotFound(job_id)
        return _mark(state.decode("utf-8", "replace"), (entry or b"").decode("utf-8", "replace"))

    async def deltas(self, job_id: str, cursor: EventId, notified: EventId, organization_id: str) -> EventPage | None:
        """Events between two ids of one lease, when all are deltas: one command. None: use `read`."""
        if not self._deltas or notified.token != cursor.token or not 0 < notified.number - cursor.number <= WINDOW:
            return None
        numbers = range(cursor.number + 1, notified.number + 1)
        fields = await self._fields(job_id, [f"{cursor.token}.{number}" for number in numbers])

        events = []
        for number, field in zip(numbers, fields, strict=True):
            if field is None or field[:1] != b"d":
                return None
            events.append(job_events.delta(job_id, cursor.token, number, field[1:]))
        return EventPage(events=events, cursor=notified, ended=False, organization_id=organization_id)

    async def _fields(self, job_id: str, names: list[str]) -> list[bytes | None]:
        if not names:
            return []
        fields: list[bytes | None] = await self._transport.execute("HMGET", self._keys.log(job_id), *names)
        return fields

    async def _after(self, record: Record, cursor: EventId | None) -> tuple[list[JobEvent], bool]:
        """Events after the cursor, at most about `PAGE`, and whether there are more."""
        job, need = record.snapshot, gaps.needed(record, cursor, PAGE)
        names = gaps.names(need.places)
        found = dict(zip(names, await self._fields(job.id, names), strict=True))
        events = need.first + gaps.ended(job, need.places, found, cursor)
        if need.more:
            return events, True

        if need.live is not None:
            live, more = await self._live(job, need.live, need.after)
            events += live
            if more:
                return events, True
        return events + need.last, False

    async def _live(self, job: JobSnapshot, span: Lease, after: int) -> tuple[list[JobEvent], bool]:
        """Events of a lease that goes on, with numbers above `after`, and whether there are more."""
        events = [job_events.processing(job, span)] if after == 0 else []
        first = max(after, 2)

        while self._deltas and len(events) < PAGE:
            fields = await self._fields(job.id, [f"{span.token}.{first + i}" for i in range(WINDOW)])
            present = gaps.contiguous(fields, first_is_known=first == after)
            for number, field in enumerate(present, first):
                if number > after:
                    events.append(job_events.logged(job, span.token, number, field))
            if len(present) < len(fields):
                return events, False
            first += WINDOW
        return events, self._deltas

    async def _snapshot(self, record: Record, *, fresh: bool) -> EventPage:
        """A gap with the present state; of a job that ended, for a `fresh` reader, its end alone."""
        closing, spans = job_events.ending(record), job_events.leases(record)
        if closing and fresh:
            return self._page(record, closing[-1:], None)
        if closing:
            return self._page(record, [job_events.gap(record, None), closing[-1]], None, gap=True)
        if spans and spans[-1].last is None:
            return await self._live_snapshot(record, spans[-1].token)

        page = self._page(record, [job_events.gap(record, None)], None, gap=True)
        last = EventId(spans[-1].token, spans[-1].last or 1) if spans else EventId(ORIGIN, 1)
        return msgspec.structs.replace(page, cursor=last)

    async def _live_snapshot(self, record: Record, token: str) -> EventPage:
        """A gap with the text of the lease that goes on."""
        log = await self._transport.execute("HGETALL", self._keys.log(record.snapshot.id))
        written, yields = LeaseText(token), Yields()
        for name, field in zip(log[::2], log[1::2], strict=True):
            await yields.give()
            written.add(name, field)
        page = self._page(record, [job_events.gap(record, written.text)], None, gap=True)
        return msgspec.structs.replace(page, cursor=EventId(token, written.last))

    @staticmethod
    def _page(
        record: Record, events: list[JobEvent], cursor: EventId | None, *, gap: bool = False, more: bool = False
    ) -> EventPage:
        last = next((event.id for event in reversed(events) if event.id is not None), cursor)
        status = record.snapshot.status
        return EventPage(
            events=events,
            cursor=last or EventId(ORIGIN, 1),
            ended=status.terminal and not more,
            organization_id=record.snapshot.organization_id,
            gap=gap,
            more=more,
            leases=tuple(span.token for span in job_events.leases(record)),
            mark=_mark(status, record.token),
        )


def _mark(state: str, entry: str) -> str:
    return f"{state} {entry}"
