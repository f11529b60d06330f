"""Refuses new jobs while too many wait or Redis is nearly out of memory, on figures that cost a submit nothing."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from services.gateway.stats.stats_cache import StatsCache
from shared.errors import PressworkError, StoreUnavailable
from shared.http.problems import QUEUE_FULL, STORE_FULL, Problem
from shared.store.job_store import JobStore
from shared.store.results import MemoryUse
from shared.telemetry.causes import FailureLog

FRESH_S: Final = 2.0
STALE_S: Final = 60.0
"""Ages in s: figures younger than the first are never read again, older than the second always."""

FRUGAL_STALE_S: Final = 3600.0
"""The same where every command is billed: only the room that is left decides."""

ROOM_SHARE: Final = 50
BYTES_MAX: Final = 8 << 20
"""Between the two ages: read once 1/50 of the room that was left, or 8 MiB, has been submitted here."""

MEMORY_SHARE: Final = 0.85

PATIENCE_S: Final = 0.1
"""Time in s for which a submit that would be refused waits for fresh figures: the store's own time is bounded too."""


class Admission:
    """Reads the store's fill level, at most every 2 s, only while submits come, and beside them, not before them.

    Only while it refuses does a submit wait for fresh figures: no job is refused for old figures.
    """

    def __init__(self, store: JobStore, stats: StatsCache, max_queued: int) -> None:
        self._store = store
        self._stats = stats
        self._max_queued = max_queued
        self._stale_s = FRUGAL_STALE_S if store.settings.frugal else STALE_S
        self._refreshed_at = -math.inf
        self._jobs = 0
        self._bytes = 0
        self._room = 0
        self._problem: Callable[[], Problem] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._failures = FailureLog("admission_check_failed")

    async def admit(self, jobs: int, size: int) -> None:
        """Let `jobs` of together `size` bytes in; a 503 `Problem` while there is no room for them."""
        self._jobs += jobs
        self._bytes += size
        self._stats.job_submitted()
        if self._refreshing is None and self._due():
            self._refreshing = asyncio.create_task(self._refresh(), name="admission")
        if self._problem is not None and self._refreshing is not None:
            await asyncio.wait([self._refreshing], timeout=PATIENCE_S)
        if self._problem is not None:
            raise self._problem()

    def _due(self) -> bool:
        age = time.monotonic() - self._refreshed_at
        if age < FRESH_S:
            return False
        return age >= self._stale_s or self._jobs * ROOM_SHARE >= self._room or self._bytes >= BYTES_MAX

    async def _refresh(self) -> None:
        try:
            cached, memory = await asyncio.gather(self._stats.latest(), self._memory())
        except PressworkError:
            return  # the submits find out themselves, and report it
        except Exception as error:
            self._failures.failed(error)  # the figures stay as they were until the next refresh
            return
        finally:
            self._refreshed_at, self._jobs, self._bytes, self._refreshing = time.monotonic(), 0, 0, None

        self._room = max(0, self._max_queued - cached.stats.queued)
        if memory.limit and memory.used >= memory.limit * MEMORY_SHARE:
            self._problem, self._room = self._no_memory, 0
        else:
            self._problem = None if self._room else self._no_room

    async def _memory(self) -> MemoryUse:
        try:
            return await self._store.queries.memory()
        except StoreUnavailable:
            return MemoryUse(0, 0)  # not every host reports it

    @staticmethod
    def _no_memory() -> Problem:
        return Problem(STORE_FULL, retry_after=10)

    def _no_room(self) -> Problem:
        return Problem(QUEUE_FULL, f"{self._max_queued} jobs are waiting", retry_after=5)

    async def aclose(self) -> None:
        """Stop asking."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
