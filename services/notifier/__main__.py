"""`python -m services.notifier`: the event streams as a service of its own."""

from __future__ import annotations

import asyncio
import os
import sys

from services.notifier import app
from services.notifier.settings import NotifierSettings
from shared.server.serve import run, set_by_signals
from shared.setting_values import read
from shared.settings import read_store
from shared.store.connection import select_transport
from shared.telemetry import logs


async def main() -> None:
    """Read the environment once and serve until SIGTERM or SIGINT."""
    settings = read(os.environ, NotifierSettings)
    logs.configure("notifier", settings.log_level)
    stop = asyncio.Event()
    with set_by_signals(stop):
        await app.run(settings, await select_transport.select(read_store(os.environ), may_use_rest=False), stop)


if __name__ == "__main__":
    sys.exit(run("notifier", main()))
