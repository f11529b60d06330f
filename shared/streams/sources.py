"""What a stream is made of: the events of one job, or the life of an organisation's jobs.

A source reads everything after a cursor, already encoded for the wire. Replay and live are the same call.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from shared.events import ORIGIN, EventId, EventKind, parse_event_id
from shared.store.event_log import EventLog, EventPage, OrganizationPage
from shared.store.keys import Keys
from shared.streams import sse
from shared.streams.shared_reads import SharedReads

_STREAM_ID: Final = re.compile(r"\d{1,20}-\d{1,20}\Z")
_encode: Final = msgspec.json.Encoder().encode

CursorT = TypeVar("CursorT")


class Batch(msgspec.Struct, Generic[CursorT], frozen=True):
    """Events ready to be sent. `cursor` continues after them; `ended`: nothing will follow; `kinds` counts them.

    `organization_id` is whose events these are.
    """

    wire: bytes
    cursor: CursorT
    ended: bool
    kinds: Counter[str]
    organization_id: str


class Source(Protocol[CursorT]):
    """Where one stream's events come from, and the channel that rings for them."""

    channel: str

    async def read(self, cursor: CursorT | None, rung: bytes) -> Batch[CursorT]:
        """Everything after the cursor. `rung` is the ring that caused this. StoreUnavailable, JobNotFound."""
        ...

    def seen(self, rung: bytes, cursor: CursorT) -> bool:
        """Whether a ring tells of nothing that comes after the cursor."""
        ...


class JobSource:
    """The events of one job. All streams of a job that stand at the same cursor share one read and its bytes."""

    def __init__(self, log: EventLog, keys: Keys, job_id: str, reads: SharedReads) -> None:
        self.channel = keys.bell(job_id)
        self._log = log
        self._job_id = job_id
        self._reads = reads
        self._organization_id = ""

    async def read(self, cursor: EventId | None, rung: bytes) -> Batch[EventId]:
        batch: Batch[EventId] = await self._reads.share((self.channel, cursor, rung), lambda: self._read(cursor, rung))
        self._organization_id = batch.organization_id
        return batch

    async def _read(self, cursor: EventId | None, rung: bytes) -> Batch[EventId]:
        page = None
        named = _event_id(rung)
        if cursor is not None and named is not None and self._organization_id:
            page = await self._log.deltas(self._job_id, cursor, named, self._organization_id)
        if page is None:
            page = await self._log.read(self._job_id, cursor)
        return _job_batch(page)

    def seen(self, rung: bytes, cursor: EventId) -> bool:
        named = _event_id(rung)
        if named is None or named == cursor or ORIGIN in (named.token, cursor.token):
            # The end of a waiting job stands outside every lease, also after earlier leases.
            return named == cursor
        return _place(named) <= _place(cursor)


class OrganizationSource:
    """Life-cycle events of all jobs of an organisation; never ends."""

    def __init__(self, log: EventLog, keys: Keys, organization_id: str, reads: SharedReads) -> None:
        self.channel = keys.organization_bell(organization_id)
        self._log = log
        self._organization_id = organization_id
        self._reads = reads

    async def read(self, cursor: str | None, rung: bytes) -> Batch[str]:
        batch: Batch[str] = await self._reads.share((self.channel, cursor, rung), lambda: self._read(cursor))
        return batch

    async def _read(self, cursor: str | None) -> Batch[str]:
        page = await self._log.read_organization(self._organization_id, cursor)
        return _organization_batch(page, self._organization_id, fresh=cursor is None)

    def seen(self, rung: bytes, cursor: str) -> bool:  # noqa: ARG002 - this bell names a job, not a place in the log
        return False


def parse_stream_id(text: str) -> str:
    """Check an id of an organisation's stream; ValueError when ill-formed."""
    if _STREAM_ID.fullmatch(text) is None:
        raise ValueError("not an event id")
    return text


def _event_id(rung: bytes) -> EventId | None:
    try:
        return parse_event_id(rung.decode())
    except ValueError:
        return None


def _place(event_id: EventId) -> tuple[int, int, int]:
    """Entry ids come from one clock that never goes back: a later lease has a later place."""
    milliseconds, _, sequence = event_id.token[1:].partition("-")
    return int(milliseconds), int(sequence), event_id.number


def _job_batch(page: EventPage) -> Batch[EventId]:
    wire = b"".join(
        sse.event(None if event.id is None else str(event.id), event.kind, event.data) for event in page.events
    )
    return Batch(wire, page.cursor, page.ended, Counter(str(event.kind) for event in page.events), page.organization_id)


def _organization_batch(page: OrganizationPage, organization_id: str, *, fresh: bool) -> Batch[str]:
    # A reader that has seen no event yet, or lost some, needs a cursor all the same.
    wire = sse.position(page.cursor) if fresh else b""
    if page.gap:
        wire = sse.event(None, EventKind.GAP, _encode({"organizationId": organization_id})) + sse.position(page.cursor)
    for event in page.events:
        data = {"jobId": event.job_id, "organizationId": organization_id, "eventId": event.event_id}
        wire += sse.event(event.id, event.kind, _encode(data))
    kinds = Counter(event.kind for event in page.events)
    kinds[EventKind.GAP] += page.gap
    return Batch(wire, page.cursor, ended=False, kinds=+kinds, organization_id=organization_id)
