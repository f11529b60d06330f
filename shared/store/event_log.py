"""Reads a job's events after a cursor; never writes. The log is the truth, the bell only says when to read again.

Replay and live are the same call: read, wait for the bell, read again from the cursor.
"""

from __future__ import annotations

from typing import Final

import msgspec

from shared.errors import JobNotFound
from shared.events import ORIGIN, EventId, JobEvent
from shared.store import records, timeline
from shared.store.keys import Keys
from shared.store.shared_socket import Transport
from shared.store.timeline import Lease

WINDOW: Final = 128
"""Log fields read at once from a lease that is still open."""

ORGANIZATION_LENGTH: Final = 1000
"""Events that an organisation's log is trimmed to (`announce.lua`): a log so long may have lost its beginning."""


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events after a cursor, in order. `cursor` continues; `ended`: nothing will follow; `gap`: the first says so."""

    events: list[JobEvent]
    cursor: EventId
    ended: bool
    organization_id: str
    gap: bool = False


class OrganizationEvent(msgspec.Struct, frozen=True):
    """One life-cycle event of an organisation; `id` is its place in the organisation's log."""

    id: str
    job_id: str
    kind: str
    event_id: str


class OrganizationPage(msgspec.Struct, frozen=True):
    """Events after a cursor, in order; `gap`: the cursor is no longer in the log."""

    events: list[OrganizationEvent]
    cursor: str
    gap: bool


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
            events = await self._after(record, cursor)
        except _Broken:
            return await self._snapshot(record, fresh=cursor is None)
        return self._page(record, events, cursor)

    async def deltas(self, job_id: str, cursor: EventId, rung: EventId, organization_id: str) -> EventPage | None:
        """What came between two ids of one lease, when it is all deltas: one command. None: `read` must look."""
        if not self._deltas or rung.token != cursor.token or not 0 < rung.number - cursor.number <= WINDOW:
            return None
        numbers = range(cursor.number + 1, rung.number + 1)
        fields = await self._fields(job_id, cursor.token, numbers)
        if any(field is None or field[:1] != b"d" for field in fields):
            return None
        events = [
            timeline.delta(job_id, cursor.token, number, field[1:])
            for number, field in zip(numbers, fields, strict=True)
            if field is not None
        ]
        return EventPage(events=events, cursor=rung, ended=False, organization_id=organization_id)

    async def _fields(self, job_id: str, token: str, numbers: range) -> list[bytes | None]:
        if not numbers:
            return []
        fields: list[bytes | None] = await self._transport.execute(
            "HMGET", self._keys.log(job_id), *(f"{token}.{number}" for number in numbers)
        )
        return fields

    async def _after(self, record: records.Record, cursor: EventId | None) -> list[JobEvent]:
        job, spans = record.snapshot, timeline.leases(record)
        closing = timeline.ending(record)
        if cursor is not None and cursor in [event.id for event in closing]:
            return closing[[event.id for event in closing].index(cursor) + 1 :]
        events: list[JobEvent] = []
        if cursor is None:
            events.append(timeline.queued(job))
        elif cursor != EventId(ORIGIN, 1):
            spans = self._from(spans, cursor)
        for span in spans:
            number = cursor.number if cursor is not None and cursor.token == span.token else 0
            events += await self._lease(record, span, number)
        return events + closing

    @staticmethod
    def _from(spans: list[Lease], cursor: EventId) -> list[Lease]:
        for i, span in enumerate(spans):
            if span.token == cursor.token and 1 <= cursor.number <= (span.last or cursor.number):
                return spans[i:]
        raise _Broken

    async def _lease(self, record: records.Record, span: Lease, after: int) -> list[JobEvent]:
        """Events of one lease with numbers above `after`; the field of `after` itself must still be there."""
        job = record.snapshot
        events = [timeline.processing(job, span)] if after == 0 else []
        number = max(after, 2)
        if span.last is None and not self._deltas:
            return events
        while span.last is None or number <= span.last:
            end = number + WINDOW if span.last is None else span.last + 1
            fields = await self._fields(job.id, span.token, range(number, end))
            present = next((i for i, field in enumerate(fields) if field is None), len(fields))
            if any(field is not None for field in fields[present:]) or (
                span.last is not None and present < len(fields)
            ):
                raise _Broken
            if after >= 2 and number == after and present == 0:
                raise _Broken
            for i, field in enumerate(fields[:present]):
                if number + i > after and field is not None:
                    events.append(timeline.logged(job, span.token, number + i, field))
            if present < len(fields):
                break
            number = end
        return events

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
        for name, field in zip(log[::2], log[1::2], strict=True):
            owner, _, number = name.decode().rpartition(".")
            if owner == token and field[:1] == b"d":
                mine[int(number)] = field[1:]
        text = b"".join(mine[number] for number in sorted(mine)).decode("utf-8", "replace")
        page = self._page(record, [timeline.gap(record, text)], None, gap=True)
        return msgspec.structs.replace(page, cursor=EventId(token, max(mine, default=1)))

    @staticmethod
    def _page(
        record: records.Record, events: list[JobEvent], cursor: EventId | None, *, gap: bool = False
    ) -> EventPage:
        last = next((event.id for event in reversed(events) if event.id is not None), cursor)
        return EventPage(
            events=events,
            cursor=last or EventId(ORIGIN, 1),
            ended=record.snapshot.status.terminal,
            organization_id=record.snapshot.organization_id,
            gap=gap,
        )

    async def read_organization(self, organization_id: str, cursor: str | None) -> OrganizationPage:
        """Life-cycle events after `cursor` (None: from now on), at most 1,000 of them."""
        key = self._keys.organization(organization_id)
        newest = await self._transport.execute("XREVRANGE", key, "+", "-", "COUNT", 1)
        last = newest[0][0].decode() if newest else "0-0"
        if cursor is None or (cursor == "0-0" and not newest):
            return OrganizationPage([], last, gap=False)
        if cursor == "0-0" and await self._transport.execute("XLEN", key) >= ORGANIZATION_LENGTH:
            return OrganizationPage([], last, gap=True)
        if cursor != "0-0" and not await self._transport.execute("XRANGE", key, cursor, cursor):
            return OrganizationPage([], last, gap=True)
        found = await self._transport.execute("XRANGE", key, f"({cursor}", "+", "COUNT", ORGANIZATION_LENGTH)
        events = []
        for entry_id, flat in found:
            values = {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
            events.append(OrganizationEvent(entry_id.decode(), values["job"], values["kind"], values["event"]))
        return OrganizationPage(events, events[-1].id if events else cursor, gap=False)
