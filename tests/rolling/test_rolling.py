"""A short release for every change; `make rolling` is the long one under full load."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rolling.driver import REPLICAS, Plan, Release


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_nobody_notices_that_every_service_is_restarted(tmp_path: Path) -> None:
    """Each replica is restarted under load: a retry mends every request, no event and no job is lost."""
    plan = Plan(jobs_per_second=15.0, readers=60, calm_seconds=0.5)
    report = await Release(plan, tmp_path, say=lambda _: None).run()
    assert report.problems == []
    assert report.restarts == 3 * REPLICAS
    assert report.outcomes == {"completed": report.jobs}
    assert report.seen.resumed > 0
    assert report.released > 0
