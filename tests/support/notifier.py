"""The notifier inside the test's own event loop, behind a real port."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from services.notifier import app
from services.notifier.settings import NotifierSettings
from shared.settings import StoreSettings
from tests.support.plain import NO_TLS
from tests.support.processes import free_port


class RunningNotifier:
    """Its address; `events(job id)` is the address of a job's stream."""

    def __init__(self, url: str) -> None:
        self.url = url

    def events(self, job_id: str) -> str:
        """Address of a job's stream."""
        return f"{self.url}/api/ai/job-events?jobId={job_id}"

    async def connections(self) -> int:
        """Number of open streams, by its metric."""
        return int(await self.metric("presswork_sse_connections"))

    async def metric(self, name: str) -> float:
        """One value of /metrics; 0 when it is not there."""
        async with httpx.AsyncClient(verify=NO_TLS) as client:
            lines = (await client.get(f"{self.url}/metrics")).text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


@asynccontextmanager
async def running_notifier(store: StoreSettings, **settings: object) -> AsyncIterator[RunningNotifier]:
    """A notifier with these settings, until the end of the block."""
    port, stop, thresholds = free_port(), asyncio.Event(), gc.get_threshold()
    chosen = NotifierSettings(notifier_port=port, **settings)  # type: ignore[arg-type]  # settings of any type
    task = asyncio.create_task(app.run(chosen, store, stop))
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(verify=NO_TLS) as client, asyncio.timeout(10):
            while True:
                if task.done():
                    task.result()
                try:
                    await client.get(f"{url}/health/live")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.01)
        yield RunningNotifier(url)
    finally:
        stop.set()
        await task
        gc.unfreeze()
        gc.set_threshold(*thresholds)


async def first_event(client: httpx.AsyncClient, url: str) -> tuple[int, str]:
    """The status of a stream, and the first piece of it."""
    async with client.stream("GET", url) as stream, asyncio.timeout(15):
        async for piece in stream.aiter_text():
            return stream.status_code, piece
    return stream.status_code, ""
