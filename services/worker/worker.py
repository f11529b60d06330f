"""The parts of one worker process and its life: claims and runs jobs, drains when it is asked to stop, and leaves."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import anyio
import structlog

from services.worker.attribution import Attribution
from services.worker.execution.attempt import TRANSIENT, StopReason
from services.worker.execution.attempt_cost import CallMetrics
from services.worker.execution.attempt_runner import Dependencies
from services.worker.execution.finalization import Finalizer
from services.worker.execution.gate_reports import GateReports
from services.worker.execution.pool import Pool
from services.worker.execution.provider_call import SilenceLimits
from services.worker.liveness import Liveness
from services.worker.loops.audit import Audit
from services.worker.loops.budget_watch import BudgetWatch
from services.worker.loops.cancel_requests import CancelRequests
from services.worker.loops.consumer import Consumer
from services.worker.loops.lease_renewal import LeaseRenewal
from services.worker.loops.promotion import Promotion
from services.worker.loops.recovery import Recovery
from services.worker.loops.registration import Registration
from services.worker.loops.server_watch import ServerWatch
from services.worker.loops.supervision import supervise
from services.worker.loops.tasks import Tasks
from services.worker.providers import Provider
from services.worker.settings import WorkerSettings
from services.worker.timers import Timers
from shared.store.job_store import JobStore
from shared.store.routing import Routing
from shared.telemetry.metrics import WorkerMetrics
from shared.tracing.spans import Tracer

RELEASE_SECONDS: Final = 1.2
"""Time to release the jobs after the drain, in s: platforms kill 10 s after SIGTERM (Cloud Run)."""

_log: Final = structlog.get_logger(__name__)


def new_consumer_name() -> str:
    """A name that no consumer had before: a restarted process must never be taken for the one that died."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:32]
    return f"w-{host}-{os.getpid()}-{secrets.token_hex(4)}"


class Worker:
    """The parts of one worker process. `run` until `stop` is set, then drain."""

    def __init__(
        self,
        settings: WorkerSettings,
        store: JobStore,
        metrics: WorkerMetrics,
        providers: Mapping[str, Provider],
        paths: Routing,
        *,
        tracer: Tracer | None = None,
    ) -> None:
        self._settings, self._store, self._metrics = settings, store, metrics
        self.name = new_consumer_name()

        lease_s = store.settings.lease_seconds
        timers, gates, calls = Timers(lease_s), GateReports(store, paths), CallMetrics(metrics.calls)
        self._recent_calls = gates.recent
        attribution = _attribution(settings, store, providers)
        shared = Dependencies(
            providers=providers, store=store, gates=gates, metrics=calls, attribution=attribution, tracer=tracer,
            finalizer=Finalizer(store, metrics, calls, timers, patience_s=3 * lease_s + 2.0),
            silence=SilenceLimits(settings.first_token_seconds, settings.token_gap_seconds, settings.thinking_seconds),
        )  # fmt: skip
        self._pool = pool = Pool(shared, settings.worker_concurrency, metrics)

        watch = ServerWatch(lease_s, time.monotonic())
        self._registration = Registration(store, self.name, pool, settings.worker_concurrency, paths.limits)
        self._cancel_requests = CancelRequests(store, self.name, pool, self._registration)
        self._recovery = Recovery(store, self.name, pool, watch, metrics)
        self._renewal = LeaseRenewal(store, self.name, pool, watch, self._recovery, registration=self._registration)
        self._promotion = Promotion(store, pool, timers)
        self._audit = Audit(store, self.name)
        self._budgets = BudgetWatch(store, pool, metrics)
        self._consumer = Consumer(
            store, self.name, pool=pool, gates=gates, timers=timers, watch=watch, recovery=self._recovery,
            promotion=self._promotion, attribution=attribution,
        )  # fmt: skip
        self._tasks = Tasks(store, self.name, self._look)
        loops = (self._renewal, self._recovery, self._promotion, self._audit)
        self._liveness = Liveness(store, pool, self._consumer, [loop.heartbeat for loop in loops])
        self.live = self._liveness.check

    async def _look(self) -> None:
        await self._consumer.check_settled()
        await self._registration.look_at_times()

    @property
    def stuck(self) -> int:
        """Number of tasks that live on although their jobs were taken from them."""
        return len(self._pool.stuck)

    async def run(self, stop: asyncio.Event, stop_now: asyncio.Event | None = None) -> None:
        """Claim and run jobs until `stop`; then drain, release the jobs that did not end meanwhile, and leave.

        `stop_now` set: the drain is over.
        """
        try:
            async with asyncio.TaskGroup() as group:
                loops = [self._supervised(group, name, loop) for name, loop in self._loops.items()]
                claiming = self._supervised(group, "consumer", self._consumer.run)
                await stop.wait()

                self._begin_drain(claiming)
                await self._drain(claiming, stop_now or asyncio.Event())
                with anyio.move_on_after(RELEASE_SECONDS):
                    await self._release()
                if left := len(self._pool.attempts):
                    _log.warning("jobs_abandoned", jobs=left)
                for task in loops:
                    task.cancel()
        finally:
            await self._pool.close()

    @property
    def _loops(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """The background loops beside the consumer, which goes on until the drain."""
        return {
            "lease_renewal": self._renewal.run,
            "recovery": self._recovery.run,
            "promotion": self._promotion.run,
            "audit": self._audit.run,
            "budget_watch": self._budgets.run,
            "tasks": self._tasks.run,
            "cancel_requests": self._cancel_requests.run,
        }

    def _supervised(
        self, group: asyncio.TaskGroup, name: str, loop: Callable[[], Awaitable[None]]
    ) -> asyncio.Task[None]:
        return group.create_task(supervise(name, loop, self._metrics.loop_failures))

    def _begin_drain(self, claiming: asyncio.Task[None]) -> None:
        self._liveness.draining = True
        self._metrics.draining.set(1)
        _log.info("drain_started", jobs=len(self._pool.attempts))
        claiming.cancel()
        self._consumer.heartbeat.beat()

    async def _drain(self, claiming: asyncio.Task[None], stop_now: asyncio.Event) -> None:
        empty = asyncio.create_task(self._drained(claiming))
        hurried = asyncio.create_task(stop_now.wait())
        await asyncio.wait([empty, hurried], timeout=self._settings.drain_seconds, return_when=asyncio.FIRST_COMPLETED)

        for task in (empty, hurried):
            task.cancel()

    async def _drained(self, claiming: asyncio.Task[None]) -> None:
        await asyncio.wait([claiming])
        await self._pool.wait_empty()

    async def _release(self) -> None:
        self._pool.stop_all(StopReason.DRAIN)
        await self._pool.wait_empty()
        try:
            await self._store.maintenance.leave(self.name)
        except TRANSIENT:
            _log.warning("consumer_not_removed")
        await self._recent_calls.close()


def _attribution(settings: WorkerSettings, store: JobStore, providers: Mapping[str, Provider]) -> Attribution:
    """Nothing is asked of Redis where no call leaves this process."""
    wanted = settings.attribution != "off" and any(provider.gated for provider in providers.values())
    return Attribution(
        settings.attribution_secret if wanted else "", load=store.maintenance.attribution_secret if wanted else None
    )
