"""Makes due jobs claimable and ends overdue ones, whether a slot is free or not."""

from __future__ import annotations

import time
from typing import Final

import anyio

from services.worker.execution.attempt import TRANSIENT
from services.worker.execution.pool import Pool
from services.worker.loops.supervision import Heartbeat
from services.worker.timers import Timers
from shared.store.job_store import JobStore

TICK_SECONDS: Final = 0.5
RETRY_S: Final = 0.25
HEADS_SECONDS: Final = 600.0
"""Longest interval between checks of the oldest new jobs while no slot is free, in s: no set holds their deadlines, but
they are in order."""


class Promotion:
    """Promotion loop of one worker, beside its claims. `timers` say when; a worker without a free slot is woken for
    nothing, so it polls once a lease for jobs that others submitted meanwhile."""

    def __init__(self, store: JobStore, pool: Pool, timers: Timers) -> None:
        self._store = store
        self._pool = pool
        self._timers = timers
        self._lease_s = store.settings.lease_seconds
        self._crowded = False
        self._poll_at = time.monotonic() + self._lease_s
        self._heads_at = self._poll_at
        self.heartbeat = Heartbeat()

    def crowded(self) -> None:
        """Note that no slot was free: jobs may wait that no worker was woken for."""
        self._crowded = True

    async def promote(self, *, heads: bool = False) -> bool:
        """Promote the jobs that are due, some at a time, and note when the next job is due; True: more is due now."""
        promoted = await self._store.maintenance.promote(heads=heads)
        self._timers.set_delayed(promoted.next_ms)
        if promoted.queue_ms is not None:
            self._timers.add_throttled(promoted.queue_ms)

        if heads:
            left_s = HEADS_SECONDS if promoted.heads_ms is None else promoted.heads_ms / 1000
            self._heads_at = time.monotonic() + min(max(left_s, self._lease_s), HEADS_SECONDS)
        return promoted.next_ms == 0

    async def run(self) -> None:
        """Promote at the start, at each due time, and once a lease while no slot is free."""
        while True:
            self.heartbeat.beat(TICK_SECONDS)
            await anyio.sleep(min(self._timers.sleep_s, TICK_SECONDS))
            try:
                if self._timers.due:
                    await self._promote_all()
                elif self._crowded and time.monotonic() >= self._poll_at:
                    await self._poll()
            except TRANSIENT:
                await anyio.sleep(RETRY_S)

    async def _promote_all(self, *, heads: bool = False) -> None:
        # However many are due at once, this loop is alive.
        while await self.promote(heads=heads):
            self.heartbeat.beat(TICK_SECONDS)

    async def _poll(self) -> None:
        heads = time.monotonic() >= self._heads_at
        found = await self._store.maintenance.timed_work()

        if heads or found.throttled or found.overdue_ms == 0:
            await self._promote_all(heads=heads)
        elif found.overdue_ms is not None:
            self._timers.add_throttled(found.overdue_ms)

        self._poll_at = time.monotonic() + self._lease_s
        self._crowded = self._pool.free <= 0
