"""Workers and servers that die or stand still, from the outside (I1, I4, I6)."""

from __future__ import annotations

import asyncio
import signal
import time
from datetime import datetime

import pytest

from tests.e2e.conftest import StackMaker
from tests.support.checks import leaks

LEASE = 2.0
BUSY = 20.0
"""Time that a busy machine may add to a promised one, in s."""
pytestmark = pytest.mark.timeout(300)


def _starts(kinds: list[str]) -> int:
    return kinds.count("processing")


async def test_a_killed_workers_job_is_completed_by_another(stack: StackMaker) -> None:
    """kill -9 in mid-job, a second worker idle: that one starts again within lease + 2 s; one end, exactly once."""
    async with stack(workers=2, LEASE_SECONDS=str(LEASE), DEMO_TOKENS_PER_SECOND="100") as running:
        job_id = await running.submit(1)
        follower = asyncio.create_task(running.follow(job_id))
        victim = await running.busy_worker()
        killed = time.time()
        await victim.kill()
        reading = await follower
        assert await leaks(running.server.url) == []
    kinds = reading.kinds
    assert reading.problems() == []
    assert (kinds.count("completed"), _starts(kinds)) == (1, 2)
    assert [data["reason"] for _, kind, data in reading.events if kind == "retrying"] == ["worker_lost"]
    starts = [data["startedAt"] for _, kind, data in reading.events if kind == "processing"]
    assert datetime.fromisoformat(starts[1]).timestamp() - killed < LEASE + 2.0 + BUSY


async def test_a_long_job_on_a_healthy_worker_is_never_redelivered(stack: StackMaker) -> None:
    """A job that runs for five leases starts once, although another worker looks on."""
    async with stack(workers=2, LEASE_SECONDS="1", DEMO_TOKENS_PER_SECOND="40") as running:
        reading = await running.follow(await running.submit(1))
    kinds = reading.kinds
    assert (kinds[-1], _starts(kinds)) == ("completed", 1)


@pytest.mark.parametrize("fault", ["paused", "restarted"])
async def test_no_job_is_redelivered_when_the_server_stood_still(stack: StackMaker, fault: str) -> None:
    """The server stops, or is killed and comes back after two leases, under 50 running jobs: each starts once (I6)."""
    settings = {"LEASE_SECONDS": str(LEASE), "DEMO_TOKENS_PER_SECOND": "30", "WORKER_CONCURRENCY": "30"}
    async with stack(workers=2, **settings) as running:
        ids = await asyncio.gather(*(running.submit(number) for number in range(50)))
        followers = [asyncio.create_task(running.follow(job_id)) for job_id in ids]
        await running.until_processing(50)
        await asyncio.to_thread(running.server.pause if fault == "paused" else running.server.kill)
        await asyncio.sleep(2 * LEASE)
        await asyncio.to_thread(running.server.resume if fault == "paused" else running.server.start)
        readings = await asyncio.gather(*followers)
        stats = await running.stats()
    assert [reading.problems() for reading in readings if reading.problems()] == []
    assert {_starts(reading.kinds) for reading in readings} == {1}
    assert stats["completed"] == 50


async def test_a_stopped_workers_jobs_are_taken_over_and_it_is_refused(stack: StackMaker) -> None:
    """A worker that stood still for two leases lost its jobs; what it still writes changes nothing (I4)."""
    async with stack(workers=2, LEASE_SECONDS=str(LEASE), DEMO_TOKENS_PER_SECOND="80") as running:
        ids = await asyncio.gather(*(running.submit(number) for number in range(5)))
        followers = [asyncio.create_task(running.follow(job_id)) for job_id in ids]
        await running.until_processing(5)
        stopped = await running.busy_worker()
        stopped.signal(signal.SIGSTOP)
        await asyncio.sleep(2 * LEASE)
        stopped.signal(signal.SIGCONT)
        readings = await asyncio.gather(*followers)
        stats = await running.stats()
        assert await leaks(running.server.url) == []
    assert [reading.problems() for reading in readings if reading.problems()] == []
    assert stats["completed"] == 5


async def test_everything_goes_on_after_a_restart_of_the_server(stack: StackMaker) -> None:
    """Workers and streams survive a restart of the server: within 5 s new work runs, without a restart of a service."""
    async with stack(workers=1, LEASE_SECONDS=str(LEASE), DEMO_TOKENS_PER_SECOND="40") as running:
        job_id = await running.submit(1)
        follower = asyncio.create_task(running.follow(job_id))
        await running.busy_worker()
        await asyncio.to_thread(running.server.kill)
        await asyncio.to_thread(running.server.start)
        began = time.monotonic()
        short = await running.submit(2, parameters={"length": "short"})
        assert (await running.end(short))["status"] == "completed"
        assert time.monotonic() - began < 5.0 + BUSY
        reading = await follower
    assert reading.problems() == []
    assert reading.events[-1][1] == "completed"


async def test_a_drained_worker_releases_its_jobs_without_an_attempt(stack: StackMaker) -> None:
    """SIGTERM: the worker ends with status 0 within its drain, another one completes the job as its first attempt."""
    settings = {"LEASE_SECONDS": "15", "DRAIN_SECONDS": "0.5", "DEMO_TOKENS_PER_SECOND": "50"}
    async with stack(workers=2, **settings) as running:
        job_id = await running.submit(1)
        follower = asyncio.create_task(running.follow(job_id))
        leaving = await running.busy_worker()
        began = time.monotonic()
        status = await leaving.stop()
        assert (status, time.monotonic() - began < 2.5 + BUSY) == (0, True)
        reading = await follower
        end = await running.end(job_id)
    assert [data["reason"] for _, kind, data in reading.events if kind == "retrying"] == ["drain"]
    assert (end["status"], end["attempt"]) == ("completed", 1)
