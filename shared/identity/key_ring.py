"""API keys as this process knows them: read from Redis when they come, trusted for 5 s, forgotten at a notification.

A notification that a key changed acts at once where pub/sub works; elsewhere a revoked key is known for at most as long
as it is trusted. While Redis is away keys that are known live on for a minute.

Where every command is billed a key is trusted for a minute, and then for as long as a look at all keys at once, a
minute old at most, finds that none has changed (`key_revision.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from shared.errors import StoreUnavailable
from shared.identity.key_revision import UNKNOWN, KeyRevision
from shared.store.api_keys import ApiKey
from shared.store.job_store import JobStore
from shared.telemetry.causes import FailureLog

FRESH_S: Final = 5.0
FRUGAL_FRESH_S: Final = 60.0
"""Time for which a key is trusted without asking again; the second where every command is billed."""

OUTAGE_S: Final = 60.0
"""Time after its last read for which a key is known while Redis does not answer."""

KNOWN_MAX: Final = 10_000
"""Keys, and ids that are none, that are known at once: about half a KiB each."""


class _Known(msgspec.Struct, frozen=True):
    """`revision`: of all keys, as it was before this one was read."""

    key: ApiKey | None
    read_at: float
    revision: str = UNKNOWN


class KeyRing:
    """Of one process. `on_change` is called when a key changed: those who hold on to one check it then."""

    def __init__(self, store: JobStore, *, clock: Callable[[], float] = time.monotonic, revised: bool = False) -> None:
        """`revised`: this process may look at all keys at once."""
        self._store = store
        self._clock = clock
        self._fresh_s = FRUGAL_FRESH_S if store.settings.frugal else FRESH_S
        self._revision = (
            KeyRevision(store.api_keys, self._fresh_s, clock) if revised and store.settings.frugal else None
        )
        self._outage_s = max(OUTAGE_S, 2 * self._fresh_s)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._reading: dict[str, asyncio.Task[ApiKey | None]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._failures = FailureLog("key_changes_failed")
        self.on_change: list[Callable[[], None]] = []

    async def aclose(self) -> None:
        """Listen for changes no longer."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    async def find(self, key_id: str) -> ApiKey | None:
        """The key; None: there is none. StoreUnavailable: Redis is away, and it is not known well enough."""
        known, now = self._known.get(key_id), self._clock()
        if known is not None and now - known.read_at < self._fresh_s:
            return known.key
        if known is not None and (still := await self._unchanged(key_id)) is not None:
            return still.key
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="key-changes")

        reading = self._reading.get(key_id)
        if reading is None:
            reading = self._reading[key_id] = asyncio.create_task(self._read(key_id, now), name="key-read")
            reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            return await asyncio.shield(reading)
        except StoreUnavailable:
            known = self._known.get(key_id)  # it may have been revoked meanwhile
            if known is None or self._clock() - known.read_at > self._outage_s:
                raise
            return known.key

    async def _unchanged(self, key_id: str) -> _Known | None:
        """The entry of a key, if no key has changed since it was read: it is trusted again, from that look on."""
        if self._revision is None:
            return None
        latest = await self._revision.latest()
        known = self._known.get(key_id)  # it may have been forgotten, or read again, meanwhile
        if known is None or known.revision != latest.text or latest.text == UNKNOWN:
            return None
        if known.read_at < latest.read_at:
            known = self._known[key_id] = msgspec.structs.replace(known, read_at=latest.read_at)
        return known

    async def _read(self, key_id: str, began_at: float) -> ApiKey | None:
        mine = asyncio.current_task()
        try:
            # Before the key: a change in between is a change after this revision.
            revision = (await self._revision.latest()).text if self._revision is not None else UNKNOWN
            key = await self._store.api_keys.read(key_id)
            if self._reading.get(key_id) is mine:  # else it changed meanwhile, and the next caller reads it again
                self._known[key_id] = _Known(key, began_at, revision)
                self._known.move_to_end(key_id)
                if len(self._known) > KNOWN_MAX:
                    self._known.popitem(last=False)
            return key
        finally:
            if self._reading.get(key_id) is mine:
                del self._reading[key_id]

    async def _listen(self) -> None:
        """Forget each key that a notification names. REST has no notifications."""
        while True:
            try:
                with contextlib.suppress(StoreUnavailable):
                    async with self._store.subscriber.messages(self._store.keys.key_channel) as changes:
                        async for key_id in changes:
                            self.forget(key_id.decode(errors="replace"))
                return
            except Exception as error:
                self._failures.failed(error)
                await asyncio.sleep(self._fresh_s)

    def forget(self, key_id: str) -> None:
        """Read a key again the next time it comes."""
        self._known.pop(key_id, None)
        self._reading.pop(key_id, None)
        for notify in self.on_change:
            notify()
