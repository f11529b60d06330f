"""What keeps the queue going beside the jobs: renewing leases, recovering silent workers' jobs, repairing."""

from __future__ import annotations

import random
import time
from typing import Final

import anyio
import structlog

from services.worker.execution.attempt import PASSING, Stop
from services.worker.execution.pool import Pool
from services.worker.loops.server_watch import View
from services.worker.loops.supervision import Pulse
from shared.store.job_store import JobStore
from shared.telemetry.metrics import WorkerMetrics

AUDIT_PATIENCE_S: Final = 3600.0
"""It looks at all records there are, in a tenth of its time."""

RECONNECT_SECONDS: Final = 2.0
"""A server that comes back exactly after two leases is still met in time: connecting takes a moment."""

RENEW_RETRY_S: Final = 0.25
"""A renewal that failed is repeated within this, or an eighth of a lease: before others look a second time."""

_log: Final = structlog.get_logger(__name__)


class Chores:
    """Three loops of one worker; `pulses` tell whether they turn."""

    def __init__(self, store: JobStore, name: str, pool: Pool, metrics: WorkerMetrics) -> None:
        self._store = store
        self._name = name
        self._pool = pool
        self._metrics = metrics
        self._lease_s = store.settings.lease_seconds
        now = time.monotonic()
        self._view = View(self._lease_s, now)
        self._watching = anyio.Event()
        self._renewed_at = now
        self._isolated_since: float | None = None
        self.pulses = {name: Pulse() for name in ("renew", "recover", "audit")}

    # ---- what the consumer tells and asks -----------------------------------------------------------------------

    def looked(self, asked: float, server_ms: int) -> None:
        """An answer told the server's time."""
        self._view.looked(asked, time.monotonic(), server_ms, self._store.generation)

    def view_broke(self) -> None:
        """A connection was lost."""
        self._view.broken(time.monotonic())

    def woke(self, due: float) -> None:
        """A sleep that should have ended at `due` at the latest has ended."""
        self._view.timer(due, time.monotonic())

    def watch(self) -> None:
        """There is unfinished work: look after it until there is none."""
        self._watching.set()

    # ---- loops --------------------------------------------------------------------------------------------------

    async def renew(self) -> None:
        """Renew all held leases every third of a lease; when that failed for two leases, stop paying."""
        due = time.monotonic() + self._lease_s / 3
        while True:
            await anyio.sleep(max(due - time.monotonic(), 0))
            now = time.monotonic()
            self.pulses["renew"].beat(self._lease_s / 3)
            self._view.timer(due, now)
            due = now + self._lease_s / 3
            runs = self._pool.runs
            if not runs:
                self._renewed_at = now
                continue
            self.watch()
            try:
                renewed = await self._store.renew(self._name, [run.claim for run in runs])
            except PASSING:
                self._not_renewed(len(runs))
                longest = min(RENEW_RETRY_S, self._lease_s / 8)
                due = time.monotonic() + random.uniform(longest / 5, longest)  # noqa: S311 - jitter
                continue
            except BaseException:
                self._not_renewed(len(runs))
                raise
            self._renewed_at = time.monotonic()
            self.looked(now, renewed.server_ms)
            for run in runs:
                if run.claim.token in renewed.lost:
                    run.halt(Stop.LOST)
                elif run.claim.job_id in renewed.cancelled:
                    run.halt(Stop.CANCELLED)

    def _not_renewed(self, jobs: int) -> None:
        self.view_broke()
        if time.monotonic() - self._renewed_at > (2 + 1 / 3) * self._lease_s + RECONNECT_SECONDS:
            _log.error("leases_expired", jobs=jobs)
            self._pool.halt_all(Stop.LOST)

    async def recover(self) -> None:
        """While there is unfinished work: take back what silent workers held, as soon as the view allows it."""
        while True:
            self.pulses["recover"].beat()
            await self._watching.wait()
            self.pulses["recover"].beat(self._lease_s)
            now = time.monotonic()
            self._view.same(now, self._store.generation)
            pause = max(self._view.whole_in(now), 0.02)
            try:
                if self._view.whole(now):
                    pause = await self._recover_once()
                else:
                    pause = min(pause, self._lease_s / 6)
                    await self._look()
            except PASSING:
                self.view_broke()
                pause = 0.25
            due = time.monotonic() + pause
            await anyio.sleep(pause)
            self._view.timer(due, time.monotonic())

    async def _look(self) -> None:
        """A look that takes nothing: the view is not whole yet."""
        self._make_room(None)
        asked = time.monotonic()
        renewed = await self._store.renew(self._name, [])
        self.looked(asked, renewed.server_ms)

    async def _recover_once(self) -> float:
        asked = time.monotonic()
        held = [run.claim.token for run in self._pool.runs]
        recovered = await self._store.upkeep.recover(self._name, held)
        self.looked(asked, recovered.server_ms)
        if taken := recovered.requeued + recovered.failed:
            self._metrics.recoveries.inc(taken)
            _log.warning("recovered", requeued=recovered.requeued, failed=recovered.failed)
        self._make_room(recovered.isolated)
        if not recovered.unfinished and not self._pool.runs and not await self._store.upkeep.unfinished():
            self._watching = anyio.Event()
        steady = self._lease_s / 3
        return steady if recovered.next_ms is None else min(recovered.next_ms / 1000 + 0.005, steady)

    def _make_room(self, isolated: int | None) -> None:
        """Claim nothing more while `isolated` jobs wait for a worker that holds no other, and for a lease none has had
        room. Only the worker that looks after all does so (None: it is another)."""
        now = time.monotonic()
        if not isolated:
            self._isolated_since = None
        elif self._isolated_since is None:
            self._isolated_since = now
        self._pool.clearing = self._isolated_since is not None and now - self._isolated_since >= self._lease_s

    async def audit(self) -> None:
        """At the start and then as often as the settings say, an hour by default."""
        while True:
            self.pulses["audit"].beat(AUDIT_PATIENCE_S)
            try:
                audited = await self._store.upkeep.audit(self._name)
            except PASSING:
                await anyio.sleep(5.0)
                continue
            if audited.requeued:
                _log.warning("audit_repaired", requeued=audited.requeued)
            pause = self._store.settings.audit_seconds * random.uniform(1.0, 1.1)  # noqa: S311 - jitter
            self.pulses["audit"].beat(pause)
            await anyio.sleep(pause)
