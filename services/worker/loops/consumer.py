"""Claims jobs while slots are free, and sleeps until it is woken when there are none."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from enum import Enum
from typing import Final

import anyio
import structlog

from services.worker.attribution import Attribution
from services.worker.execution.attempt import TRANSIENT
from services.worker.execution.gate_reports import GateReports
from services.worker.execution.pool import Pool
from services.worker.loops.promotion import Promotion
from services.worker.loops.recovery import Recovery
from services.worker.loops.server_watch import ServerWatch
from services.worker.loops.supervision import Heartbeat
from services.worker.timers import Timers
from shared.store.job_store import JobStore
from shared.store.results import Claimed, WakeUp

CLAIM_MOST: Final = 64
"""Most jobs of a claim. An SDK spends 2 ms of CPU before a call is out: a thousand calls that began in one iteration of
the event loop would keep it from Redis' answers until these count as lost."""

_log: Final = structlog.get_logger(__name__)


class Scope(Enum):
    """Jobs that the next claim may take."""

    NONE = "none"  # nothing waits
    NEW = "new"  # a new job woke this worker
    ALL = "all"  # also those that lost a worker


def backoff_s(failures: int) -> float:
    """Seconds to pause after so many failures in a row: 0.1 after the first, then twice that, at most 1; jittered."""
    return random.uniform(0.5, 1.0) * min(0.05 * 2.0 ** min(failures, 5), 1.0)  # noqa: S311 - jitter


class Consumer:
    """Claims for one consumer name. `served_at`: when it last took a job or had a good reason not to: no slot, no
    Redis, no work (monotonic, s)."""

    def __init__(
        self,
        store: JobStore,
        name: str,
        *,
        pool: Pool,
        gates: GateReports,
        timers: Timers,
        watch: ServerWatch,
        recovery: Recovery,
        promotion: Promotion,
        attribution: Attribution,
    ) -> None:
        self._store = store
        self._name = name
        self._pool = pool
        self._gates = gates
        self._timers = timers
        self._watch = watch
        self._recovery = recovery
        self._promotion = promotion
        self._attribution = attribution
        self._more = True
        self._answer_lost = False
        self._failures = 0
        self._settled = False
        self.heartbeat = Heartbeat()
        self.served_at = time.monotonic()

    async def run(self) -> None:
        """Claim until cancelled."""
        self._more = True
        while True:
            if self._pool.free <= 0:
                self._promotion.crowded()
                self.heartbeat.beat()
                await self._pool.wait_free()
                self.served_at = time.monotonic()

            self.heartbeat.beat(self._timers.longest_s)
            try:
                await self._iterate()
            except TRANSIENT:
                self._watch.restart(time.monotonic())
                self._more = True
                self.served_at = time.monotonic()
                await self._back_off()

    async def check_settled(self) -> None:
        """Note whether anything is settled: where commands are billed, claims of ungated providers check only then."""
        if self._store.settings.frugal:
            self._settled = await self._store.gates.any_settled()

    async def _iterate(self) -> None:
        """Sleep unless work was left behind, then claim."""
        await self._attribution.prepare()
        scope, limit = Scope.ALL, min(self._pool.free, self._pool.half)
        if not self._more:
            scope, limit = await self._sleep(), self._pool.free
            if scope is Scope.NONE:
                return
            if limit <= 0:
                await self._store.maintenance.pass_on()
                self._more = True
                return

        if limit <= 0:
            return

        # Under load half of the slots at a time: the server serves one half while the other runs.
        self._more = await self._claim(min(limit, CLAIM_MOST), scope)
        self._failures = 0

    async def _claim(self, limit: int, scope: Scope) -> bool:
        """Take jobs for `limit` slots; True: work was left behind."""
        known = [attempt.claim.token for attempt in self._pool.attempts] if self._answer_lost else None
        sent = time.monotonic()
        call = asyncio.ensure_future(
            self._store.claim(
                self._name, limit, poll=scope is Scope.ALL or self._settled, suspect=self._pool.suspects_room,
                alone=not self._pool.attempts, known=known,
            )
        )  # fmt: skip
        try:
            claimed = await asyncio.shield(call)
        except asyncio.CancelledError:
            # The drain: jobs that the server delivers now must be run or released, not left to their lease.
            with contextlib.suppress(*TRANSIENT):
                self._start(await call)
            raise
        except BaseException:
            # The server may have delivered jobs, which a claim that names the known ones delivers again.
            self._answer_lost = True
            raise

        self._answer_lost = False
        self._start(claimed)
        self._watch.answered(sent, time.monotonic(), claimed.server_ms, self._store.generation)
        self._gates.doubt(claimed.doubtful)
        if claimed.next_ms is not None:
            self._timers.add_throttled(claimed.next_ms)
        return claimed.more

    def _start(self, claimed: Claimed) -> None:
        if claimed.claims:
            self._pool.start(claimed.claims)
            self.served_at = time.monotonic()

    async def _sleep(self) -> Scope:
        """Sleep until this worker is woken or a job is due."""
        seconds = self._timers.sleep_s
        due = time.monotonic() + seconds
        woken = await self._store.wait_for_work(max(round(seconds * 1000), 1))
        self._watch.timer_fired(due, time.monotonic())

        if woken is WakeUp.JOB:
            return Scope.NEW
        if woken is WakeUp.NONE:
            if not self._timers.due and not await self._store.maintenance.unfinished():
                self.served_at = time.monotonic()
                return Scope.NONE
            self._recovery.resume()
        # Once: the promotion loop does the rest, while this one claims.
        await self._promotion.promote()
        return Scope.ALL

    async def _back_off(self) -> None:
        if self._failures == 0:
            _log.warning("claim_failed")
        self._failures += 1
        await anyio.sleep(backoff_s(self._failures))
