"""Sources of streams: the events of one job, or the life-cycle events of an organisation's jobs.

A source reads everything after a cursor, already encoded. Replay and live are the same call.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from shared.events import ORIGIN, EventId, EventKind, parse_event_id
from shared.store.keys import Keys
from shared.store.reading.event_log import EventPage
from shared.store.tenant_jobs import TenantJobs
from shared.streams import sse
from shared.streams.organization_feed import OrganizationFeed

ResultT = TypeVar("ResultT")


class SharedReads:
    """Reads that callers share. A caller joins a read before it is sent, so that every caller sees the change it was
    notified of."""

    def __init__(self) -> None:
        self._gathering: dict[Hashable, asyncio.Task[Any]] = {}

    async def share(self, key: Hashable, read: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Return the result of `read`, or of the one another caller began with the same key in this iteration; errors
        likewise.

        A caller that is cancelled does not cancel the read of the others.
        """
        task = self._gathering.get(key)
        if task is None:
            task = self._gathering[key] = asyncio.create_task(self._once(key, read))
        result: ResultT = await asyncio.shield(task)
        return result

    async def _once(self, key: Hashable, read: Callable[[], Awaitable[ResultT]]) -> ResultT:
        await asyncio.sleep(0)
        del self._gathering[key]
        return await read()


_STREAM_ID: Final = re.compile(r"([0-9]{1,20})-([0-9]{1,20})\Z")
_NUMBER_MAX: Final = 2**64 - 1
"""Largest value of either half of a stream's id: Redis reads no greater ones."""

_encode: Final = msgspec.json.Encoder().encode

CursorT = TypeVar("CursorT")
PageT = TypeVar("PageT", EventPage, "Batch[EventId]")


class Batch(msgspec.Struct, Generic[CursorT], frozen=True):
    """Events ready to be sent. `cursor` continues after them; `ended`: nothing will follow; `more`: some that follow
    are there already; `kinds` counts them by kind. `organization_id`: the owner of the events. `leases`, `mark`: see
    `EventPage`."""

    encoded: bytes
    cursor: CursorT
    ended: bool
    kinds: Counter[str]
    organization_id: str
    more: bool = False
    leases: tuple[str, ...] = ()
    mark: str = ""


class Source(Protocol[CursorT]):
    """Source of one stream's events, and the channel that notifies of them. `opening`: bytes before its first event."""

    channel: str
    opening: bytes

    async def read(self, cursor: CursorT | None, notified: bytes) -> Batch[CursorT]:
        """Read everything after the cursor. `notified`: payload of the notification that caused this. StoreUnavailable,
        JobNotFound."""
        ...

    def seen(self, notified: bytes, cursor: CursorT) -> bool:
        """Whether a notification names nothing after the cursor."""
        ...

    async def changed(self) -> bool:
        """Whether anything happened since the last read without a notification. StoreUnavailable, JobNotFound."""
        ...

    def farewell(self) -> bytes:
        """The last bytes to send when there is nothing to be read any more."""
        ...

    def closing(self, *, stopped: bool) -> bytes:
        """The last bytes of a stream that ends before its events do. `stopped`: the service ends it; False: it has
        lasted as long as it may."""
        ...


class ForBrowsers:
    """A stream for an EventSource, which reconnects when the stream says so."""

    opening = sse.retry()

    def closing(self, *, stopped: bool) -> bytes:
        """See `Source`."""
        return sse.retry_later() if stopped else sse.retry_at_once()


