"""Services and the server restarted under a client: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio

import pytest
from presswork_client import AsyncJob, AsyncPresswork

from tests.clients.python.reading import PROMPT, reading_of
from tests.e2e.conftest import StackMaker
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(300)

JOBS = 30


async def _restart(running: Stack, part: str) -> None:
    if part == "server":
        await asyncio.to_thread(running.server.kill)
        await asyncio.to_thread(running.server.start)
        return
    await running.gateway.kill()
    running.gateway.start()
    await running.gateway.ready()


@pytest.mark.parametrize("part", ["gateway", "server"])
async def test_a_restart_loses_nothing_and_makes_nothing_twice(stack: StackMaker, part: str) -> None:
    """Killed and started again under 30 submits and as many streams: 30 jobs, each read whole, once."""

    async def one(client: AsyncPresswork, number: int) -> tuple[AsyncJob, list[str]]:
        await asyncio.sleep(number * 0.05)
        job = await client.submit(f"{PROMPT} {number}", length="medium")
        reading = reading_of(job.id, [event async for event in job.events()])
        result = await job.result()
        return job, [*reading.problems(), *([] if result.text == reading.events[-1][2]["result"] else ["other text"])]

    # Long texts with few tokens a second: the restart meets jobs that wait, that run and that are not submitted yet.
    async with stack(DEMO_TOKENS_PER_SECOND="40", LEASE_SECONDS="2") as running:
        async with AsyncPresswork(running.gateway.url, patience=120) as client:
            ends = [asyncio.create_task(one(client, number)) for number in range(JOBS)]
            await running.until_processing(JOBS // 4)
            await _restart(running, part)
            found = await asyncio.gather(*ends)
        stats = await running.stats()

    assert [problems for _, problems in found if problems] == []
    assert len({job.id for job, _ in found}) == JOBS
    assert stats["completed"] == JOBS == sum(stats[name] for name in ("queued", "processing", "completed", "failed"))
