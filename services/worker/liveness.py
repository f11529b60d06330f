"""Checks whether a worker is alive, or only a restart helps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from services.worker.execution.attempt import TRANSIENT
from services.worker.execution.pool import Pool
from services.worker.loops.consumer import Consumer
from services.worker.loops.supervision import Heartbeat
from shared.store.job_store import JobStore

MARGIN_S: Final = 5.0
"""Delay of a loop, in s beyond two leases, from which on the worker counts as dead."""


class Liveness:
    """Liveness of one worker. `draining`: it claims nothing any more."""

    def __init__(self, store: JobStore, pool: Pool, consumer: Consumer, heartbeats: Sequence[Heartbeat]) -> None:
        self._store = store
        self._pool = pool
        self._consumer = consumer
        self._heartbeats = (*heartbeats, consumer.heartbeat)
        self.draining = False

    async def check(self) -> bool:
        """Answer False when a loop had no iteration for two leases, attempts are not checked, a task lives on for as
        long although its job was taken from it, or slots are free, work waits, Redis answers, and nothing was
        claimed."""
        now, patience_s = time.monotonic(), 2 * self._store.settings.lease_seconds + MARGIN_S
        if any(heartbeat.late_s(now) > patience_s for heartbeat in self._heartbeats):
            return False
        if not self._pool.healthy(patience_s):
            return False
        return not self._may_starve(now, patience_s) or await self._nothing_waits(patience_s)

    def _may_starve(self, now: float, patience_s: float) -> bool:
        """Whether waiting jobs would mean that the claim loop is broken."""
        if self.draining or self._pool.free <= 0 or now - self._consumer.served_at <= patience_s:
            return False
        # The waiting jobs may be other suspects: one at a time.
        return not self._pool.holds_suspect

    async def _nothing_waits(self, patience_s: float) -> bool:
        try:
            return await self._store.queries.oldest_waiting_ms() < patience_s * 1000
        except TRANSIENT:
            return True
