"""Composition root of the worker: one task group, built from settings, drained when it is told to stop."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping
from typing import Final

import anyio
import structlog
from litestar.types import ASGIApp
from prometheus_client import CollectorRegistry

from services.worker.execution.attempt import PASSING, Stop
from services.worker.execution.attempt_runner import Runner
from services.worker.execution.gate_reports import Gates
from services.worker.execution.pool import Pool
from services.worker.execution.provider_call import Patience
from services.worker.execution.settlement import Settlement
from services.worker.loops.chores import Chores
from services.worker.loops.consumer import Consumer
from services.worker.loops.promotion import Promotion
from services.worker.loops.supervision import kept_going
from services.worker.providers import Provider
from services.worker.providers.pricing.price_file import OwnPrices, read_prices
from services.worker.providers.registry import closing, equip, routing
from services.worker.reload import Reload
from services.worker.settings import WorkerSettings
from services.worker.timers import NextDue
from shared.http.access import AccessSettings
from shared.http.health import ops_routes
from shared.server.serve import application, serve
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.preflight.requirements import Role
from shared.store.routing import Routing
from shared.telemetry.command_budget import reported
from shared.telemetry.metrics import RedisMetrics, WorkerMetrics, new_registry

HAND_BACK_SECONDS: Final = 1.2
"""How long handing back may take after the drain: platforms kill 10 s after SIGTERM (Cloud Run)."""

METRICS_CONNECTIONS: Final = 100
"""Of probes and scrapers: whatever comes to that port, the worker keeps its files for Redis and providers."""

LIVE_MARGIN_S: Final = 5.0
"""What a loop may take beyond two leases before the worker is held for dead."""

_log: Final = structlog.get_logger(__name__)


def new_consumer_name() -> str:
    """A name nobody had before: a restarted process must never be taken for the one that died."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:32]
    return f"w-{host}-{os.getpid()}-{secrets.token_hex(4)}"


