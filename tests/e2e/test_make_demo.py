"""`make demo`: keys that work, and a world in which jobs run, wait and fail, within a minute."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.callers import bearer
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, free_port

PORTS = ("GATEWAY_PORT", "NOTIFIER_PORT", "WORKER_METRICS_PORT")


@contextmanager
def _started(folder: Path) -> Iterator[tuple[Path, str]]:
    """Its output, and the address of its gateway."""
    ports = {name: str(free_port()) for name in PORTS}
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **ports}
    log = folder / "out"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.demo"], cwd=folder, env=environment, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield log, f"http://127.0.0.1:{ports['GATEWAY_PORT']}"
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
async def test_every_page_is_alive_within_a_minute(tmp_path: Path) -> None:
    """The printed keys are an operator's and a tenant's; jobs run, wait for a provider, complete and fail."""
    with _started(tmp_path) as (log, gateway):
        async with asyncio.timeout(60), httpx.AsyncClient(verify=NO_TLS, timeout=10) as client:
            while len(keys := re.findall(rb"(operator|org-3) +(pw_\w+)", log.read_bytes())) < 2:
                await asyncio.sleep(0.2)
            (_, operator), (_, tenant) = ((name, key.decode()) for name, key in keys)
            assert (await client.get(f"{gateway}/console/")).status_code == 200
            own = await client.get(f"{gateway}/api/ai/jobs", headers=bearer(tenant))
            assert {job["organizationId"] for job in own.json()["jobs"]} == {"org-3"}

            wanted = ("processing", "throttled", "completed", "failed")
            seen: set[str] = set()
            while seen < set(wanted):
                stats = (await client.get(f"{gateway}/api/ai/queue-stats", headers=bearer(operator))).json()["stats"]
                seen |= {name for name in wanted if stats[name]}
                await asyncio.sleep(0.2)
