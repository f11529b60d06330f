"""Makes a service's application and serves it with uvicorn until a stop event; signals set that event and cut no
response."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, Final

import structlog
import uvicorn
import uvloop
from litestar import Litestar
from litestar.types import ASGIApp, ControllerRouterHandler

from shared.errors import SettingsInvalid
from shared.http.access import Access, AccessSettings
from shared.http.error_responses import Noticed, exception_handlers
from shared.server.connections import Connections, capacity
from shared.server.http11 import Http
from shared.server.sockets import listen
from shared.telemetry import crashes, logs
from shared.telemetry.log_sink import occupy_closed_descriptors, say

KEEP_ALIVE_SECONDS: Final = 30
"""Seconds for which a connection without a request is kept."""

CONNECTIONS: Final = 10_000
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_log: Final = structlog.get_logger(__name__)


def run(name: str, main: Coroutine[Any, Any, None]) -> int:
    """Run a service's main coroutine on uvloop; the exit status: 0 after a clean stop, 2 with one line, which begins
    with `name`, for a bad setting. SIGHUP ends no service; one that handles it sets its own handler once it is up."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    occupy_closed_descriptors()
    logs.configure(name)  # as the settings say once they are read
    try:
        uvloop.run(_watched(main))
    except SettingsInvalid as error:
        say(sys.stderr, f"{name}: {error}")
        return 2
    return 0


async def _watched(main: Coroutine[Any, Any, None]) -> None:
    crashes.watch(asyncio.get_running_loop())
    await main


def application(
    handlers: Sequence[ControllerRouterHandler],
    access: AccessSettings | None = None,
    *,
    host: str = "127.0.0.1",
    noticed: Noticed | None = None,
) -> ASGIApp:
    """Make a service's application: every error is a problem document, and it writes no log and no document of its own.

    `access`: whom it admits, `host`: where it listens, `noticed`: gets the problems. SettingsInvalid for a combination
    that `access` cannot mean.
    """
    app = Litestar(handlers, exception_handlers=exception_handlers(noticed), openapi_config=None, logging_config=None)
    return Access(app, access or AccessSettings(), host=host)


@contextlib.contextmanager
def set_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` on SIGTERM and SIGINT for the length of the block, which is entered inside the running loop."""
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _calm_collector() -> None:
    """Keep objects that exist after the start out of the collector's way: they live as long as the process (p99 of 36
    ms became 12)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers (they make the exit status -15), and with a callback once it serves."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._on_started()


def _config(app: ASGIApp, grace_seconds: int, limit: int) -> uvicorn.Config:
    protocol: Any = partial(Http, connections_of_server=Connections(limit))
    return uvicorn.Config(
        app,
        http=protocol,
        interface="asgi3",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace_seconds,
    )


async def serve(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    stop: asyncio.Event,
    grace_seconds: int = 5,
    calm_collector: bool = True,
    connections: int = CONNECTIONS,
) -> None:
    """Serve until `stop` is set, then finish open responses for at most `grace_seconds` and return.

    Long responses should watch `stop` themselves. `connections`: the most there may be, fewer where the limit of open
    files leaves no room for them. SettingsInvalid when the address cannot be used, RuntimeError when the application's
    start-up failed.
    """
    limit, bound = capacity(connections), listen(host, port)

    def started() -> None:
        if calm_collector:
            _calm_collector()
        for held in bound:
            address = held.getsockname()
            _log.info("listening", host=address[0], port=address[1], connections=limit)

    server = _Server(_config(app, grace_seconds, limit), started)

    async def end() -> None:
        await stop.wait()
        server.should_exit = True

    watch = asyncio.create_task(end(), name="stop-serving")
    try:
        await server.serve(sockets=bound)
    finally:
        watch.cancel()
        for held in bound:
            held.close()
    if not stop.is_set():
        raise RuntimeError("the application did not start")
