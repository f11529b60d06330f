"""A short chaos run for every change; `make chaos` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.driver import Chaos, Plan


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_no_job_is_lost_or_ended_twice_while_processes_die(tmp_path: Path) -> None:
    """Under 200 jobs of three organisations processes die and freeze, the server dies, stalls, refuses writes and
    changes its clock, and keys are revoked: each job ends once, counts add up, a budget has what its jobs cost, nothing
    is left over."""
    plan = Plan(jobs=200, seconds=12.0, workers=2, lease_seconds=2.0, watched=30, settle_seconds=90.0)
    report = await Chaos(plan, tmp_path, say=lambda _: None).run()
    assert report.problems == []
    assert report.faults["kill_server"] == 1
    assert report.revoked > 0
    assert sum(report.outcomes.values()) == plan.jobs
