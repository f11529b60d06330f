"""Builds the gateway from its settings and runs it: the one place where its parts meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from litestar import Router
from litestar.types import ASGIApp, ControllerRouterHandler

from services.gateway.docs.openapi import document
from services.gateway.docs.page import ApiDocument, docs_routes
from services.gateway.jobs.links import Links
from services.gateway.jobs.routes import Jobs
from services.gateway.jobs.usage import UsageReport
from services.gateway.settings import GatewaySettings
from services.gateway.stats.gauges import QueueGauges
from services.gateway.stats.stats_cache import FRUGAL_KEPT_S, Readings
from services.gateway.submit.admission import Admission
from services.gateway.submit.new_jobs import JobMaker
from services.gateway.submit.routes import Intake
from services.gateway.waiting.awaited_jobs import Expected
from shared.http import access
from shared.http.auth import Authenticator
from shared.http.health import ops_routes
from shared.http.problems import DRAINING, Problem
from shared.server import serve
from shared.server.connections import capacity
from shared.settings import StoreSettings, read, read_store
from shared.store.connection import select_transport
from shared.store.job_store import JobStore, open_store
from shared.store.preflight.requirements import Role
from shared.store.routing import Routing
from shared.streams.hub import Hub
from shared.streams.response import WithTransport
from shared.streams.routes import Streams
from shared.telemetry import logs
from shared.telemetry.command_budget import reported
from shared.telemetry.metrics import QueueMetrics, RedisMetrics, StreamMetrics, SubmitMetrics, new_registry


@asynccontextmanager
async def open_app(
    settings: GatewaySettings, mapping: Mapping[str, str], stop: asyncio.Event
) -> AsyncIterator[ASGIApp]:
    """The application, for the length of the block. `stop` ends waiting calls; SettingsInvalid for a bad setting."""
    authenticator = Authenticator(
        settings.api_tokens, host=settings.gateway_host, allow_anonymous=settings.allow_anonymous
    )
    access.check(settings, host=settings.gateway_host)
    links, maker = Links(settings.public_events_url), JobMaker(settings)
    registry = new_registry("gateway")
    submitted, redis = SubmitMetrics(registry), RedisMetrics(registry)
    api = document(settings.models, settings.public_events_url, authenticated=authenticator.required)
    store_settings = await select_transport.settle(read_store(mapping), may_use_rest=True)
    opened = open_store(
        store_settings, client_name="presswork-gateway", role=Role.GATEWAY, observer=redis.observe,
        routing=Routing(chain=settings.chain),
    )  # fmt: skip
    async with opened as store:
        await store.check()
        redis.show_quota(lambda: store.quota_exceeded)
        readings = Readings(store.overview.stats, _kept_seconds(settings, store_settings))
        admission = Admission(store, readings, settings.max_queued_jobs)
        gauges = QueueGauges(store, readings, QueueMetrics(registry))
        expected = Expected(store)
        intake = Intake(expected, maker, admission, submitted, links)
        jobs = Jobs(
            store, readings=readings, admission=admission, maker=maker, expected=expected, metrics=submitted,
            links=links, stop=stop, meter=redis.meter,
        )  # fmt: skip
        handlers = [*intake.routes(), *jobs.routes(), *UsageReport(store).routes()]
        routers: list[ControllerRouterHandler] = [
            Router("/api/ai", route_handlers=handlers, middleware=[authenticator.middleware]),
            *ops_routes(ready=_ready(store, stop), live=_live, registry=registry, before_scrape=gauges.refresh),
            *docs_routes(ApiDocument(api)),
        ]
        hub = Hub(_streams(settings), stream_metrics := StreamMetrics(registry))
        routers.append(Streams(store, hub, authenticator, stream_metrics, settings).route())
        draining = asyncio.create_task(_drain(stop, hub), name="drain")
        try:
            async with reported(redis.meter, **store_settings.profile):
                yield WithTransport(serve.application(routers, settings, host=settings.gateway_host))
        finally:
            draining.cancel()
            await admission.aclose()


def _streams(settings: GatewaySettings) -> int:
    """How many event streams there may be: half of all connections, so that they never keep calls out."""
    return min(settings.notifier_max_connections, max(1, capacity(settings.gateway_max_connections) // 2))


async def _drain(stop: asyncio.Event, hub: Hub) -> None:
    await stop.wait()
    await hub.drain()


def _kept_seconds(settings: GatewaySettings, store: StoreSettings) -> float:
    if settings.stats_kept_seconds is not None:
        return settings.stats_kept_seconds
    return FRUGAL_KEPT_S if store.frugal else 0.0


def _ready(store: JobStore, stop: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def ready() -> None:
        if stop.is_set():
            raise Problem(DRAINING, retry_after=1)
        await store.ping()

    return ready


async def _live() -> bool:
    """The gateway has no loop that could be stuck without this answer being stuck too."""
    return True


async def run(mapping: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. SettingsInvalid with one line when something is set wrong."""
    settings = read(mapping, GatewaySettings)
    logs.configure("gateway", settings.log_level)
    stop = asyncio.Event()
    with serve.set_by_signals(stop):
        async with open_app(settings, mapping, stop) as app:
            await serve.serve(
                app,
                host=settings.gateway_host,
                port=settings.gateway_port,
                stop=stop,
                connections=settings.gateway_max_connections,
            )
