"""The queue's counts as the gateway last read them, for everybody who asks: statistics, scrapes, admission.

On a host that bills commands a reading is kept: a minute while there is work, an hour while there was none and this
gateway took none in since. Elsewhere every question is asked of the store, which answers exactly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from shared.store.results import QueueStats

FRUGAL_KEPT_S: Final = 60.0
IDLE_KEPT_S: Final = 3600.0


class Reading(msgspec.Struct, frozen=True):
    """Counts, and when they were read (this machine's clock, ms since epoch)."""

    stats: QueueStats
    at_ms: int


class Readings:
    """`read` asks the store; a reading is good for `kept_s`, 0: never. StoreUnavailable when there is none and Redis is
    away."""

    def __init__(
        self,
        read: Callable[[], Awaitable[QueueStats]],
        kept_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._kept_s = kept_s
        self._clock = clock
        self._reading: Reading | None = None
        self._read_at = 0.0
        self._changed = True
        self._asking = asyncio.Lock()

    def changed(self) -> None:
        """This gateway took a job in: what said that there was none is true no longer."""
        self._changed = True

    async def latest(self) -> Reading:
        """A reading that is good still, else a new one. Who asks meanwhile shares it."""
        if self._kept_s <= 0:
            return await self._fresh()
        async with self._asking:
            if self._reading is None or not self._good(self._reading.stats):
                self._changed = False
                self._reading = await self._fresh()
                self._read_at = self._clock()
            return self._reading

    def _good(self, stats: QueueStats) -> bool:
        idle = stats.queued + stats.processing == 0 and not self._changed
        return self._clock() - self._read_at < (max(self._kept_s, IDLE_KEPT_S) if idle else self._kept_s)

    async def _fresh(self) -> Reading:
        return Reading(await self._read(), time.time_ns() // 1_000_000)
