"""Serves sources of events as streams, within the limits of this process and of each organisation, and no longer than
the key of their caller is good."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from litestar.types import Receive, Scope, Send

from shared.errors import StoreUnavailable, StreamUnavailable
from shared.http.auth import Identity
from shared.http.organization_limits import InUse
from shared.identity.authenticator import Authenticator
from shared.store.job_store import JobStore
from shared.store.pubsub.listeners import NOTIFIED, Listener
from shared.streams.fair_shares import RoundRobin, StreamQuotas
from shared.streams.settings import StreamSettings
from shared.streams.sources import SharedReads, Source
from shared.streams.sse import Headers, StreamResponse
from shared.streams.subscription import Hub, Subscription
from shared.telemetry.causes import FailureLog
from shared.telemetry.metrics import StreamMetrics

CHECK_S: Final = 300.0
"""Seconds of silence after which a stream checks that its job exists and goes on, where commands are billed. Elsewhere
it checks at every heartbeat."""

KEY_CHECK_S: Final = 10.0
"""Time between two checks of the keys of open streams; a notification that a key changed checks them at once."""

CursorT = TypeVar("CursorT")


class KeyWatch:
    """Ends the streams of callers whose key was revoked or has expired. Nothing runs while no stream is open that a key
    opened."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._watched: dict[Identity, set[Subscription[Any]]] = {}
        self._checking: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._failures = FailureLog("key_watch_failed")
        authenticator.on_change(self._changed.set)

    @contextmanager
    def watching(self, identity: Identity, subscription: Subscription[Any]) -> Iterator[None]:
        """Stop the subscription, within the block, soon after its caller's key ended."""
        if not identity.key_id and identity.expires_at is None:
            yield
            return

        streams = self._watched.setdefault(identity, set())
        streams.add(subscription)
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(), name="key-watch")
        try:
            yield
        finally:
            streams.discard(subscription)
            if not streams and self._watched.get(identity) is streams:
                del self._watched[identity]
                self._changed.set()  # the task ends when there is nothing to watch

    async def _check(self) -> None:
        while self._watched:
            self._changed.clear()
            for identity in list(self._watched):
                try:
                    holds = await self._authenticator.holds(identity)
                except Exception as error:
                    self._failures.failed(error)
                    continue
                for subscription in () if holds else tuple(self._watched.get(identity, ())):
                    subscription.stop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEY_CHECK_S):
                    await self._changed.wait()


class Serving:
    """Of one process. `reads`: those that its streams share."""

    def __init__(
        self,
        store: JobStore,
        hub: Hub,
        authenticator: Authenticator,
        metrics: StreamMetrics,
        settings: StreamSettings,
        *,
        open_streams: InUse,
        quotas: StreamQuotas,
    ) -> None:
        """`open_streams`: how many each organisation has open; `quotas`: and may have."""
        self.reads = SharedReads()
        self._store = store
        self._hub = hub
        self._watch = KeyWatch(authenticator)
        self._metrics = metrics
        self._heartbeat_s = settings.notifier_heartbeat_seconds
        self._send_s = settings.notifier_send_seconds
        self._stream_s = settings.notifier_stream_seconds or math.inf
        self._open_streams = open_streams
        self._quotas = quotas
        self._round_robin = RoundRobin()
        self._check_s = CHECK_S if store.settings.frugal else 0.0

    def response(self, scope: Scope, receive: Receive, send: Send, *, headers: Headers = ()) -> StreamResponse:
        """The response to a request for a stream; `headers`: more of them, of a stream."""
        return StreamResponse(scope, receive, send, send_seconds=self._send_s, headers=headers)

    async def check(self, identity: Identity) -> None:
        """Raise StreamUnavailable, or a 429 `Problem`, when no stream of this caller could begin now."""
        if self._hub.full:
            raise StreamUnavailable("too many streams are open here, or it is shutting down")
        if identity.organization_id is not None:
            await self._quotas.read(identity.organization_id)
            self._open_streams.check(identity.organization_id)

    async def serve(
        self,
        source: Source[CursorT],
        cursor: CursorT | None,
        identity: Identity,
        response: StreamResponse,
        *,
        listening: Listener | None = None,
    ) -> None:
        """Stream everything after the cursor; return at the end of the stream. JobNotFound, or an error of `check`,
        before the response begins. `listening`: what notifies of the source; None: its channel does."""
        await self.check(identity)
        subscription = Subscription(
            source,
            response,
            heartbeat_s=self._heartbeat_s,
            stream_s=self._seconds(identity),
            check_s=self._check_s,
            metrics=self._metrics,
            round_robin=self._round_robin,
        )

        with self._hub.admitted(subscription), self._watch.watching(identity, subscription):
            if listening is not None or self._store.subscriber.covers(source.channel):
                async with listening or self._store.subscriber.listen(source.channel) as listener:
                    await listener.wait(0)  # the first read has everything notified before it
                    await self._stream(subscription, source, cursor, listener)
            else:
                await self._stream(subscription, source, cursor, None)

    def _seconds(self, identity: Identity) -> float:
        """Longest time that a stream may last: its caller's key may end before."""
        if identity.expires_at is None:
            return self._stream_s
        return max(0.0, min(self._stream_s, identity.expires_at - time.time()))

    async def _stream(
        self,
        subscription: Subscription[CursorT],
        source: Source[CursorT],
        cursor: CursorT | None,
        listener: Listener | None,
    ) -> None:
        """Serve one stream. `listener`: it has listened since before the first read; None: listening costs a command,
        so it begins after the read."""
        try:
            first = await source.read(cursor, NOTIFIED)
        except StoreUnavailable as error:
            raise StreamUnavailable(str(error)) from None

        if first.ended and not first.encoded:
            await subscription.response.nothing_more()
            return
        if not first.organization_id:
            await subscription.run(first, self._store.subscriber, listener)
            return

        await self._quotas.read(first.organization_id)
        with self._open_streams.held(first.organization_id) as held:
            held.grow()
            await subscription.run(first, self._store.subscriber, listener)
