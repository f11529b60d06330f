"""Counts of jobs as the gateway last read them: for queue-stats, scrapes and admission.

On a host that bills commands they are kept: a minute while there is work, an hour while there was none and this gateway
took none in since. Elsewhere they are read for each caller, and exact.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Generic, TypeVar

import msgspec

from shared.store.organizations import OrganizationStats
from shared.store.results import JobCounts, QueueStats

FRUGAL_KEPT_S: Final = 60.0
IDLE_KEPT_S: Final = 3600.0

ORGANIZATIONS_MAX: Final = 1000
"""Organisations whose counts are kept at once: those asked for last."""

StatsT = TypeVar("StatsT", bound=JobCounts)


class Cached(msgspec.Struct, Generic[StatsT], frozen=True):
    """Counts, and when they were read (this machine's clock, ms since epoch)."""

    stats: StatsT
    at_ms: int


CachedStats = Cached[QueueStats]


class Submits:
    """Number of jobs that this gateway took in."""

    def __init__(self) -> None:
        self.count = 0


class CountsCache(Generic[StatsT]):
    """Keeps the counts that `read` got from the store for `kept_s`; 0: not at all. StoreUnavailable when there are none
    and Redis is away."""

    def __init__(
        self,
        read: Callable[[], Awaitable[StatsT]],
        kept_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        submits: Submits | None = None,
    ) -> None:
        """`submits`: of this gateway, shared by those who are to know of them."""
        self.submits = submits or Submits()
        self.kept_s = kept_s
        self._read = read
        self._clock = clock
        self._cached: Cached[StatsT] | None = None
        self._read_at = 0.0
        self._submits_then = -1
        self._lock = asyncio.Lock()

    def job_submitted(self) -> None:
        """Note that this gateway took a job in: counts of an idle queue are no longer true."""
        self.submits.count += 1

    async def latest(self) -> Cached[StatsT]:
        """Counts that are young enough, else new ones. Callers that come meanwhile share them."""
        if self.kept_s <= 0:
            return await self._fresh()
        async with self._lock:
            if self._cached is None or not self._young_enough(self._cached.stats):
                self._submits_then = self.submits.count
                self._cached = await self._fresh()
                self._read_at = self._clock()
            return self._cached

    def _young_enough(self, stats: StatsT) -> bool:
        idle = stats.queued + stats.processing == 0 and self._submits_then == self.submits.count
        return self._clock() - self._read_at < (max(self.kept_s, IDLE_KEPT_S) if idle else self.kept_s)

    async def _fresh(self) -> Cached[StatsT]:
        return Cached(await self._read(), time.time_ns() // 1_000_000)


class StatsCache(CountsCache[QueueStats]):
    """The counts of the whole queue."""


class OrganizationStatsCache:
    """The same of single organisations, kept for as long as those of the queue."""

    def __init__(self, read: Callable[[str], Awaitable[OrganizationStats]], fleet: StatsCache) -> None:
        self._read = read
        self._fleet = fleet
        self._kept: OrderedDict[str, CountsCache[OrganizationStats]] = OrderedDict()

    async def latest(self, organization_id: str) -> Cached[OrganizationStats]:
        """Counts of one that are young enough, else new ones."""
        kept = self._kept.get(organization_id)
        if kept is None:
            read = partial(self._read, organization_id)
            kept = self._kept[organization_id] = CountsCache(read, self._fleet.kept_s, submits=self._fleet.submits)
        self._kept.move_to_end(organization_id)
        if len(self._kept) > ORGANIZATIONS_MAX:
            self._kept.popitem(last=False)
        return await kept.latest()
