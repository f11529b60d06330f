"""The real services on a cluster and behind sentinels: a fail-over under load, and a killed worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.topologies.conftest import RUNNING
from tests.topologies.load import Load, services_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


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
