"""Requeues the jobs of silent workers, as soon as the server watch can be trusted."""

from __future__ import annotations

import time
from typing import Final

import anyio
import structlog

from services.worker.execution.attempt import TRANSIENT
from services.worker.execution.pool import Pool
from services.worker.loops.server_watch import ServerWatch
from services.worker.loops.supervision import Heartbeat
from shared.store.job_store import JobStore
from shared.store.results import Recovered
from shared.telemetry.metrics import WorkerMetrics

PAUSE_LEAST_S: Final = 0.02
RETRY_S: Final = 0.25

_log: Final = structlog.get_logger(__name__)


class IsolationWait:
    """Time for which jobs that must run alone have waited for a worker that holds no other. Pure."""

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._since: float | None = None

    def clears(self, isolated: int | None, now: float) -> bool:
        """Whether this worker is to claim nothing more until it is empty: `isolated` jobs wait, and no worker had room
        for one for a lease. Only the worker that recovers for all does so (`isolated` is None for the others)."""
        if not isolated:
            self._since = None
        elif self._since is None:
            self._since = now
        return self._since is not None and now - self._since >= self._lease_s


class Recovery:
    """Recovery loop of one worker; it rests while no job is unfinished."""

    def __init__(self, store: JobStore, name: str, pool: Pool, watch: ServerWatch, metrics: WorkerMetrics) -> None:
        self._store = store
        self._name = name
        self._pool = pool
        self._watch = watch
        self._metrics = metrics
        self._lease_s = store.settings.lease_seconds
        self._isolation = IsolationWait(self._lease_s)
        self._unfinished = anyio.Event()
        self.heartbeat = Heartbeat()

    def resume(self) -> None:
        """Note that there are unfinished jobs: poll until there are none."""
        self._unfinished.set()

    async def run(self) -> None:
        """Poll for as long as there is unfinished work."""
        while True:
            self.heartbeat.beat()
            await self._unfinished.wait()
            self.heartbeat.beat(self._lease_s)

            now = time.monotonic()
            self._watch.connected(now, self._store.generation)
            try:
                pause = await self._poll(now)
            except TRANSIENT:
                self._watch.restart(time.monotonic())
                pause = RETRY_S

            due = time.monotonic() + pause
            await anyio.sleep(pause)
            self._watch.timer_fired(due, time.monotonic())

    async def _poll(self, now: float) -> float:
        """Recover if the watch is trusted, else only watch; returns the seconds until the next poll."""
        if self._watch.trusted(now):
            return await self._recover()

        pause = max(self._watch.trusted_in_s(now), PAUSE_LEAST_S)
        await self._probe()
        return min(pause, self._lease_s / 6)

    async def _probe(self) -> None:
        """Take the server's time with a write that recovers nothing."""
        self._pool.clearing = self._isolation.clears(None, time.monotonic())
        sent = time.monotonic()
        renewed = await self._store.renew(self._name, [])
        self._watch.answered(sent, time.monotonic(), renewed.server_ms, self._store.generation)

    async def _recover(self) -> float:
        sent = time.monotonic()
        held = [attempt.claim.token for attempt in self._pool.attempts]
        recovered = await self._store.maintenance.recover(self._name, held)
        self._watch.answered(sent, time.monotonic(), recovered.server_ms, self._store.generation)

        self._report(recovered)
        self._pool.clearing = self._isolation.clears(recovered.isolated, time.monotonic())
        if not recovered.unfinished and not self._pool.attempts and not await self._store.maintenance.unfinished():
            self._unfinished = anyio.Event()
        return _pause_s(recovered, self._lease_s)

    def _report(self, recovered: Recovered) -> None:
        if taken := recovered.requeued + recovered.failed:
            self._metrics.recoveries.inc(taken)
            _log.warning("jobs_recovered", requeued=recovered.requeued, failed=recovered.failed)


def _pause_s(recovered: Recovered, lease_s: float) -> float:
    """Seconds until the next entry may be stale, a third of a lease at most."""
    steady = lease_s / 3
    return steady if recovered.next_ms is None else min(recovered.next_ms / 1000 + 0.005, steady)
