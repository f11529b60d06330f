"""Ends the streams of callers whose key was revoked or has expired."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from shared.http.auth import Identity
from shared.identity.authenticator import Authenticator
from shared.streams.subscription import Subscription
from shared.telemetry.causes import FailureLog

CHECK_S: Final = 10.0
"""Time between two checks of the keys of open streams; a notification that a key changed checks them at once."""


class KeyWatch:
    """Of one process. Nothing runs while no stream is open that a key opened."""

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
                async with asyncio.timeout(CHECK_S):
                    await self._changed.wait()
