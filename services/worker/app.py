"""Composition root of the worker: built from settings, served beside its health and metrics until it ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog
from litestar.types import ASGIApp
from prometheus_client import CollectorRegistry

from services.worker.providers import Provider
from services.worker.providers.pricing.price_file import OwnPrices, read_prices
from services.worker.providers.registry import build_providers, closing, routing
from services.worker.reload import Reload
from services.worker.settings import WorkerSettings
from services.worker.worker import Worker
from shared.http.access import AccessSettings
from shared.http.health import ops_routes
from shared.server.serve import application, serve
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.preflight.requirements import Role
from shared.telemetry.command_budget import RedisMetrics, reported
from shared.telemetry.metrics import WorkerMetrics, new_registry
from shared.tracing.opening import open_tracer
from shared.tracing.settings import TracingSettings

METRICS_CONNECTIONS: Final = 100
"""Of probes and scrapers: however many connect, the worker keeps its files for Redis and providers."""

_log: Final = structlog.get_logger(__name__)


def _operations(settings: WorkerSettings, worker: Worker, store: JobStore, registry: CollectorRegistry) -> ASGIApp:
    routes = ops_routes(ready=store.ping, live=worker.live, registry=registry)
    return application(routes, AccessSettings(allowed_hosts=settings.allowed_hosts), host=settings.worker_metrics_host)


async def _serve(settings: WorkerSettings, app: ASGIApp, stop: asyncio.Event) -> None:
    host, port = settings.worker_metrics_host, settings.worker_metrics_port
    await serve(app, host=host, port=port, stop=stop, connections=METRICS_CONNECTIONS)


async def run(
    settings: WorkerSettings,
    store_settings: StoreSettings,
    stop: asyncio.Event,
    *,
    stop_now: asyncio.Event | None = None,
    providers: Mapping[str, Provider] | None = None,
    reload: Reload | None = None,
    tracing: TracingSettings | None = None,
) -> int:
    """Work until `stop` is set, then drain until it is done, its time is over or `stop_now` is set; returns how many
    tasks of attempts did not end, see `leave`.

    `providers`: more of them, by name. `reload`: reads prices and keys again. `tracing`: None: off.
    SettingsInvalid: see `serve`, `build_providers` and `read_prices`.
    """
    registry = new_registry("worker")
    metrics, redis = WorkerMetrics(registry), RedisMetrics(registry)
    prices = OwnPrices(read_prices(settings.prices))
    known = build_providers(settings, providers or {}, prices)
    paths = routing(settings, known)
    opened = partial(
        open_store, store_settings, client_name="presswork-worker", role=Role.WORKER, observer=redis.observe,
        routing=paths,
    )  # fmt: skip

    async with (
        open_tracer(tracing or TracingSettings(), "worker") as tracer,
        closing(known),
        opened(tracer=tracer) as store,
        reported(redis.meter, **store_settings.profile),
    ):
        redis.show_quota(lambda: store.quota_exceeded)
        worker = Worker(settings, store, metrics, known, paths, tracer=tracer)
        served = asyncio.Event()
        serving = _serve(settings, _operations(settings, worker, store, registry), served)
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
