"""The drains that the manifests promise, by real processes with the manifests' own settings."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.deploy.manifests import Manifest, cloud_run, containers, environment
from tests.e2e.conftest import StackMaker

pytestmark = pytest.mark.timeout(120)

CLOUD_RUN_SECONDS = 10.0
"""Between SIGTERM and SIGKILL on Cloud Run."""


def _settings(manifest: Manifest) -> dict[str, str]:
    (container,) = containers(manifest)
    return {name: value for name, value in environment(container).items() if isinstance(value, str)}


async def test_a_full_worker_of_cloud_run_releases_everything_in_time(stack: StackMaker) -> None:
    """All 50 slots busy with jobs that take minutes: after SIGTERM it exits 0 within 10 s, every job waits
    again and has used no attempt, and another worker completes them."""
    settings = _settings(cloud_run()["worker"])
    jobs = int(settings["WORKER_CONCURRENCY"])
    async with stack(workers=1, DEMO_TOKENS_PER_SECOND="0.5", **settings) as running:
        ids = await asyncio.gather(*(running.submit(number) for number in range(jobs)))
        await running.until_processing(jobs)
        (worker,) = running.workers
        began = time.monotonic()
        assert await worker.stop() == 0
        took = time.monotonic() - began
        stats = await running.stats()
        statuses = [await running.client.get(f"{running.gateway.url}/api/ai/job-status?jobId={job}") for job in ids]
        assert float(settings["DRAIN_SECONDS"]) <= took < CLOUD_RUN_SECONDS - 1
        assert (stats["queued"], stats["processing"], stats["backlog"]) == (jobs, 0, jobs)
        assert {status.json()["attempt"] for status in statuses} == {0}
        worker.set(DEMO_TOKENS_PER_SECOND="0", DEMO_FIRST_TOKEN_MS="0")
        async with worker:
            ends = await asyncio.gather(*(running.end(job) for job in ids))
    assert {(end["status"], end["attempt"]) for end in ends} == {("completed", 1)}


async def test_an_idle_worker_of_cloud_run_leaves_at_once(stack: StackMaker) -> None:
    """Scaling in costs nothing when there is nothing to do: it sleeps until a wake-up and still ends before a drain
    would."""
    async with stack(workers=1, **_settings(cloud_run()["worker"])) as running:
        (worker,) = running.workers
        began = time.monotonic()
        assert await worker.stop() == 0
    assert time.monotonic() - began < 6
