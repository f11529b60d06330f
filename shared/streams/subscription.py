"""Streams: of one browser, where replay and live are one loop of read, send, wait for a notification; and all of this
process, how many there may be and how they end together."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

from shared.errors import JobNotFound, JobUnreadable, StoreUnavailable
from shared.events import EventKind
from shared.store.pubsub.listeners import NOTIFIED, Listener
from shared.store.pubsub.polling import PollingSubscriber
from shared.store.pubsub.subscriber import Subscriber
from shared.streams import sse
from shared.streams.fair_shares import RoundRobin
from shared.streams.sources import Batch, Source
from shared.streams.sse import StreamResponse, TooSlow
from shared.telemetry.metrics import StreamMetrics

CursorT = TypeVar("CursorT")

AGAIN_S: Final = (0.3, 1.0)
"""Seconds (least, most) before a read is repeated that failed, or that did not yet have the event of its
notification."""

REREADS: Final = 5
"""Number of times a read is repeated for an event that does not appear. It was lost in a fail-over if it never does."""


class Subscription(Generic[CursorT]):
    """A stream from its first batch to its end."""

    __slots__ = ("_check_s", "_checked_at", "_cursor", "_heartbeat_s", "_listener", "_metrics", "_more",
                 "_organization_id", "_owed", "_rereads", "_round_robin", "_silent_since", "_source", "_stopped",
                 "_until", "response")  # fmt: skip

    def __init__(
        self,
        source: Source[CursorT],
        response: StreamResponse,
        *,
        heartbeat_s: float,
        stream_s: float,
        check_s: float,
        metrics: StreamMetrics,
        round_robin: RoundRobin,
    ) -> None:
        """`stream_s`: how long the stream may last; infinity: as long as its job. `check_s`: the least time
        between two checks, at a heartbeat, whether something happened without a notification. `round_robin`: of all
        streams here."""
        self._source = source
        self.response = response
        self._heartbeat_s = heartbeat_s
        self._until = self._clock() + stream_s
        self._check_s = check_s
        self._checked_at = self._clock()
        self._metrics = metrics
        self._round_robin = round_robin
        self._organization_id = ""
        self._listener: Listener | None = None
        self._owed: bytes | None = None
        self._more = False
        self._rereads = 0
        self._silent_since = 0.0
        self._stopped = False

    def stop(self) -> None:
        """End the stream soon; the browser comes back to where it was."""
        self._stopped = True
        if self._listener is not None:
            self._listener.received(NOTIFIED)

    async def run(
        self, first: Batch[CursorT], subscriber: Subscriber | PollingSubscriber, listener: Listener | None = None
    ) -> None:
        """Send everything from the first batch on, until the job or this stream ends.

        `listener`: one that has listened since before the first batch was read.
        """
        self._organization_id = first.organization_id
        try:
            await self.response.begin()
            self.response.watch(self.stop)
            ended = await self._deliver(first, before=self._source.opening)
            if not ended:
                listening = (
                    subscriber.listen(self._source.channel) if listener is None else contextlib.nullcontext(listener)
                )
                async with listening as self._listener:
                    ended = await self._follow(self._listener)
            await self.response.end(b"" if ended else self._source.closing(stopped=self._stopped))
        except TooSlow:
            pass  # the connection is cut; the browser resumes from its last id when it reads again
        finally:
            self.response.unwatch()

    async def _follow(self, listener: Listener) -> bool:
        """Whether the job ended; False: the service stops, or the stream has lasted as long as it may."""
        while not self._stopped and self._clock() < self._until:
            notified = await listener.wait(self._patience())
            await self._round_robin.wait(self._organization_id)
            if self._stopped:
                break
            if notified is not None:
                self._owed, self._rereads = (NOTIFIED if self._owed == NOTIFIED else notified), 0
            if self._owed is not None and await self._read(self._owed):
                return True
            if self._clock() - self._silent_since >= self._heartbeat_s:
                if await self._missed():
                    return True
                await self._write(sse.HEARTBEAT)
        return False

    async def _missed(self) -> bool:
        """Whether the job is over, or gone, without a notification: one may be lost, and so may a database."""
        if self._owed is not None or self._clock() - self._checked_at < self._check_s:
            return False

        self._checked_at = self._clock()
        try:
            changed = await self._source.changed()
        except StoreUnavailable:
            return False
        except (JobNotFound, JobUnreadable):
            return await self._part()

        if not changed:
            return False
        self._owed, self._rereads = NOTIFIED, 0
        return await self._read(NOTIFIED)

    async def _part(self) -> bool:
        """Send the last bytes when the job's record is gone, or cannot be read any more: no event of it will come."""
        await self._write(self._source.farewell())
        self._metrics.events.labels(str(EventKind.GAP)).inc()
        return True

    async def _read(self, notified: bytes) -> bool:
        """Send everything not sent yet after a notification. Whether the job ended with it."""
        if notified != NOTIFIED and self._source.seen(notified, self._cursor):
            self._owed = None
            return False

        try:
            batch = await self._source.read(self._cursor, notified)
        except StoreUnavailable:
            self._more = False
            return False  # still owed: heartbeats go on until Redis is back
        except (JobNotFound, JobUnreadable):
            return await self._part()

        self._rereads += 1
        if notified == NOTIFIED or self._source.seen(notified, batch.cursor) or self._rereads > REREADS:
            self._owed = None
        return await self._deliver(batch)

    async def _deliver(self, batch: Batch[CursorT], before: bytes = b"") -> bool:
        self._cursor = batch.cursor
        if before or batch.encoded:
            await self._write(before + batch.encoded)
        for kind, count in batch.kinds.items():
            self._metrics.events.labels(kind).inc(count)
        self._more = batch.more
        if batch.more:
            self._owed = NOTIFIED
        return batch.ended

    async def _write(self, data: bytes) -> None:
        await self.response.write(data)
        self._silent_since = self._clock()

    def _patience(self) -> float:
        if self._more:
            return 0.0
        left = max(0.0, min(self._silent_since + self._heartbeat_s, self._until) - self._clock())
        return left if self._owed is None else min(left, random.uniform(*AGAIN_S))  # noqa: S311 - spreads load

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()


DRAIN_S: Final = 0.5
"""Seconds after which streams are cut whose reader has not taken the end of the stream."""


class Hub:
    """Admits streams until there are `limit` of them or the service drains."""

    def __init__(self, limit: int, metrics: StreamMetrics) -> None:
        self._limit = limit
        metrics.limit.set(limit)
        for kind in EventKind:
            metrics.events.labels(str(kind))  # from 0 on: a process that receives nothing must show it
        self._metrics = metrics
        self._open: set[Subscription[Any]] = set()
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether the service is shutting down."""
        return self._draining

    @property
    def full(self) -> bool:
        """Whether a new stream is to be asked to come back later."""
        return self._draining or len(self._open) >= self._limit

    @contextmanager
    def admitted(self, subscription: Subscription[Any]) -> Iterator[None]:
        """Count a stream for the length of the block."""
        self._open.add(subscription)
        self._metrics.connections.set(len(self._open))
        try:
            yield
        finally:
            self._open.discard(subscription)
            self._metrics.connections.set(len(self._open))

    async def drain(self) -> None:
        """End every stream within a second; no new one is admitted."""
        self._draining = True
        for subscription in self._open:
            subscription.stop()
        await asyncio.sleep(DRAIN_S)
        for subscription in self._open:
            subscription.response.abort()
