"""The queue's counts as the gateway last read them: for queue-stats, scrapes and admission.

On a host that bills commands they are kept: a minute while there is work, an hour while there was none and this gateway
took none in since. Elsewhere they are read for each caller, and exact.
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


class CachedStats(msgspec.Struct, frozen=True):
    """Counts, and when they were read (this machine's clock, ms since epoch)."""

    stats: QueueStats
    at_ms: int


class StatsCache:
    """Keeps the counts that `read` got from the store for `kept_s`; 0: not at all. StoreUnavailable when there are none
    and Redis is away."""

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
        self._cached: CachedStats | None = None
        self._read_at = 0.0
        self._idle_no_longer = True
        self._lock = asyncio.Lock()

    def job_submitted(self) -> None:
        """Note that this gateway took a job in: counts of an idle queue are no longer true."""
        self._idle_no_longer = True

    async def latest(self) -> CachedStats:
        """Counts that are young enough, else new ones. Callers that come meanwhile share them."""
        if self._kept_s <= 0:
            return await self._fresh()
        async with self._lock:
            if self._cached is None or not self._young_enough(self._cached.stats):
                self._idle_no_longer = False
                self._cached = await self._fresh()
                self._read_at = self._clock()
            return self._cached

    def _young_enough(self, stats: QueueStats) -> bool:
        idle = stats.queued + stats.processing == 0 and not self._idle_no_longer
        return self._clock() - self._read_at < (max(self._kept_s, IDLE_KEPT_S) if idle else self._kept_s)

    async def _fresh(self) -> CachedStats:
        return CachedStats(await self._read(), time.time_ns() // 1_000_000)
