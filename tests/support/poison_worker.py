"""The real worker with one more provider, whose jobs kill the process when their prompt says `poison`, and never end
when it says `deaf`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator

from services.worker import app
from services.worker.providers import Completion, GenerationRequest
from services.worker.settings import WorkerSettings
from shared.job import Usage
from shared.server.serve import run, set_by_signals
from shared.setting_values import read
from shared.settings import read_store


class Poison:
    """Runs for a moment, or does not survive it."""

    gated = False

    def cost(self, _: str, __: Usage) -> int:
        """See `Provider`."""
        return 0

    async def aclose(self) -> None:
        """See `Provider`."""

    async def stream(self, request: GenerationRequest) -> AsyncIterator[str | Completion]:
        """See `Provider`."""
        await asyncio.sleep(0.1)
        while "deaf" in request.prompt:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        if "poison" in request.prompt:
            await asyncio.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        yield "fine"
        yield Completion(usage=Usage(input_tokens=1, output_tokens=1), finish_reason="stop")


async def main() -> None:
    """As services/worker/__main__.py."""
    stop = asyncio.Event()
    with set_by_signals(stop):
        settings = read(os.environ, WorkerSettings, providers="poison:poison")
        app.leave(await app.run(settings, read_store(os.environ), stop, providers={"poison": Poison()}))


if __name__ == "__main__":
    sys.exit(run("worker", main()))
