"""Builds the gateway from its settings and runs it: the one place where its parts meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from litestar import Router
from litestar.types import ASGIApp, ControllerRouterHandler
from prometheus_client import CollectorRegistry

from services.gateway.admin.routes import admin_router
from services.gateway.docs import document
from services.gateway.docs.openapi import OpenApiCall
from services.gateway.docs.page import page_routes
from services.gateway.http.bodies import Posts
from services.gateway.http.responses import Links
from services.gateway.jobs.cancel import CancelCall
from services.gateway.jobs.delete import DeleteCall
from services.gateway.jobs.event_tickets import EventTicketsCall
from services.gateway.jobs.finder import JobFinder
from services.gateway.jobs.listing import ListingCall
from services.gateway.jobs.retry import RetryCall
from services.gateway.jobs.status import StatusCall
from services.gateway.jobs.usage import UsageCall
from services.gateway.settings import GatewaySettings
from services.gateway.stats.gauges import QueueGauges
from services.gateway.stats.queue_stats import QueueStatsCall
from services.gateway.stats.stats_cache import FRUGAL_KEPT_S, StatsCache
from services.gateway.submit.admission import Admission
from services.gateway.submit.batch import BatchCall
from services.gateway.submit.new_jobs import JobMaker
from services.gateway.submit.single import SubmitCall
from services.gateway.waiting.awaited_jobs import AwaitedJobs
from shared.http import access
from shared.http.health import NO_STORE, ops_routes
from shared.http.organization_limits import BODY_BYTES, LONG_POLLS, STREAMS, InUse
from shared.http.problems import DRAINING, Problem
from shared.identity.authenticator import Authenticator
from shared.server import serve
from shared.server.connections import capacity
from shared.server.metrics_port import metrics_apart
from shared.settings import StoreSettings, read, read_store
from shared.store.connection import select_transport
from shared.store.job_store import JobStore, open_store
from shared.store.preflight.requirements import Role
from shared.store.routing import Routing
from shared.streams.routes import Streams
from shared.streams.sse import WithTransport
from shared.streams.subscription import Hub
from shared.telemetry import logs
from shared.telemetry.command_budget import RedisMetrics, reported
from shared.telemetry.metrics import LimitMetrics, QueueMetrics, StreamMetrics, SubmitMetrics, new_registry


@asynccontextmanager
async def open_app(
    settings: GatewaySettings, mapping: Mapping[str, str], stop: asyncio.Event
) -> AsyncIterator[ASGIApp]:
    """The application, for the length of the block. `stop` ends waiting calls; SettingsInvalid for a bad setting."""
    registry = new_registry("gateway")
    authenticator = Authenticator(settings, host=settings.gateway_host, registry=registry)
    access.check(settings, host=settings.gateway_host)
    links, maker = Links(settings.public_events_url), JobMaker(settings)
    redis = RedisMetrics(registry)
    store_settings = await select_transport.select(read_store(mapping), may_use_rest=True)
    opened = open_store(
        store_settings, client_name="presswork-gateway", role=Role.GATEWAY, observer=redis.observe,
        routing=Routing(chain=settings.chain),
    )  # fmt: skip

    async with opened as store, authenticator.knowing(store, writes=True) as signer:
        await store.check()
        redis.show_quota(lambda: store.quota_exceeded)
        stats = StatsCache(store.queries.stats, _kept_seconds(settings, store_settings))
        admission = Admission(store, stats, settings.max_queued_jobs)
        awaited, finder = AwaitedJobs(store), JobFinder(store)
        submits = SubmitMetrics(registry)

        streams, polls, bodies = _in_use(settings, registry)
        posts = Posts(authenticator, submits.refused, bodies)
        submit = awaited.submit if store_settings.frugal else store.submit
        single = SubmitCall(
            posts, maker=maker, admission=admission, submit=submit, metrics=submits, links=links, signer=signer
        )
        raw = Router(
            document.API,
            route_handlers=[single.route(), BatchCall(single, posts, maker, admission, submits).route()],
        )
        cancel = CancelCall(store, finder, stop)
        typed = Router(
            document.API,
            route_handlers=[
                StatusCall(store, finder, awaited, stop, polls).route(),
                ListingCall(store).route(),
                QueueStatsCall(stats, redis.meter).route(),
                UsageCall(store).route(),
                cancel.route(),
                DeleteCall(store, finder, cancel).route(),
                RetryCall(
                    store, finder, maker=maker, admission=admission, metrics=submits, links=links, signer=signer
                ).route(),
                EventTicketsCall(finder, signer, links, organization_events=store_settings.organization_events).route(),
            ],
            dependencies={"identity": authenticator.provide()},
            response_headers=[NO_STORE],
            tags=["jobs"],
        )
        admin = admin_router(store, authenticator)
        gauges = QueueGauges(store, stats, QueueMetrics(registry))
        shown = registry if settings.metrics_port is None else None
        ops = ops_routes(ready=_ready(store, stop), live=_live, registry=shown, before_scrape=gauges.refresh)
        api = document.generate(
            [typed, admin], ops, settings.models, settings.public_events_url, secured=authenticator.required
        )

        hub = Hub(_streams(settings), stream_metrics := StreamMetrics(registry))
        routers: list[ControllerRouterHandler] = [
            raw,
            typed,
            admin,
            *ops,
            OpenApiCall(api).route(),
            *page_routes(),
            Streams(store, hub, authenticator, stream_metrics, settings, open_streams=streams).route(),
        ]
        draining = asyncio.create_task(_drain(stop, hub), name="drain")
        try:
            async with (
                metrics_apart(settings, registry, gauges.refresh),
                reported(redis.meter, **store_settings.profile),
            ):
                yield WithTransport(serve.application(routers, settings, host=settings.gateway_host))
        finally:
            draining.cancel()
            await admission.aclose()


def _in_use(settings: GatewaySettings, registry: CollectorRegistry) -> tuple[InUse, InUse, InUse]:
    """Streams, long polls and bytes of bodies of each organisation, with their limits."""
    refusals = LimitMetrics(registry).refusals
    return (
        InUse(STREAMS, lambda _: settings.organization_streams, refusals),
        InUse(LONG_POLLS, lambda _: settings.organization_long_polls, refusals),
        InUse(BODY_BYTES, lambda _: settings.organization_body_bytes, refusals),
    )


def _streams(settings: GatewaySettings) -> int:
    """Most event streams: half of all connections, so that they never keep calls out."""
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
