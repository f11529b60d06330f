"""Builds the gateway from its settings and runs it: the one place where its parts meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from litestar import Router
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, ControllerRouterHandler

from services.gateway.admin.routes import admin_router
from services.gateway.console.routes import Console, is_served
from services.gateway.docs import document
from services.gateway.docs.openapi import OpenApiCall
from services.gateway.docs.page import page_routes
from services.gateway.http.refusals import FRUGAL_WRITE_S, WRITE_S, RefusalCounts
from services.gateway.routers import Calls, described
from services.gateway.settings import GatewaySettings
from services.gateway.stats.gauges import QueueGauges
from shared.http import access
from shared.http.health import ops_routes
from shared.http.problems import DRAINING, Problem
from shared.identity.authenticator import Authenticator
from shared.server import serve
from shared.server.connections import capacity
from shared.server.metrics_port import metrics_apart
from shared.setting_values import read
from shared.settings import StoreSettings, read_store
from shared.store.connection import select_transport
from shared.store.job_store import JobStore, open_store
from shared.store.preflight.requirements import Role
from shared.store.routing import Routing
from shared.streams.routes import Streams
from shared.streams.serving import Serving
from shared.streams.sse import WithTransport
from shared.streams.subscription import Hub
from shared.telemetry import logs
from shared.telemetry.command_budget import RedisMetrics, reported
from shared.telemetry.metrics import QueueMetrics, StreamMetrics, new_registry
from shared.tracing.opening import open_tracer
from shared.tracing.settings import TracingSettings
from shared.tracing.spans import Tracer


@asynccontextmanager
async def open_app(
    settings: GatewaySettings, mapping: Mapping[str, str], stop: asyncio.Event
) -> AsyncIterator[ASGIApp]:
    """The application, for the length of the block. `stop` ends waiting calls; SettingsInvalid for a bad setting."""
    registry = new_registry("gateway")
    authenticator = Authenticator(settings, host=settings.gateway_host, registry=registry)
    access.check(settings, host=settings.gateway_host)
    console = is_served(settings, authenticator)
    redis = RedisMetrics(registry)
    store_settings = await select_transport.select(read_store(mapping), may_use_rest=True)

    async with (
        open_tracer(read(mapping, TracingSettings), "gateway") as tracer,
        _opened(store_settings, settings.chain, redis, tracer) as store,
        authenticator.knowing(store, writes=True, sessions=console) as signer,
    ):
        await store.check()
        redis.show_quota(lambda: store.quota_exceeded)
        refusals = RefusalCounts(store.refusal_trail, write_s=FRUGAL_WRITE_S if store_settings.frugal else WRITE_S)
        calls = Calls(
            store, settings, authenticator=authenticator, signer=signer, registry=registry, meter=redis.meter,
            refusals=refusals, stop=stop,
        )  # fmt: skip

        gauges = QueueGauges(store, calls.stats, QueueMetrics(registry))
        hub = Hub(_streams(settings), stream_metrics := StreamMetrics(registry))
        shown = registry if settings.metrics_port is None else None
        ops = ops_routes(ready=_ready(store, stop), live=_live, registry=shown, before_scrape=gauges.refresh)

        admin = admin_router(store, settings, authenticator, calls.figures)
        routers = [
            *_described(calls, admin, ops, settings, secured=authenticator.required), *page_routes(),
            *_streamed(calls, calls.serving(hub, stream_metrics), store, authenticator, refusals),
            *Console(authenticator, store).routes(),
        ]  # fmt: skip

        scraped = metrics_apart(settings, registry, gauges.refresh)
        async with _drained(stop, hub, calls, refusals), scraped, reported(redis.meter, **store_settings.profile):
            yield WithTransport(serve.application(routers, settings, host=settings.gateway_host, noticed=refusals.note))


def _opened(
    settings: StoreSettings, chain: tuple[str, ...], redis: RedisMetrics, tracer: Tracer | None
) -> AbstractAsyncContextManager[JobStore]:
    """The gateway's store."""
    return open_store(
        settings, client_name="presswork-gateway", role=Role.GATEWAY, observer=redis.observe,
        routing=Routing(chain=chain), tracer=tracer,
    )  # fmt: skip


def _described(
    calls: Calls, admin: Router, ops: Sequence[HTTPRouteHandler], settings: GatewaySettings, *, secured: bool
) -> list[ControllerRouterHandler]:
    """The calls that answer with one document, and the document that describes all."""
    typed = calls.typed()
    api = OpenApiCall(lambda: document.generate([typed, admin, *described()], ops, settings.models, secured=secured))
    return [calls.raw(), typed, admin, *ops, api.route()]


def _streamed(
    calls: Calls, serving: Serving, store: JobStore, authenticator: Authenticator, refusals: RefusalCounts
) -> list[ControllerRouterHandler]:
    """The calls that answer with streams, those of a job's own events too."""
    return [Streams(store, serving, authenticator, refusals.note).route(), *calls.streamed(serving)]


@asynccontextmanager
async def _drained(stop: asyncio.Event, hub: Hub, calls: Calls, refusals: RefusalCounts) -> AsyncIterator[None]:
    """Drain the streams once `stop` is set; end admission, and write the refusals that were counted, with the block."""
    draining = asyncio.create_task(_drain(stop, hub), name="drain")
    try:
        yield
    finally:
        draining.cancel()
        await calls.admission.aclose()
        await refusals.aclose()


def _streams(settings: GatewaySettings) -> int:
    """Most event streams: half of all connections, so that they never keep calls out."""
    return min(settings.notifier_max_connections, max(1, capacity(settings.gateway_max_connections) // 2))


async def _drain(stop: asyncio.Event, hub: Hub) -> None:
    await stop.wait()
    await hub.drain()


def _ready(store: JobStore, stop: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def ready() -> None:
        if stop.is_set():
            raise Problem(DRAINING, retry_after=1)
        await store.ping()

    return ready


async def _live() -> bool:
    """Answer that the gateway is alive: it has no loop that could be stuck without this answer being stuck too."""
    return True


async def run(mapping: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. SettingsInvalid with one line for a bad setting."""
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
