"""More silent connections than a process may have files: those who ask are answered."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.gateway import SUBMIT, body
from tests.support.plain import NO_TLS
from tests.support.processes import ServiceProcess

FILES = 1024
SILENT = 1100
SECONDS = 35.0
"""Longest wait for an answer, in s; in fact it takes moments."""

FIRST = (
    b"",
    b"\r\n",
    b"GET /health/li",
    b"POST /api/ai/jobs/x/cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n",
)
"""Bytes that the silent ones send before they are silent, in turn."""


@pytest.fixture
def files() -> Iterator[None]:
    """This process may open enough files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * SILENT:
        pytest.skip(f"a process may open {hard} files here, {2 * SILENT} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * SILENT), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def _silent_connections(port: int) -> AsyncIterator[list[socket.socket]]:
    """They connect, say something that is no whole request, or one, and then nothing."""
    with contextlib.ExitStack() as closing:
        held = [closing.enter_context(socket.socket()) for _ in range(SILENT)]
        for i, connection in enumerate(held):
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.connect(("127.0.0.1", port))
            if i % 50 == 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        for i, connection in enumerate(held):
            with contextlib.suppress(OSError):  # it was cut already
                connection.send(FIRST[i % len(FIRST)])
        yield held


@pytest.mark.parametrize("name", ["gateway", "notifier", "worker"])
@pytest.mark.usefixtures("files")
async def test_silent_connections_keep_nobody_out(redis_url: str, tmp_path: Path, name: str) -> None:
    """1,100 of them before a process of 1,024 files: health and calls are answered, again and again."""
    command = ["bash", "-c", f'ulimit -n {FILES} && exec "$0" -m services.{name}', sys.executable]
    service = ServiceProcess(name, {"REDIS_URL": redis_url}, tmp_path / "log", command=command)
    async with service, _silent_connections(service.port), asyncio.timeout(SECONDS):
        for _ in range(2):
            async with httpx.AsyncClient(verify=NO_TLS, base_url=service.url, timeout=SECONDS) as client:
                assert (await client.get("/health/ready")).status_code == 200
                assert (await client.get("/metrics")).status_code == 200
                if name == "gateway":
                    assert (await client.post(SUBMIT, json=body())).status_code == 202
                if name == "notifier":
                    answer = await client.get("/api/ai/job-events?jobId=ai-job-1737465123456-0bc123def")
                    assert answer.status_code == 404
            await asyncio.sleep(0.2)
