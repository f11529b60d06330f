"""Composition root of the worker: one task group, built from settings, drained when it is asked to stop."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import anyio
import structlog
from litestar.types import ASGIApp
from prometheus_client import CollectorRegistry

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
from services.worker.loops.cancel_requests import CancelRequests
from services.worker.loops.consumer import Consumer
from services.worker.loops.lease_renewal import LeaseRenewal
from services.worker.loops.promotion import Promotion
from services.worker.loops.recovery import Recovery
from services.worker.loops.server_watch import ServerWatch
from services.worker.loops.supervision import supervise
from services.worker.loops.tasks import Tasks
from services.worker.providers import Provider
from services.worker.providers.pricing.price_file import OwnPrices, read_prices
from services.worker.providers.registry import build_providers, closing, routing
from services.worker.reload import Reload
from services.worker.settings import WorkerSettings
from services.worker.timers import Timers
from shared.http.access import AccessSettings
from shared.http.health import ops_routes
from shared.server.serve import application, serve
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.preflight.requirements import Role
from shared.store.routing import Routing
from shared.telemetry.command_budget import RedisMetrics, reported
from shared.telemetry.metrics import WorkerMetrics, new_registry

RELEASE_SECONDS: Final = 1.2
"""Time to release the jobs after the drain, in s: platforms kill 10 s after SIGTERM (Cloud Run)."""

METRICS_CONNECTIONS: Final = 100
"""Of probes and scrapers: however many connect, the worker keeps its files for Redis and providers."""

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
    ) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self.name = new_consumer_name()

        lease_s = store.settings.lease_seconds
        timers, gates, calls = Timers(lease_s), GateReports(store, paths), CallMetrics(metrics.calls)
        attribution = _attribution(settings, store, providers)
        shared = Dependencies(
            providers=providers, store=store, gates=gates, metrics=calls, attribution=attribution,
            finalizer=Finalizer(store, metrics, calls, timers, patience_s=3 * lease_s + 2.0),
            silence=SilenceLimits(settings.first_token_seconds, settings.token_gap_seconds, settings.thinking_seconds),
        )  # fmt: skip
        self._pool = pool = Pool(shared, settings.worker_concurrency, metrics)

        watch = ServerWatch(lease_s, time.monotonic())
        self._cancel_requests = CancelRequests(store, self.name, pool)
        self._recovery = Recovery(store, self.name, pool, watch, metrics)
        self._renewal = LeaseRenewal(store, self.name, pool, watch, self._recovery)
        self._promotion = Promotion(store, pool, timers)
        self._audit = Audit(store, self.name)
        self._consumer = Consumer(
            store, self.name, pool=pool, gates=gates, timers=timers, watch=watch, recovery=self._recovery,
            promotion=self._promotion, attribution=attribution,
        )  # fmt: skip
        self._tasks = Tasks(store, self.name, self._consumer.check_settled)
        loops = (self._renewal, self._recovery, self._promotion, self._audit)
        self._liveness = Liveness(store, pool, self._consumer, [loop.heartbeat for loop in loops])
        self.live = self._liveness.check

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


def _attribution(settings: WorkerSettings, store: JobStore, providers: Mapping[str, Provider]) -> Attribution:
    """Nothing is asked of Redis where no call leaves this process."""
    wanted = settings.attribution != "off" and any(provider.gated for provider in providers.values())
    return Attribution(
        settings.attribution_secret if wanted else "", load=store.maintenance.attribution_secret if wanted else None
    )


def _operations(settings: WorkerSettings, worker: Worker, store: JobStore, registry: CollectorRegistry) -> ASGIApp:
    routes = ops_routes(ready=store.ping, live=worker.live, registry=registry)
    return application(routes, AccessSettings(allowed_hosts=settings.allowed_hosts), host=settings.worker_metrics_host)


async def run(
    settings: WorkerSettings,
    store_settings: StoreSettings,
    stop: asyncio.Event,
    *,
    stop_now: asyncio.Event | None = None,
    providers: Mapping[str, Provider] | None = None,
    reload: Reload | None = None,
) -> int:
    """Work until `stop` is set, then drain until it is done, its time is over or `stop_now` is set; returns how many
    tasks of attempts did not end, see `leave`.

    `providers`: more of them, by name. `reload`: reads prices and keys again. SettingsInvalid: see `serve`,
    `build_providers` and `read_prices`.
    """
    registry = new_registry("worker")
    metrics, redis = WorkerMetrics(registry), RedisMetrics(registry)
    prices = OwnPrices(read_prices(settings.prices))
    known = build_providers(settings, providers or {}, prices)
    paths = routing(settings, known)
    opened = open_store(
        store_settings, client_name="presswork-worker", role=Role.WORKER, observer=redis.observe, routing=paths
    )

    async with closing(known), opened as store, reported(redis.meter, **store_settings.profile):
        redis.show_quota(lambda: store.quota_exceeded)
        worker = Worker(settings, store, metrics, known, paths)
        served = asyncio.Event()
        serving = serve(
            _operations(settings, worker, store, registry), host=settings.worker_metrics_host,
            port=settings.worker_metrics_port, stop=served, connections=METRICS_CONNECTIONS,
        )  # fmt: skip
        beside = [] if reload is None else [reload.serve(settings, known, prices, store)]
        await _work(worker.run(stop, stop_now), serving, beside, served)
    return worker.stuck


async def _work(
    running: Coroutine[Any, Any, None],
    serving: Coroutine[Any, Any, None],
    beside: Sequence[Coroutine[Any, Any, None]],
    served: asyncio.Event,
) -> None:
    """Run the worker, its HTTP server, which ends once `served` is set, and the coroutines beside them; all of them end
    with the worker, or when the server could not start."""
    work, server = asyncio.create_task(running), asyncio.create_task(serving)
    others = [asyncio.create_task(one) for one in beside]
    try:
        await asyncio.wait([server, work], return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            server.result()
        await work
    finally:
        served.set()
        for task in (work, *others):
            task.cancel()
        await asyncio.gather(work, *others, server, return_exceptions=True)


def leave(stuck: int) -> None:
    """End the process here and now if tasks of attempts do not end: the event loop would wait for them without end."""
    if stuck:
        _log.error("stuck_tasks_abandoned", tasks=stuck)
        os._exit(0)
