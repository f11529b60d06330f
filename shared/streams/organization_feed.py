"""Life-cycle events of an organisation's jobs, read and encoded once for all readers here."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

import msgspec

from shared.events import EventKind
from shared.store.reading.organization_events import (
    ORGANIZATION_LENGTH,
    OrganizationEvent,
    OrganizationLog,
    OrganizationPage,
)
from shared.streams import sse

_encode = msgspec.json.Encoder().encode


class News(msgspec.Struct, frozen=True):
    """Encoded events after a cursor, and the cursor after them."""

    encoded: bytes
    cursor: str
    kinds: Counter[str]


class _Kept(msgspec.Struct, frozen=True):
    id: str
    kind: str
    encoded: bytes


def _retrieve(task: asyncio.Task[None]) -> None:
    """Take the error of a read whose callers may all be gone."""
    if not task.cancelled():
        task.exception()


class OrganizationFeed:
    """Keeps the newest events; however many readers ask for news, one read is under way, and one that begins after it.

    A reader with a cursor from before the kept events reads the log for itself, once.
    """

    def __init__(self, log: OrganizationLog, organization_id: str) -> None:
        self._log = log
        self._organization_id = organization_id
        self._kept: deque[_Kept] = deque()
        self._start = ""  # the id before the first that is kept; empty: nothing was read yet
        self._newest = ""
        self._reading: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._news: dict[str, News] = {}

    async def after(self, cursor: str | None) -> News:
        """Events after the cursor (None: from now on). StoreUnavailable."""
        await self._refresh()
        if cursor is None:
            # A reader that has seen no event yet needs a cursor too.
            return News(sse.position(self._newest), self._newest, Counter())
        news = self._news.get(cursor) or self._since(cursor)
        if news is None:
            news = self._encoded(await self._log.read(self._organization_id, cursor))
        else:
            self._news[cursor] = news
        return news

    def _since(self, cursor: str) -> News | None:
        if cursor == self._newest:
            return News(b"", cursor, Counter())

        fresh: list[_Kept] = []
        for event in reversed(self._kept):
            if event.id == cursor:
                break
            fresh.append(event)
        else:
            if cursor != self._start:
                return None

        fresh.reverse()
        return News(b"".join(event.encoded for event in fresh), self._newest, Counter(event.kind for event in fresh))

    async def _refresh(self) -> None:
        """Have a read that begins after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._reading), name="organization-feed")
            self._next.add_done_callback(_retrieve)
        await asyncio.shield(self._next)

    async def _read_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        else:
            await asyncio.sleep(0)
        self._reading, self._next = self._next, None
        await self._extend()

    async def _extend(self) -> None:
        full = True
        while full:
            page = None
            if self._newest:
                page = await self._log.follow(self._organization_id, self._newest)
            if page is None or page.gap:
                self._kept.clear()
                self._start = self._newest = await self._log.newest(self._organization_id)
                self._news.clear()
                return
            if page.events:
                self._news.clear()
            self._kept += [self._keep(event) for event in page.events]
            self._newest = page.cursor
            while len(self._kept) > ORGANIZATION_LENGTH:
                self._start = self._kept.popleft().id
            full = len(page.events) >= ORGANIZATION_LENGTH

    def _keep(self, event: OrganizationEvent) -> _Kept:
        data = {"jobId": event.job_id, "organizationId": self._organization_id, "eventId": event.event_id}
        return _Kept(event.id, event.kind, sse.event(event.id, event.kind, _encode(data)))

    def _encoded(self, page: OrganizationPage) -> News:
        kept = [self._keep(event) for event in page.events]
        encoded, kinds = b"".join(event.encoded for event in kept), Counter(event.kind for event in kept)
        if page.gap:
            encoded = sse.event(None, EventKind.GAP, _encode({"organizationId": self._organization_id}))
            encoded += sse.position(page.cursor)
            kinds[EventKind.GAP] += 1
        return News(encoded, page.cursor, kinds)
