"""Reads a job's events after a cursor; never writes. The log is the truth, the bell only says when to read again.

Replay and live are the same call: read, wait for the bell, read again from the cursor.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from shared.errors import JobNotFound
from shared.events import ORIGIN, EventId, JobEvent
from shared.job import JobSnapshot
from shared.store.connection.multiplexer import Transport
from shared.store.keys import Keys
from shared.store.reading import records, timeline
from shared.store.reading.timeline import Lease
from shared.yielding import Turns

WINDOW: Final = 128
"""Log fields read at once from a lease that is still open."""

PAGE: Final = 1000
"""Events of ended leases read at once, and of an open one nearly: who comes late to a long log has it in pages."""


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events after a cursor, in order. `cursor` continues; `ended`: nothing will follow; `gap`: the first says so;
    `more`: some that are there already do.

    `leases`: the tokens of the job's leases so far, in their order; `mark` as `EventLog.mark` answers it. Both are
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


class _Broken(Exception):
    """The log no longer holds what the cursor needs."""


class EventLog:
    """Reader of the event logs of one shard. Methods may raise StoreUnavailable."""

    def __init__(self, transport: Transport, keys: Keys, *, deltas: bool = True) -> None:
        """`deltas` False: an open lease has none to be read; if one logs all the same, they come with its end."""
        self._transport = transport
        self._keys = keys
        self._deltas = deltas

    async def read(self, job_id: str, cursor: EventId | None) -> EventPage:
        """Every event after `cursor` (None: from the beginning). JobNotFound when there is no record.

        A cursor that is not in the log any more answers one `gap` with a snapshot. A finished job whose deltas are gone
        answers its end alone to a reader without a cursor.
        """
        record = records.parse(job_id, await self._transport.execute("HMGET", self._keys.job(job_id), *records.FIELDS))
        if record is None:
            raise JobNotFound(job_id)
        try:
            events, more = await self._after(record, cursor)
        except (_Broken, *records.DAMAGE):
            return await self._snapshot(record, fresh=cursor is None)
        return self._page(record, events, cursor, more=more)

    async def mark(self, job_id: str) -> str:
        """What changes with every transition of a job: a cheap look at whether something was missed. JobNotFound."""
        state, entry = await self._transport.execute("HMGET", self._keys.job(job_id), "state", "entry")
        if state is None:
            raise JobNotFound(job_id)
        return _mark(state.decode("utf-8", "replace"), (entry or b"").decode("utf-8", "replace"))

    async def deltas(self, job_id: str, cursor: EventId, notified: EventId, organization_id: str) -> EventPage | None:
        """What came between two ids of one lease, when it is all deltas: one command. None: `read` must look."""
        if not self._deltas or notified.token != cursor.token or not 0 < notified.number - cursor.number <= WINDOW:
            return None
        numbers = range(cursor.number + 1, notified.number + 1)
        fields = await self._fields(job_id, [f"{cursor.token}.{number}" for number in numbers])
        if any(field is None or field[:1] != b"d" for field in fields):
            return None
        events = [
            timeline.delta(job_id, cursor.token, number, field[1:])
            for number, field in zip(numbers, fields, strict=True)
            if field is not None
        ]
        return EventPage(events=events, cursor=notified, ended=False, organization_id=organization_id)

    async def _fields(self, job_id: str, names: list[str]) -> list[bytes | None]:
        if not names:
            return []
        fields: list[bytes | None] = await self._transport.execute("HMGET", self._keys.log(job_id), *names)
        return fields

    async def _after(self, record: records.Record, cursor: EventId | None) -> tuple[list[JobEvent], bool]:
        """Events after the cursor, at most about `PAGE`, and whether there are more."""
        job, spans = record.snapshot, timeline.leases(record)
        closing = timeline.ending(record)
        if cursor is not None and cursor in [event.id for event in closing]:
            return closing[[event.id for event in closing].index(cursor) + 1 :], False
        events: list[JobEvent] = []
        if cursor is None:
            events.append(timeline.queued(job))
        elif cursor != EventId(ORIGIN, 1):
            spans = self._from(spans, cursor)
        found, more = await self._ended(job, [span for span in spans if span.last is not None], cursor)
        events += found
        if not more and spans and spans[-1].last is None:
            after = cursor.number if cursor is not None and cursor.token == spans[-1].token else 0
            found, more = await self._open(job, spans[-1], after)
            events += found
        return (events, True) if more else (events + closing, False)

    @staticmethod
    def _from(spans: list[Lease], cursor: EventId) -> list[Lease]:
        for i, span in enumerate(spans):
            if span.token == cursor.token and 1 <= cursor.number <= (span.last or cursor.number):
                return spans[i:]
        raise _Broken

    async def _ended(self, job: JobSnapshot, spans: list[Lease], cursor: EventId | None) -> tuple[list[JobEvent], bool]:
        """Events of ended leases, all of which must be there, that of the cursor too: one command for many leases."""
        wanted = list(islice(_places(spans, cursor), PAGE + 1))
        wanted, more = wanted[:PAGE], len(wanted) > PAGE
        names = [f"{span.token}.{number}" for span, number in wanted if number > 1]
        fields = iter(await self._fields(job.id, names))
        events = []
        for span, number in wanted:
            field = next(fields) if number > 1 else b""
            if field is None:
                raise _Broken
            if cursor is not None and (cursor.token, cursor.number) == (span.token, number):
                continue
            made = timeline.logged(job, span.token, number, field) if number > 1 else timeline.processing(job, span)
            events.append(made)
        return events, more

    async def _open(self, job: JobSnapshot, span: Lease, after: int) -> tuple[list[JobEvent], bool]:
        """Events of a lease that goes on, with numbers above `after`; the field of `after` itself must be there yet."""
        events = [timeline.processing(job, span)] if after == 0 else []
        number = max(after, 2)
        while self._deltas and len(events) < PAGE:
            fields = await self._fields(job.id, [f"{span.token}.{n}" for n in range(number, number + WINDOW)])
            present = next((i for i, field in enumerate(fields) if field is None), len(fields))
            lost = any(field is not None for field in fields[present:])
            if lost or (after >= 2 and number == after and present == 0):
                raise _Broken
            for i, field in enumerate(fields[:present]):
                if number + i > after and field is not None:
                    events.append(timeline.logged(job, span.token, number + i, field))
            if present < len(fields):
                return events, False
            number += WINDOW
        return events, self._deltas

    async def _snapshot(self, record: records.Record, *, fresh: bool) -> EventPage:
        job, closing = record.snapshot, timeline.ending(record)
        if closing and fresh:
            return self._page(record, closing[-1:], None)
        if closing:
            return self._page(record, [timeline.gap(record, None), closing[-1]], None, gap=True)
        spans = timeline.leases(record)
        if not spans or spans[-1].last is not None:
            page = self._page(record, [timeline.gap(record, None)], None, gap=True)
            last = EventId(spans[-1].token, spans[-1].last or 1) if spans else EventId(ORIGIN, 1)
            return msgspec.structs.replace(page, cursor=last)
        token = spans[-1].token
        log = await self._transport.execute("HGETALL", self._keys.log(job.id))
        mine: dict[int, bytes] = {}
        turns = Turns()
        for name, field in zip(log[::2], log[1::2], strict=True):
            await turns.give()
            owner, _, number = name.decode().rpartition(".")
            if owner == token and field[:1] == b"d":
                mine[int(number)] = field[1:]
        text = b"".join(mine[number] for number in sorted(mine)).decode("utf-8", "replace")
        page = self._page(record, [timeline.gap(record, text)], None, gap=True)
        return msgspec.structs.replace(page, cursor=EventId(token, max(mine, default=1)))

    @staticmethod
    def _page(
        record: records.Record, events: list[JobEvent], cursor: EventId | None, *, gap: bool = False, more: bool = False
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
            leases=tuple(span.token for span in timeline.leases(record)),
            mark=_mark(status, record.token),
        )


def _places(spans: list[Lease], cursor: EventId | None) -> Iterator[tuple[Lease, int]]:
    """The events that ended leases have in the log, from that of the cursor on; number 1 is implied."""
    for span in spans:
        mine = cursor is not None and cursor.token == span.token
        first = cursor.number if mine and cursor is not None else 1
        for number in range(first, (span.last or 1) + 1):
            yield span, number


def _mark(state: str, entry: str) -> str:
    return f"{state} {entry}"
