"""Fills the queue's gauges at a scrape, and only then: an unwatched gateway asks Redis nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from services.gateway.stats.stats_cache import CachedStats, StatsCache
from shared.errors import PressworkError
from shared.store.job_store import JobStore
from shared.store.queries import GATE_REASONS
from shared.store.results import QueueStats
from shared.telemetry.metrics import QueueMetrics

FRESH_S: Final = 5.0


class QueueGauges:
    """Reads the counts at a scrape; two scrapes within 5 s share them, and cached ones cost nothing."""

    def __init__(self, store: JobStore, stats: StatsCache, metrics: QueueMetrics) -> None:
        self._store = store
        self._stats = stats
        self._shown: CachedStats | None = None
        self._metrics = metrics
        self._read_at = -FRESH_S
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Bring the gauges up to date; without an answer of the store they show nothing."""
        async with self._lock:
            if time.monotonic() - self._read_at < FRESH_S:
                return

            try:
                cached = await self._stats.latest()
                if cached is self._shown:
                    return
                stats = cached.stats
                oldest_ms, gates = await asyncio.gather(self._oldest_ms(stats), self._store.queries.gates())
            except PressworkError:
                self._shown = None
                self._metrics.forget()
                return

            jobs = {
                state: getattr(stats, state) for state in ("queued", "processing", "completed", "failed", "cancelled")
            }
            self._metrics.unbooked.set(stats.unbooked)
            self._metrics.show(
                jobs, delayed=stats.delayed, throttled=stats.throttled, oldest_seconds=oldest_ms / 1000,
                gates=[
                    (gate.provider, gate.model, reason, gate.blocked_ms > 0 and gate.reason == reason)
                    for gate in gates
                    for reason in GATE_REASONS.values()
                ],
            )  # fmt: skip
            self._read_at = time.monotonic()
            self._shown = cached

    async def _oldest_ms(self, stats: QueueStats) -> int:
        return await self._store.queries.oldest_waiting_ms() if any(stats.by_queue.values()) else 0
