"""The routes every service has for its operator: liveness, readiness and metrics. They need no token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from litestar import HttpMethod, MediaType, Request, route
from litestar.datastructures import ResponseHeader
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CollectorRegistry

from shared.http.access import AccessSettings
from shared.http.error_responses import documented
from shared.http.problems import NOT_LIVE, Problem
from shared.settings import Port
from shared.telemetry.metrics import CONTENT_TYPE, exposition

READING: Final = [HttpMethod.GET, HttpMethod.HEAD]
_AnyRequest = Request[Any, Any, Any]
NO_STORE: Final = ResponseHeader(name="Cache-Control", value="no-store")


class MetricsSettings(AccessSettings, frozen=True, kw_only=True):
    """`metrics_port`: of `/metrics`; None: the service's own. `metrics_host`: address of that port."""

    metrics_host: str = "127.0.0.1"
    metrics_port: Port | None = None


class Health(msgspec.Struct, frozen=True):
    """The response of a health check: `live` or `ready`."""

    status: str


def _exactly(request: _AnyRequest) -> None:
    """Raise 404 for another spelling of a path: a proxy keeps these from the world by the name it knows."""
    raw = request.scope.get("raw_path")
    if raw and raw.decode("latin-1") != request.scope["path"]:
        raise NotFoundException


def ops_routes(
    *,
    ready: Callable[[], Awaitable[None]],
    live: Callable[[], Awaitable[bool]],
    registry: CollectorRegistry | None,
    before_scrape: Callable[[], Awaitable[None]] | None = None,
) -> list[HTTPRouteHandler]:
    """Routes `/health/live`, `/health/ready`, and `/metrics` unless `registry` is None: then it is elsewhere.

    `ready` raises the error that keeps the service from serving (StoreUnavailable: 503). `live` returns False when only
    a restart helps. `before_scrape` may refresh gauges; it must not raise.
    """

    @_reading("/health/live", "Whether a restart is of no use", 400, 503)
    async def health_live(request: _AnyRequest) -> Health:
        _exactly(request)
        if not await live():
            raise Problem(NOT_LIVE, retry_after=1)
        return Health("live")

    @_reading("/health/ready", "Whether Redis answers", 400, 503)
    async def health_ready(request: _AnyRequest) -> Health:
        _exactly(request)
        await ready()
        return Health("ready")

    routes = [health_live, health_ready]
    return routes if registry is None else [*routes, metrics_route(registry, before_scrape)]


def metrics_route(
    registry: CollectorRegistry, before_scrape: Callable[[], Awaitable[None]] | None = None
) -> HTTPRouteHandler:
    """`/metrics`."""

    @_reading("/metrics", "Figures for Prometheus", 400, media_type=CONTENT_TYPE)
    async def metrics(request: _AnyRequest) -> bytes:
        _exactly(request)
        if before_scrape is not None:
            await before_scrape()
        return exposition(registry)

    return metrics


def _reading(
    path: str, summary: str, *errors: int, media_type: str = MediaType.JSON
) -> Callable[[Any], HTTPRouteHandler]:
    return route(
        path,
        http_method=READING,
        status_code=200,
        media_type=media_type,
        response_headers=[NO_STORE],
        summary=summary,
        tags=["operation"],
        responses=documented(*errors),
    )