class Worker:
    """One worker process's parts. `run` until `stop` is set, then drain."""

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
        due = NextDue(lease_s)
        gates = Gates(store, paths)
        settlement = Settlement(store, metrics, due, patience_s=3 * lease_s + 2.0)
        patience = Patience(settings.first_token_seconds, settings.token_gap_seconds, settings.thinking_seconds)
        runner = Runner(providers, gates, settlement, metrics, patience)
        self._draining = False
        self._pool = Pool(runner, settlement, settings.worker_concurrency, metrics)
        self._chores = Chores(store, self.name, self._pool, metrics)
        self._promotion = Promotion(store, self._pool, due)
        self._consumer = Consumer(
            store, self.name, pool=self._pool, chores=self._chores, promotion=self._promotion, due=due, gates=gates
        )

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event | None = None) -> None:
        """Claim and run jobs until `stop`; then hand back what does not end within the drain, and leave.

        `hurry` set: the drain is over.
        """
        chores, consumer = self._chores, self._consumer
        roles = {
            "renew": chores.renew, "recover": chores.recover, "promote": self._promotion.run,
            "audit": chores.audit, "hear_cancels": self._hear_cancels,
        }  # fmt: skip
        failures = self._metrics.loop_failures
        try:
            async with asyncio.TaskGroup() as group:
                loops = [group.create_task(kept_going(name, loop, failures)) for name, loop in roles.items()]
                consuming = group.create_task(kept_going("consume", consumer.run, failures))
                await stop.wait()
                self._draining = True
                self._metrics.draining.set(1)
                _log.info("draining", jobs=len(self._pool.runs))
                consuming.cancel()
                consumer.pulse.beat()
                await self._drain(consuming, hurry or asyncio.Event())
                with anyio.move_on_after(HAND_BACK_SECONDS):
                    await self._hand_back()
                if left := len(self._pool.runs):
                    _log.warning("jobs_left_to_their_lease", jobs=left)
                for task in loops:
                    task.cancel()
        finally:
            await self._pool.close()

    @property
    def stuck(self) -> int:
        """How many tasks live on although their jobs were taken from them."""
        return len(self._pool.stuck)

    async def _drain(self, consuming: asyncio.Task[None], hurry: asyncio.Event) -> None:
        empty = asyncio.create_task(self._drained(consuming))
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait([empty, hurried], timeout=self._settings.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (empty, hurried):
            task.cancel()

    async def _drained(self, consuming: asyncio.Task[None]) -> None:
        await asyncio.wait([consuming])
        await self._pool.wait_empty()

    async def _hand_back(self) -> None:
        self._pool.halt_all(Stop.DRAIN)
        await self._pool.wait_empty()
        try:
            await self._store.upkeep.leave(self.name)
        except PASSING:
            _log.warning("left_without_goodbye")

    async def _hear_cancels(self) -> None:
        async with self._store.control(self.name) as cancels:
            async for job_id in cancels:
                self._pool.halt_job(job_id.decode(), Stop.CANCELLED)

    async def live(self) -> bool:
        """False when only a restart helps: a loop has not turned for two leases, runs are not looked after, a task
        lives on for as long although its job was taken from it, or slots are free, work waits, Redis answers, and
        nothing was claimed."""
        now, patience = time.monotonic(), 2 * self._store.settings.lease_seconds + LIVE_MARGIN_S
        pulses = (*self._chores.pulses.values(), self._promotion.pulse, self._consumer.pulse)
        if any(pulse.late_s(now) > patience for pulse in pulses) or not self._pool.healthy(patience):
            return False
        if self._draining or self._pool.free <= 0 or now - self._consumer.served <= patience:
            return True
        if self._pool.holds_suspect:
            # What waits may be the other suspects: one at a time.
            return True
        try:
            return await self._store.overview.oldest_waiting_ms() < patience * 1000
        except PASSING:
            return True


def _operations(settings: WorkerSettings, worker: Worker, store: JobStore, registry: CollectorRegistry) -> ASGIApp:
    routes = ops_routes(ready=store.ping, live=worker.live, registry=registry)
    return application(routes, AccessSettings(allowed_hosts=settings.allowed_hosts), host=settings.worker_metrics_host)


async def run(
    settings: WorkerSettings,
    store_settings: StoreSettings,
    stop: asyncio.Event,
    *,
    hurry: asyncio.Event | None = None,
    providers: Mapping[str, Provider] | None = None,
    reload: Reload | None = None,
) -> int:
    """Work until `stop` is set, then drain until it is done, its time is over or `hurry` is set; how many tasks of
    attempts did not end, see `leave`. `providers`: more of them, by name. `reload`: reads prices and keys again.
    SettingsInvalid: see `serve`, `equip` and `read_prices`."""
    registry = new_registry("worker")
    metrics = WorkerMetrics(registry)
    prices = OwnPrices(read_prices(settings.prices))
    known = equip(settings, providers or {}, prices)
    paths = routing(settings, known)
    stopped = asyncio.Event()
    redis = RedisMetrics(registry)
    opened = open_store(
        store_settings, client_name="presswork-worker", role=Role.WORKER, observer=redis.observe, routing=paths
    )
    async with (
        closing(known),
        opened as store,
        reported(redis.meter, **store_settings.profile),
    ):
        redis.show_quota(lambda: store.quota_exceeded)
        worker = Worker(settings, store, metrics, known, paths)
        app = _operations(settings, worker, store, registry)
        ops = asyncio.create_task(
            serve(
                app,
                host=settings.worker_metrics_host,
                port=settings.worker_metrics_port,
                stop=stopped,
                connections=METRICS_CONNECTIONS,
            )
        )
        working = asyncio.create_task(worker.run(stop, hurry))
        beside = [working]
        if reload is not None:
            beside.append(asyncio.create_task(reload.serve(settings, known, prices, store)))
        try:
            await asyncio.wait([ops, working], return_when=asyncio.FIRST_COMPLETED)
            if ops.done():
                ops.result()
            await working
        finally:
            stopped.set()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, ops, return_exceptions=True)
    return worker.stuck


def leave(stuck: int) -> None:
    """End the process here and now if tasks of attempts do not end: the event loop would wait for them without end."""
    if stuck:
        _log.error("stuck_tasks_left_behind", tasks=stuck)
        os._exit(0)
