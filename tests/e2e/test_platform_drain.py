"""The drains that the manifests promise, by real processes with the manifests' own settings."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.deploy.manifests import Manifest, cloud_run, containers, environment
from tests.e2e.conftest import StackMaker
from tests.support.processes import ServiceProcess

pytestmark = pytest.mark.timeout(300)

CLOUD_RUN_SECONDS = 10.0
"""Between SIGTERM and SIGKILL on Cloud Run."""


def _settings(manifest: Manifest) -> dict[str, str]:
    (container,) = containers(manifest)
    return {name: value for name, value in environment(container).items() if isinstance(value, str)}


async def test_a_worker_of_cloud_run_leaves_in_time(stack: StackMaker) -> None:
    """Idle, asleep until it is woken, it drains nothing. With all 50 slots busy with jobs that take minutes it exits 0
    within 10 s, every job waits again and has used no attempt, and another worker completes them."""
    settings = _settings(cloud_run()["worker"])
    drain_s, jobs = float(settings["DRAIN_SECONDS"]), int(settings["WORKER_CONCURRENCY"])
    async with stack(workers=1, DEMO_TOKENS_PER_SECOND="0.5", **settings) as running:
        (worker,) = running.workers
        idle_s = await _stopped(worker)

        async with worker:
            ids = await asyncio.gather(*(running.submit(number) for number in range(jobs)))
            await running.until_processing(jobs, 60.0)
            took_s = await _stopped(worker)
        stats = await running.stats()
        statuses = [await running.client.get(f"{running.gateway.url}/api/ai/job-status?jobId={job}") for job in ids]
        assert took_s - idle_s > drain_s / 2
        # What leaving takes beside the drain is measured on this machine, and a quiet one has three seconds for it.
        assert drain_s <= took_s < CLOUD_RUN_SECONDS - 1 + 10 * idle_s
        assert (stats["queued"], stats["processing"], stats["backlog"]) == (jobs, 0, jobs)
        assert {status.json()["attempt"] for status in statuses} == {0}

        worker.set(DEMO_TOKENS_PER_SECOND="0", DEMO_FIRST_TOKEN_MS="0")
        async with worker:
            ends = await asyncio.gather(*(running.end(job) for job in ids))
    assert {(end["status"], end["attempt"]) for end in ends} == {("completed", 1)}


async def _stopped(worker: ServiceProcess) -> float:
    """Stop a worker; the seconds that it took to leave."""
    began = time.monotonic()
    assert await worker.stop(60.0) == 0
    return time.monotonic() - began
