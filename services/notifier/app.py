"""Composition root of the notifier: builds everything from settings and serves until it is asked to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar.types import ASGIApp
from prometheus_client import CollectorRegistry

from services.notifier.settings import NotifierSettings
from shared.http import access
from shared.http.health import ops_routes
from shared.http.organization_limits import STREAMS, InUse
from shared.http.problems import DRAINING, Problem
from shared.identity.authenticator import Authenticator
from shared.server.connections import capacity
from shared.server.metrics_port import metrics_apart
from shared.server.serve import application, serve
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.preflight.requirements import Role
from shared.streams.fair_shares import StreamQuotas
from shared.streams.routes import Streams
from shared.streams.serving import Serving
from shared.streams.sse import WithTransport
from shared.streams.subscription import Hub
from shared.telemetry.command_budget import RedisMetrics, reported
from shared.telemetry.metrics import LimitMetrics, StreamMetrics, new_registry

REQUESTS = 100
"""Connections besides the streams: health, metrics, and requests that are refused for too many streams."""

GRACE_SECONDS = 2
"""Time for other responses after SIGTERM, in s; the streams end by themselves before that."""


def _application(
    settings: NotifierSettings,
    store: JobStore,
    hub: Hub,
    *,
    authenticator: Authenticator,
    metrics: StreamMetrics,
    registry: CollectorRegistry,
) -> ASGIApp:
    async def ready() -> None:
        if hub.draining:
            raise Problem(DRAINING)
        await store.ping()

    async def live() -> bool:
        return True  # its reader was served by the loop that serves the streams

    quotas = StreamQuotas(store, settings.organization_streams)
    open_streams = InUse(STREAMS, quotas, LimitMetrics(registry).refusals)
    serving = Serving(store, hub, authenticator, metrics, settings, open_streams=open_streams, quotas=quotas)
    shown = registry if settings.metrics_port is None else None
    handlers = [Streams(store, serving, authenticator).route(), *ops_routes(ready=ready, live=live, registry=shown)]
    return WithTransport(application(handlers, settings, host=settings.notifier_host))


def _streams(wanted: int) -> int:
    """Most streams at once: each is an open file."""
    return min(wanted, max(1, capacity(wanted + REQUESTS) - REQUESTS))


@asynccontextmanager
async def open_app(settings: NotifierSettings, store_settings: StoreSettings) -> AsyncIterator[tuple[ASGIApp, Hub]]:
    """The application and the hub that ends its streams, for the length of the block. SettingsInvalid."""
    registry = new_registry("notifier")
    authenticator = Authenticator(settings, host=settings.notifier_host, registry=registry)
    access.check(settings, host=settings.notifier_host)
    metrics = StreamMetrics(registry)
    hub = Hub(_streams(settings.notifier_max_connections), metrics)
    redis = RedisMetrics(registry)
    opened = open_store(store_settings, client_name="presswork-notifier", role=Role.NOTIFIER, observer=redis.observe)

    async with (
        opened as store,
        authenticator.knowing(store, writes=False),
        metrics_apart(settings, registry),
        reported(redis.meter, **store_settings.profile),
    ):
        redis.show_quota(lambda: store.quota_exceeded)
        yield _application(settings, store, hub, authenticator=authenticator, metrics=metrics, registry=registry), hub


async def run(settings: NotifierSettings, store_settings: StoreSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then end all streams within a second. SettingsInvalid, RuntimeError: see `serve`."""
    async with open_app(settings, store_settings) as (app, hub):

        async def drain() -> None:
            await stop.wait()
            await hub.drain()

        draining = asyncio.create_task(drain(), name="drain")
        try:
            await serve(
                app,
                host=settings.notifier_host,
                port=settings.notifier_port,
                stop=stop,
                grace_seconds=GRACE_SECONDS,
                connections=settings.notifier_max_connections + REQUESTS,
            )
        finally:
            draining.cancel()
