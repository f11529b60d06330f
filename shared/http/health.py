"""The routes every service has for its operator: liveness, readiness and metrics. They need no token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar import HttpMethod, MediaType, Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CollectorRegistry

from shared.http.problems import NOT_LIVE, Problem
from shared.telemetry.metrics import CONTENT_TYPE, exposition

READING: Final = [HttpMethod.GET, HttpMethod.HEAD]
_AnyRequest = Request[Any, Any, Any]
_NO_STORE: Final = {"Cache-Control": "no-store"}


def _exactly(request: _AnyRequest) -> None:
    """Only these paths themselves, no other spelling: a proxy keeps them from the world by the name it knows."""
    raw = request.scope.get("raw_path")
    if raw and raw.decode("latin-1") != request.scope["path"]:
        raise NotFoundException


def ops_routes(
    *,
    ready: Callable[[], Awaitable[None]],
    live: Callable[[], Awaitable[bool]],
    registry: CollectorRegistry,
    before_scrape: Callable[[], Awaitable[None]] | None = None,
) -> list[HTTPRouteHandler]:
    """`/health/live`, `/health/ready` and `/metrics`.

    `ready` raises what keeps the service from serving (StoreUnavailable: 503). `live` answers False when only a restart
    helps. `before_scrape` may refresh gauges; it must not raise.
    """

    @route("/health/live", http_method=READING, media_type=MediaType.JSON)
    async def health_live(request: _AnyRequest) -> Response[dict[str, Any]]:
        _exactly(request)
        if not await live():
            raise Problem(NOT_LIVE, retry_after=1)
        return Response({"status": "live"}, headers=_NO_STORE)

    @route("/health/ready", http_method=READING, media_type=MediaType.JSON)
    async def health_ready(request: _AnyRequest) -> Response[dict[str, Any]]:
        _exactly(request)
        await ready()
        return Response({"status": "ready"}, headers=_NO_STORE)

    @route("/metrics", http_method=READING)
    async def metrics(request: _AnyRequest) -> Response[bytes]:
        _exactly(request)
        if before_scrape is not None:
            await before_scrape()
        return Response(exposition(registry), media_type=CONTENT_TYPE, headers=_NO_STORE)

    return [health_live, health_ready, metrics]
