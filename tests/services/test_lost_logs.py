"""Logs that cannot be written cost log lines only: every service starts, works and counts lost lines."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.gateway import SUBMIT, body
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, ServiceProcess, free_port

CLOSING = 'exec "$0" -m "services.$1" >&- 2>&-'
METRIC = "presswork_log_lines_dropped_total"


class _Unheard(ServiceProcess):
    """A service whose log goes to a pipe without a reader."""

    def start(self) -> None:
        """See `ServiceProcess`."""
        reader, writer = os.pipe()
        with self.log.open("wb"):
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer
            )
        for end in (reader, writer):
            os.close(end)


def _unread(name: str, environment: dict[str, str], folder: Path) -> ServiceProcess:
    return _Unheard(name, environment, folder / name)


def _full(name: str, environment: dict[str, str], _: Path) -> ServiceProcess:
    return ServiceProcess(name, environment, Path("/dev/full"))


def _closed(name: str, environment: dict[str, str], folder: Path) -> ServiceProcess:
    command = ["sh", "-c", CLOSING, sys.executable, name]
    return ServiceProcess(name, environment, folder / name, command=command)


Make = Callable[[str, dict[str, str], Path], ServiceProcess]


@asynccontextmanager
async def _running(make: Make, redis_url: str, folder: Path) -> AsyncIterator[dict[str, ServiceProcess]]:
    environment = {"REDIS_URL": redis_url, "DEMO_FIRST_TOKEN_MS": "0", "DEMO_TOKENS_PER_SECOND": "0"}
    services = {name: make(name, environment, folder) for name in ("gateway", "notifier", "worker")}
    async with AsyncExitStack() as exits:
        for service in services.values():
            service.start()
            exits.push_async_exit(service)
        for service in services.values():
            await service.ready()
        yield services


@pytest.mark.parametrize("make", [_unread, _full, _closed], ids=["reader died", "no room", "closed"])
async def test_a_log_that_cannot_be_written_costs_lines_only(make: Make, redis_url: str, tmp_path: Path) -> None:
    """No service ends, also not at its start; jobs are answered 202 and run; each service says how many lines it lost,
    and ends with 0."""
    async with _running(make, redis_url, tmp_path) as services, httpx.AsyncClient(verify=NO_TLS, timeout=20) as client:
        gateway = services["gateway"].url
        answers = [await client.post(f"{gateway}{SUBMIT}", json=body()) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202] * 3
        for answer in answers:
            asked = {"jobId": answer.json()["jobId"], "wait": 15}
            status = await client.get(f"{gateway}/api/ai/job-status", params=asked)
            assert status.json()["status"] == "completed"
        for service in services.values():
            text = (await client.get(f"{service.url}/metrics")).text
            (line,) = [line for line in text.splitlines() if line.startswith(METRIC)]
            assert float(line.split()[1]) >= 1
        assert [await service.stop() for service in services.values()] == [0, 0, 0]


async def test_make_run_outlives_who_reads_it(tmp_path: Path) -> None:
    """`make run | head -1`, on a terminal that knows ASCII alone: it goes on, and ends when it is asked to."""
    ports = {name: str(free_port()) for name in ("GATEWAY_PORT", "NOTIFIER_PORT", "WORKER_METRICS_PORT")}
    folder = str(tmp_path / "dätä")
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": folder, "PYTHONIOENCODING": "ascii:strict", **ports}
    process = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        [sys.executable, "-m", "deploy.local"],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.close()
        async with asyncio.timeout(60), httpx.AsyncClient(verify=NO_TLS, trust_env=False) as client:
            for port in ports.values():
                while not await _ready(client, port):
                    assert process.poll() is None
                    await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # for the lines once all are ready
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 60) == 0
    finally:
        process.kill()
        process.wait()


async def _ready(client: httpx.AsyncClient, port: str) -> bool:
    try:
        return (await client.get(f"http://127.0.0.1:{port}/health/ready")).status_code == 200
    except httpx.TransportError:
        return False
