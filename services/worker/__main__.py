"""`python -m services.worker`: claims and runs jobs until SIGTERM, then drains; a second one ends the drain."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial

from services.worker import app
from services.worker.settings import WorkerSettings
from shared.http.server import SIGNALS, run
from shared.settings import read, read_store
from shared.store import choice
from shared.telemetry import logs


async def main() -> None:
    """Read the environment once and work until SIGTERM or SIGINT."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, partial(_signalled, stop, hurry))
    settings = read(os.environ, WorkerSettings)
    logs.configure("worker", settings.log_level)
    store_settings = await choice.settle(read_store(os.environ), may_use_rest=False)
    app.leave(await app.run(settings, store_settings, stop, hurry=hurry))


def _signalled(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    (hurry if stop.is_set() else stop).set()


if __name__ == "__main__":
    sys.exit(run("worker", main()))
