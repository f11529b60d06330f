"""`python -m services.notifier`: the event streams as a service of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys

from services.notifier import app
from services.notifier.settings import NotifierSettings
from shared.http.server import run, set_by_signals
from shared.settings import read, read_store
from shared.store import choice
from shared.telemetry import logs


def _raise_file_limit() -> None:
    """Every stream is an open file, and many systems allow a process 1,024 of them unless it asks for more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def main() -> None:
    """Read the environment once and serve until SIGTERM or SIGINT."""
    settings = read(os.environ, NotifierSettings)
    logs.configure("notifier", settings.log_level)
    with contextlib.suppress(ValueError, OSError):
        _raise_file_limit()
    stop = asyncio.Event()
    with set_by_signals(stop):
        await app.run(settings, await choice.settle(read_store(os.environ), may_use_rest=False), stop)


if __name__ == "__main__":
    sys.exit(run("notifier", main()))
