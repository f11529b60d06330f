"""What is to be done at a time, whether a slot is free or not: due jobs become claimable, overdue ones end."""

from __future__ import annotations

import time
from typing import Final

import anyio

from services.worker.execution.attempt import PASSING
from services.worker.execution.pool import Pool
from services.worker.loops.supervision import Pulse
from services.worker.timers import NextDue
from shared.store.job_store import JobStore

TICK_SECONDS: Final = 0.5
HEADS_SECONDS: Final = 600.0
"""How often the first of the new jobs are looked at, at least, while no slot is free: their deadlines are written down
nowhere, but stand in order."""


class Promotion:
    """One loop of one worker, beside its claims. `due` says when; a worker that had no free slot hears of
    nothing, so it asks once a lease what others submitted meanwhile. `pulse` tells whether the loop turns."""

    def __init__(self, store: JobStore, pool: Pool, due: NextDue) -> None:
        self._store = store
        self._pool = pool
        self._due = due
        self._lease_s = store.settings.lease_seconds
        self._crowded = False
        self.pulse = Pulse()
        self._ask_at = time.monotonic() + self._lease_s
        self._heads_at = self._ask_at

    def crowded(self) -> None:
        """No slot was free: jobs may wait that nobody was told of."""
        self._crowded = True

    async def promote(self, *, heads: bool = False) -> bool:
        """Do what is due, some of it at a time, and remember when the next is; answers whether more is due now."""
        promoted = await self._store.upkeep.promote(heads=heads)
        self._due.learned(promoted.next_ms)
        self._due.lane(promoted.lane_ms)
        if heads:
            left_s = HEADS_SECONDS if promoted.heads_ms is None else promoted.heads_ms / 1000
            self._heads_at = time.monotonic() + min(max(left_s, self._lease_s), HEADS_SECONDS)
        return promoted.next_ms == 0

    async def run(self) -> None:
        """At the start, at each due time, and once a lease while no slot is free."""
        while True:
            self.pulse.beat(TICK_SECONDS)
            await anyio.sleep(min(self._due.seconds, TICK_SECONDS))
            try:
                if self._due.now:
                    await self._promote_all()
                elif self._crowded and time.monotonic() >= self._ask_at:
                    await self._ask()
            except PASSING:
                await anyio.sleep(0.25)

    async def _promote_all(self, *, heads: bool = False) -> None:
        # However many are due at once: this loop turns.
        while await self.promote(heads=heads):
            self.pulse.beat(TICK_SECONDS)

    async def _ask(self) -> None:
        heads = time.monotonic() >= self._heads_at
        found = await self._store.upkeep.timed_work()
        if heads or found.throttled or found.overdue_ms == 0:
            await self._promote_all(heads=heads)
        elif found.overdue_ms is not None:
            self._due.lane(found.overdue_ms)
        self._ask_at = time.monotonic() + self._lease_s
        self._crowded = self._pool.free <= 0
