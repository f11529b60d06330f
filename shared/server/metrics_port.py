"""Metrics on a port of their own, so that they are not where the world calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry

from shared.http.access import AccessSettings
from shared.http.health import MetricsSettings, metrics_route
from shared.server import serve

CONNECTIONS: Final = 16
"""Scrapers."""


@asynccontextmanager
async def metrics_apart(
    settings: MetricsSettings,
    registry: CollectorRegistry,
    before_scrape: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[None]:
    """Serve `/metrics` on METRICS_PORT, if there is one, for the length of the block.

    SettingsInvalid for an address that cannot be used.
    """
    if settings.metrics_port is None:
        yield
        return

    host, stop = settings.metrics_host, asyncio.Event()
    app = serve.application(
        [metrics_route(registry, before_scrape)], AccessSettings(allowed_hosts=settings.allowed_hosts), host=host
    )
    serving = asyncio.create_task(
        serve.serve(
            app, host=host, port=settings.metrics_port, stop=stop, calm_collector=False, connections=CONNECTIONS
        ),
        name="metrics",
    )

    try:
        await asyncio.sleep(0)  # an address that cannot be used is refused by now
        if serving.done():
            serving.result()
        yield
    finally:
        stop.set()
        await asyncio.wait([serving])
