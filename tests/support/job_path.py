"""Lists the Python files that one job runs through, from its POST to the last event of its stream: `python -m
tests.support.job_path`.

Gateway, worker and notifier run in this process, with the demo provider, as they run by themselves. A file counts when
a function of it runs for each of a few jobs, and not also while there is none: what loops do by the clock is no part of
a job.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import httpx

from services.worker import app as worker
from services.worker.settings import WorkerSettings
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.telemetry import logs
from tests.support.gateway import SUBMIT, body, running_gateway
from tests.support.notifier import running_notifier
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, free_port

JOBS: Final = 3
IDLE_S: Final = 1.5
OURS: Final = (f"{ROOT}/services/", f"{ROOT}/shared/")


@contextmanager
def _run_in(found: set[CodeType]) -> Iterator[None]:
    """Add each function of ours that runs in the block."""

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            found.add(frame.f_code)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


@asynccontextmanager
async def _working(redis_url: str) -> AsyncIterator[None]:
    stop = asyncio.Event()
    settings = WorkerSettings(
        providers="demo:demo", worker_metrics_port=free_port(), demo_first_token_ms=50, demo_tokens_per_second=400
    )
    task = asyncio.create_task(worker.run(settings, StoreSettings(redis_url=redis_url), stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def _run_job(gateway: httpx.AsyncClient, events: str, number: int) -> None:
    # Others for each job: briefs are kept.
    parameters = {"tone": "professional", "length": "short", "platform": "linkedin", "audience": f"group {number}"}
    accepted = (await gateway.post(SUBMIT, json=body(parameters=parameters))).raise_for_status().json()
    async with httpx.AsyncClient(verify=NO_TLS, timeout=30) as reader:
        text = (await reader.get(f"{events}?jobId={accepted['jobId']}")).text
    if "event: completed" not in text:
        raise RuntimeError("the job did not complete")


async def files(redis_url: str) -> list[str]:
    """Paths in the tree, in order. What only a first job does, such as loading a script, is left out."""
    times: Counter[str] = Counter()
    async with (
        running_gateway(redis_url) as gateway,
        running_notifier(StoreSettings(redis_url=redis_url)) as notifier,
        _working(redis_url),
    ):
        events, idle = f"{notifier.url}/api/ai/job-events", set[CodeType]()
        await _run_job(gateway, events, 0)
        with _run_in(idle):
            await asyncio.sleep(IDLE_S)
        for number in range(1, JOBS + 1):
            found = set[CodeType]()
            with _run_in(found):
                await _run_job(gateway, events, number)
            times.update({code.co_filename for code in found - idle})
    return sorted(str(Path(path).relative_to(ROOT)) for path, count in times.items() if count == JOBS)


def main() -> None:
    """Print the files, and how many they are."""
    logs.configure("job_path", "INFO")
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder), port=free_port()) as server:
        found = asyncio.run(files(server.url))
    logging.shutdown()
    print("\n".join([*found, f"{len(found)} files"]))


if __name__ == "__main__":
    main()
