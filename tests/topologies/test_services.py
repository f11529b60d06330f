"""The real services on a cluster and behind sentinels: the main job, a killed worker, a fail-over under load."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.topologies import Servers
from tests.topologies.conftest import RUNNING
from tests.topologies.load import Load, services_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


async def test_the_main_job_runs_and_survives_its_worker(servers: Servers, tmp_path: Path) -> None:
    """Submit, stream, status; then a worker is killed in mid-job and another one completes it, with one end."""
    async with services_on(servers, tmp_path, workers=2) as running:
        reading = await running.follow(await running.submit(1, parameters={"length": "short"}))
        status = await running.end(reading.job_id)
        assert reading.problems() == []
        assert status["result"] == "".join(data["text"] for _, kind, data in reading.events if kind == "delta")
        follower = asyncio.create_task(running.follow(await running.submit(2)))
        await (await running.busy_worker()).kill()
        second = await follower
        stats = await running.stats()
    assert second.problems() == []
    assert [data["reason"] for _, kind, data in second.events if kind == "retrying"] == ["worker_lost"]
    assert (stats["completed"], stats["queued"], stats["processing"]) == (2, 0, 0)


@pytest.mark.parametrize("kind", RUNNING)
async def test_no_confirmed_job_is_lost_by_a_fail_over_under_load(kind: str, tmp_path: Path) -> None:
    """Under 30 jobs/s the replicas are cut off for half a second, then master and worker are killed: the writes of
    that time are lost, and with DURABILITY=replicated every job that was answered with 202 still ends once."""
    async with (
        RUNNING[kind](tmp_path / "servers", replicas=2) as servers,
        services_on(servers, tmp_path, workers=2, DURABILITY="replicated") as running,
    ):
        report = await Load(servers, running, jobs=120, seconds=4.0, watched=120, cut_off_s=0.5).run()
    assert report.problems == []
    assert (report.lost, report.outcomes["completed"]) == (0, 120)
