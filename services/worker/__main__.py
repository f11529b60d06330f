"""`python -m services.worker`: claims and runs jobs until SIGTERM, then drains; a second one ends the drain.

SIGHUP: prices and keys are read again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial

import structlog

from services.worker import app
from services.worker.providers.settings import unused_servers
from services.worker.reload import Reload
from services.worker.settings import read_worker
from shared.server.serve import SIGNALS, run
from shared.setting_values import read
from shared.settings import read_store
from shared.store.connection import select_transport
from shared.telemetry import logs
from shared.tracing.settings import TracingSettings


async def main() -> None:
    """Read the environment once and work until SIGTERM or SIGINT."""
    stop, stop_now = asyncio.Event(), asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, partial(_signalled, stop, stop_now))
    reload = Reload(partial(read_worker, os.environ))
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload.wanted.set)
    settings = read_worker(os.environ)
    logs.configure("worker", settings.log_level)
    for name in unused_servers(os.environ, settings.chain):
        structlog.get_logger(__name__).warning("provider_unused", settings=f"PROVIDER_{name}_…")
    tracing = read(os.environ, TracingSettings)
    store_settings = await select_transport.select(read_store(os.environ), may_use_rest=False)
    app.leave(await app.run(settings, store_settings, stop, stop_now=stop_now, reload=reload, tracing=tracing))


def _signalled(stop: asyncio.Event, stop_now: asyncio.Event) -> None:
    (stop_now if stop.is_set() else stop).set()


if __name__ == "__main__":
    sys.exit(run("worker", main()))
