"""Workers that are killed with many jobs, and jobs that kill workers, with real processes (I1, I2, I7)."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import pytest

from tests.e2e.conftest import StackMaker
from tests.support.checks import leaks
from tests.support.processes import ServiceProcess
from tests.support.stack import Stack

LEASE = 2.0
BUSY = 20.0
"""Time that a busy machine may add to a promised one, in s."""
POISON_WORKER = [sys.executable, "-m", "tests.support.poison_worker"]
pytestmark = pytest.mark.timeout(300)


async def test_all_jobs_of_a_killed_worker_run_again_at_once(stack: StackMaker, tmp_path: Path) -> None:
    """kill -9 of a worker with 40 running jobs, a survivor with 50 free slots: all run again within lease + 3 s, each
    with one end."""
    settings = {"LEASE_SECONDS": str(LEASE), "DEMO_TOKENS_PER_SECOND": "1"}
    async with stack(workers=1, **settings) as running:
        ids = await asyncio.gather(*(running.submit(number, parameters={"length": "medium"}) for number in range(40)))
        followers = [asyncio.create_task(running.follow(job_id)) for job_id in ids]
        await running.until_processing(40)
        environment = running.environment | {"DEMO_TOKENS_PER_SECOND": "0"}
        async with ServiceProcess("worker", environment, tmp_path / "survivor.log"):
            await asyncio.sleep(LEASE + 1.0)
            killed = time.time()
            await running.workers[0].kill()
            readings = await asyncio.gather(*followers)
        assert await leaks(running.server.url) == []
    assert [reading.problems() for reading in readings if reading.problems()] == []
    assert {reading.kinds[-1] for reading in readings} == {"completed"}
    starts = [[data["startedAt"] for _, kind, data in one.events if kind == "processing"] for one in readings]
    assert {len(one) for one in starts} == {2}
    assert max(datetime.fromisoformat(one[1]).timestamp() for one in starts) - killed < LEASE + 3.0 + BUSY


async def _unfinished(running: Stack) -> int:
    stats = await running.stats()
    return stats["queued"] + stats["processing"]


async def _work_through(running: Stack, workers: list[ServiceProcess]) -> int:
    """Restart each worker whenever it dies until all jobs ended; answers how many died."""
    deaths = 0
    for worker in workers:
        worker.start()
    while await _unfinished(running):
        for worker in workers:
            if worker.process.poll() is not None:
                deaths += 1
                worker.start()
        await asyncio.sleep(0.05)
    return deaths


async def test_poison_fails_and_its_neighbours_complete(stack: StackMaker, tmp_path: Path) -> None:
    """Jobs that kill their worker each time end as WorkerLost within two minutes; the others all complete (I7)."""
    poisonous = 3
    async with stack(workers=0, LEASE_SECONDS="1") as running, AsyncExitStack() as ending:
        bodies = [{"prompt": "poison" if number < poisonous else "harmless"} for number in range(30)]
        ids = await asyncio.gather(*(running.submit(number, **body) for number, body in enumerate(bodies)))
        fleet = [
            ServiceProcess("worker", running.environment, tmp_path / f"poison-{i}.log", command=POISON_WORKER)
            for i in range(3)
        ]
        for worker in fleet:
            ending.push_async_callback(worker.kill)
        async with asyncio.timeout(120):
            deaths = await _work_through(running, fleet)
        statuses = [await running.end(job_id) for job_id in ids]
        assert await leaks(running.server.url) == []
    assert {status["error"]["type"] for status in statuses[:poisonous]} == {"WorkerLost"}
    assert {status["status"] for status in statuses[poisonous:]} == {"completed"}
    assert deaths <= 4 * poisonous