class JobPages:
    """The events of one job in pages, for a stream that remembers the job as its last page had it."""

    def __init__(self, jobs: TenantJobs, keys: Keys, job_id: str, reads: SharedReads) -> None:
        """`reads`: shared with all other streams here."""
        self.channel = keys.job_channel(job_id)
        self.job_id = job_id
        self._jobs = jobs
        self._reads = reads
        self._organization_id = ""
        self._leases: tuple[str, ...] = ()
        self._mark = ""

    async def shared(
        self, form: str, cursor: EventId | None, notified: bytes, make: Callable[[EventPage], PageT]
    ) -> PageT:
        """The result of `make` for the events after a cursor; streams that ask for the same `form` share it."""

        async def read() -> PageT:
            return make(await self._page(cursor, notified))

        key = (form, self.channel, self._jobs.organization_id, cursor, notified)
        made: PageT = await self._reads.share(key, read)
        self._organization_id = made.organization_id
        if made.mark:
            self._leases, self._mark = made.leases, made.mark
        return made

    async def _page(self, cursor: EventId | None, notified: bytes) -> EventPage:
        page, named = None, _event_id(notified)
        if cursor is not None and named is not None and self._organization_id:
            page = await self._jobs.deltas(self.job_id, cursor, named, self._organization_id)
        return page or await self._jobs.read_events(self.job_id, cursor)

    def seen(self, notified: bytes, cursor: EventId) -> bool:
        """See `Source`."""
        named = _event_id(notified)
        if named is None or named == cursor or ORIGIN in (named.token, cursor.token):
            # The end of a waiting job belongs to no lease, even after earlier leases.
            return named == cursor
        if named.token == cursor.token:
            return named.number <= cursor.number
        # Their numbers say nothing: after a fail-over the server's clock may have gone back.
        if named.token in self._leases and cursor.token in self._leases:
            return self._leases.index(named.token) < self._leases.index(cursor.token)
        return False

    async def changed(self) -> bool:
        """See `Source`."""
        mark: str = await self._reads.share((self.channel, "mark"), lambda: self._jobs.mark(self.job_id))
        return mark != self._mark


class JobSource(JobPages, ForBrowsers):
    """The events of one job. All streams of a job at the same cursor share one read and its bytes."""

    async def read(self, cursor: EventId | None, notified: bytes) -> Batch[EventId]:
        """See `Source`."""
        return await self.shared("events", cursor, notified, _job_batch)

    def farewell(self) -> bytes:
        """See `Source`."""
        return sse.event(None, EventKind.GAP, _encode({"jobId": self.job_id, "status": "gone"}))


class OrganizationSource(ForBrowsers):
    """Life-cycle events of all jobs of an organisation; never ends."""

    def __init__(self, feed: OrganizationFeed, keys: Keys, organization_id: str) -> None:
        self.channel = keys.organization_channel(organization_id)
        self._feed = feed
        self._organization_id = organization_id

    async def read(self, cursor: str | None, notified: bytes) -> Batch[str]:  # noqa: ARG002 - it names a job, not a place
        news = await self._feed.after(cursor)
        return Batch(news.encoded, news.cursor, ended=False, kinds=news.kinds, organization_id=self._organization_id)

    def seen(self, notified: bytes, cursor: str) -> bool:  # noqa: ARG002 - the payload names a job, not an event
        return False

    async def changed(self) -> bool:
        """Return False: an organisation's log may go and come back, and its next event shows that."""
        return False

    def farewell(self) -> bytes:
        return b""


def parse_stream_id(text: str) -> str:
    """Check an id of an organisation's stream; ValueError when ill-formed."""
    found = _STREAM_ID.fullmatch(text)
    if found is None or max(map(int, found.groups())) > _NUMBER_MAX:
        raise ValueError("not an event id")
    return text


def _event_id(notified: bytes) -> EventId | None:
    try:
        return parse_event_id(notified.decode())
    except ValueError:
        return None


def _job_batch(page: EventPage) -> Batch[EventId]:
    encoded = b"".join(
        sse.event(None if event.id is None else str(event.id), event.kind, event.data) for event in page.events
    )
    kinds = Counter(str(event.kind) for event in page.events)
    return Batch(
        encoded,
        page.cursor,
        page.ended,
        kinds,
        page.organization_id,
        more=page.more,
        leases=page.leases,
        mark=page.mark,
    )
