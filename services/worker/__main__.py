"""`python -m services.worker`: claims and runs jobs until SIGTERM, then drains."""

from __future__ import annotations

import asyncio
import os
import sys

from services.worker import app
from services.worker.settings import WorkerSettings
from shared.errors import SettingsInvalid
from shared.http.server import run, set_by_signals
from shared.settings import read, read_store
from shared.telemetry import logs


async def main() -> None:
    """Read the environment once and work until SIGTERM or SIGINT."""
    settings = read(os.environ, WorkerSettings)
    logs.configure("worker", settings.log_level)
    stop = asyncio.Event()
    with set_by_signals(stop):
        await app.run(settings, read_store(os.environ), stop)


if __name__ == "__main__":
    try:
        run(main())
    except SettingsInvalid as error:
        sys.exit(f"worker: {error}")
