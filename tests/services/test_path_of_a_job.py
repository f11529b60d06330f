"""The way of a job through the files: one that a reader can still walk."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from tests.support.processes import ROOT

FILES_MAX: Final = 66
"""Python files that one job with the demo provider runs through, eight of them for tenants (identity, tickets, limits,
attribution). A feature that every job needs may raise it; the list shows what came: `python -m
tests.support.job_path`."""


def test_one_job_runs_through_few_files() -> None:
    """From its POST to the last event of its stream, in all three services."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.job_path"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    *files, count = run.stdout.splitlines()
    assert count == f"{len(files)} files"
    assert {"services/gateway/submit/single.py", "shared/streams/subscription.py"} <= set(files)
    assert len(files) <= FILES_MAX, run.stdout
