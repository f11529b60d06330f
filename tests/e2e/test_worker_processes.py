"""Processes that meet unforeseen faults: a release that vanishes under them, tasks that do not end (I12)."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from shared.store.embedded.server import EmbeddedServer
from tests.e2e.conftest import StackMaker
from tests.support.checks import leaks
from tests.support.front_end import FrontEnd
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, ServiceProcess
from tests.support.stack import Stack

BUSY = 20.0
"""Time that a busy machine may add to a promised one, in s."""
pytestmark = pytest.mark.timeout(300)


@asynccontextmanager
async def _running_copy(release: Path, folder: Path) -> AsyncIterator[Stack]:
    """All three services of a copy of this release."""
    for name in ("services", "shared"):
        shutil.copytree(ROOT / name, release / name, ignore=shutil.ignore_patterns("__pycache__"))
    with EmbeddedServer(folder / "data") as server:
        environment = {"REDIS_URL": server.url, "DEMO_FIRST_TOKEN_MS": "50", "PYTHONPATH": str(release)}
        begin = "import runpy, sys; sys.path.insert(0, {!r}); runpy.run_module({!r}, run_name='__main__')"
        async with AsyncExitStack() as exits:
            services = []
            for name in ("gateway", "notifier", "worker"):
                command = [sys.executable, "-c", begin.format(str(release), f"services.{name}")]
                service = ServiceProcess(name, environment, folder / f"{name}.log", command=command)
                services.append(await exits.enter_async_context(service))
            client = await exits.enter_async_context(httpx.AsyncClient(verify=NO_TLS, timeout=15.0))
            front = FrontEnd(client, [services[0].url], [services[1].url], pause_s=0.1)
            yield Stack(server, services, client, front, environment)


async def test_a_release_that_vanishes_under_its_processes_costs_nothing(tmp_path: Path) -> None:
    """Every file of it is removed while the services run, before the first job: jobs complete, streams are read, one is
    cancelled, and all end cleanly."""
    release = tmp_path / "release"
    async with _running_copy(release, tmp_path) as running:
        shutil.rmtree(release)
        ids = [await running.submit(number) for number in range(3)]
        readings = await asyncio.gather(*(running.follow(job_id) for job_id in ids))
        assert [reading.problems() for reading in readings if reading.problems()] == []
        assert {reading.kinds[-1] for reading in readings} == {"completed"}
        cancelled = await running.submit(3, delaySeconds=60)
        await running.client.post(f"{running.gateway.url}/api/ai/jobs/{cancelled}/cancel")
        assert (await running.end(cancelled))["status"] == "cancelled"
        assert await leaks(running.server.url) == []
        assert [await service.stop() for service in reversed(running.services)] == [0, 0, 0]
    assert "rror" not in (tmp_path / "worker.log").read_text()


async def test_a_worker_leaves_although_its_tasks_do_not(stack: StackMaker, tmp_path: Path) -> None:
    """A provider that ignores every cancellation: its job fails in time, its slot runs the next one, and SIGTERM ends
    the process with status 0 within its drain."""
    async with stack(workers=0, LEASE_SECONDS="3", WORKER_CONCURRENCY="1", DRAIN_SECONDS="1") as running:
        command = [sys.executable, "-m", "tests.support.poison_worker"]
        log = tmp_path / "deaf.log"
        async with ServiceProcess("worker", running.environment, log, command=command) as worker:
            began = time.monotonic()
            deaf = await running.submit(0, prompt="deaf", timeoutSeconds=1, maxAttempts=1)
            next_one = await running.submit(1, prompt="harmless")
            assert (await running.end(deaf))["error"]["type"] == "Timeout"
            assert time.monotonic() - began < 1 + 3 + BUSY
            assert (await running.end(next_one))["status"] == "completed"
            stopped = time.monotonic()
            assert await worker.stop() == 0
            assert time.monotonic() - stopped < 1 + BUSY
    finalized = [line for line in log.read_text().splitlines() if "attempt_finalized" in line]
    assert [("stuck" in line) for line in finalized] == [True, False]
    assert "stuck_tasks_abandoned" in log.read_text()
