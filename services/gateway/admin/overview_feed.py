"""Readings of the overview for streams: one a second for all of them, and none while nobody listens."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Final

import msgspec

from services.gateway.admin.overview_reading import OverviewReading
from shared.errors import StoreUnavailable
from shared.store.pubsub.listeners import NOTIFIED, ChannelReader, Listener
from shared.streams import sse
from shared.streams.sources import Batch, ForBrowsers
from shared.telemetry.causes import FailureLog

EVENT: Final = "overview"
READ_S: Final = 1.0
"""Time between two readings, in s."""

_encode: Final = msgspec.json.Encoder().encode


class OverviewFeed:
    """Of one process. Encodes each reading once."""

    def __init__(self, figures: OverviewReading) -> None:
        self._figures = figures
        self._listening: set[ChannelReader] = set()
        self._task: asyncio.Task[None] | None = None
        self._failures = FailureLog("overview_reading_failed")
        self._lock = asyncio.Lock()
        self._number = 0
        self._encoded = b""
        self._read_at = -READ_S

    @property
    def listeners(self) -> int:
        """Number of streams that listen."""
        return len(self._listening)

    def listen(self) -> Listener:
        """Make a listener, to be entered with `async with`: it is notified of each reading."""
        return Listener(self._move)

    async def newest(self) -> tuple[int, bytes]:
        """Number and encoded event of the newest reading, which is made when the last one is old. StoreUnavailable."""
        async with self._lock:
            if time.monotonic() - self._read_at >= READ_S:
                overview = await self._figures.latest(READ_S / 2)
                self._number, self._encoded = self._number + 1, sse.event(None, EVENT, _encode(overview))
                self._read_at = time.monotonic()
            return self._number, self._encoded

    def _move(self, reader: ChannelReader, joins: bool) -> None:
        (self._listening.add if joins else self._listening.discard)(reader)
        if joins and self._task is None:
            self._task = asyncio.create_task(self._follow(), name="overview-feed")
        elif not self._listening and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(READ_S)
            try:
                await self.newest()
            except StoreUnavailable:  # streams go on with heartbeats until Redis is back
                continue
            except Exception as error:
                self._failures.failed(error)
                continue
            for listener in tuple(self._listening):
                listener.received(NOTIFIED)


class OverviewSource(ForBrowsers):
    """The newest reading, again and again; never ends."""

    channel = EVENT

    def __init__(self, feed: OverviewFeed) -> None:
        self._feed = feed

    async def read(self, cursor: int | None, notified: bytes) -> Batch[int]:  # noqa: ARG002 - it names no reading
        """See `Source`."""
        number, encoded = await self._feed.newest()
        news = encoded if number != cursor else b""
        return Batch(news, number, ended=False, kinds=Counter(), organization_id="")

    def seen(self, notified: bytes, cursor: int) -> bool:  # noqa: ARG002 - as above
        """Return False: no notification names a reading."""
        return False

    async def changed(self) -> bool:
        """Return False: the next reading shows it."""
        return False

    def farewell(self) -> bytes:
        """Return nothing: readings do not end."""
        return b""
