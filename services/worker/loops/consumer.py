"""The claim loop: takes work while slots are free, sleeps on the ring when there is none."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Final

import anyio
import structlog

from services.worker.execution.attempt import PASSING
from services.worker.execution.gate_reports import Gates
from services.worker.execution.pool import Pool
from services.worker.loops.chores import Chores
from services.worker.loops.promotion import Promotion
from services.worker.loops.supervision import Pulse
from services.worker.timers import NextDue
from shared.errors import StoreUnavailable
from shared.store.job_store import JobStore
from shared.store.results import Claimed, Ring

CLAIM_MOST: Final = 64
"""Jobs a claim takes. An SDK spends 2 ms of CPU before a call is out: a thousand calls that began in one turn of the
event loop would keep it from Redis' answers until these count as lost."""

_log: Final = structlog.get_logger(__name__)


class Consumer:
    """Claims for one consumer name. `served` is when it last took a job or had a good reason not to: no slot, no Redis,
    no work (monotonic, s)."""

    def __init__(
        self,
        store: JobStore,
        name: str,
        *,
        pool: Pool,
        chores: Chores,
        promotion: Promotion,
        due: NextDue,
        gates: Gates,
    ) -> None:
        self._store = store
        self._name = name
        self._pool = pool
        self._chores = chores
        self._promotion = promotion
        self._due = due
        self._gates = gates
        self._answer_lost = False
        self._failures = 0
        self.pulse = Pulse()
        self.served = time.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        look: bool | None = True
        more = True
        while True:
            if self._pool.free <= 0:
                self._promotion.crowded()
                self.pulse.beat()
                await self._pool.wait_free()
                self.served = time.monotonic()
            self.pulse.beat(self._due.longest_s)
            try:
                if not more:
                    look = await self._sleep()
                    if look is None:
                        continue
                    if self._pool.free <= 0:
                        await self._store.pass_on()
                        more = True
                        continue
                # Under load half of the slots at a time: the server serves one half while the other runs.
                limit = min(self._pool.free, self._pool.half) if more else self._pool.free
                more = await self._claim(min(limit, CLAIM_MOST), look=look or more)
                self._failures = 0
            except PASSING:
                self._chores.view_broke()
                more = True
                self.served = time.monotonic()
                await self._back_off()

    async def _claim(self, limit: int, *, look: bool) -> bool:
        """Take what there is for `limit` slots; answers whether work was left behind."""
        known = [run.claim.token for run in self._pool.runs] if self._answer_lost else None
        asked = time.monotonic()
        call = asyncio.ensure_future(
            self._store.claim(
                self._name, limit, look=look, suspect=self._pool.suspects_room, alone=not self._pool.runs, known=known
            )
        )
        try:
            claimed = await asyncio.shield(call)
        except asyncio.CancelledError:
            # Told to stop: what the server delivers all the same must be run or handed back, not left to its lease.
            with contextlib.suppress(*PASSING):
                self._start(await call)
            raise
        except BaseException:
            # Whatever it was: the server may have delivered jobs, which are answered again.
            self._answer_lost = True
            raise
        self._answer_lost = False
        self._start(claimed)
        self._chores.looked(asked, claimed.server_ms)
        self._gates.doubted(claimed.doubtful)
        self._due.lane(claimed.next_ms)
        return claimed.more

    def _start(self, claimed: Claimed) -> None:
        if claimed.claims:
            self._pool.start(claimed.claims)
            self.served = time.monotonic()

    async def _sleep(self) -> bool | None:
        """Sleep until a ring or the next due job; answers `look` for the claim that follows, None: nothing to claim."""
        seconds = self._due.seconds
        due = time.monotonic() + seconds
        try:
            ring = await self._store.wait_for_work(max(round(seconds * 1000), 1))
        except StoreUnavailable:
            self._chores.view_broke()
            raise
        self._chores.woke(due)
        if ring is Ring.JOB:
            return False
        if ring is Ring.NONE and not self._due.now and not await self._store.upkeep.unfinished():
            self.served = time.monotonic()
            return None
        if ring is Ring.NONE:
            self._chores.watch()
        # Once: what is due besides is for its own loop, while this one claims.
        await self._promotion.promote()
        return True

    async def _back_off(self) -> None:
        if self._failures == 0:
            _log.warning("store_unavailable")
        self._failures += 1
        await anyio.sleep(random.uniform(0.5, 1.0) * min(0.05 * 2.0 ** min(self._failures, 5), 1.0))  # noqa: S311 - jitter
