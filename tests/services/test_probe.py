"""The health check of containers, run as a container runs it."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from shared.http.probe import main
from shared.store.embedded.server import EmbeddedServer
from tests.support.gateway import running_gateway
from tests.support.processes import ROOT, free_port


async def _probe(port: int) -> int:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "shared.http.probe", str(port), cwd=ROOT)
    return await process.wait()


async def test_it_follows_the_service(redis_url: str, server: EmbeddedServer) -> None:
    """0 while the service can serve, 1 while Redis does not answer it, 0 again when it does."""
    async with running_gateway(redis_url) as client:
        port = client.base_url.port
        assert port is not None
        assert await _probe(port) == 0
        await asyncio.to_thread(server.pause)
        try:
            assert await _probe(port) == 1
        finally:
            await asyncio.to_thread(server.resume)
        assert await _probe(port) == 0


async def test_nobody_listens() -> None:
    """A refused connection is an unready service, not a traceback."""
    assert await _probe(free_port()) == 1


async def test_a_service_that_hangs_is_not_waited_for() -> None:
    """A port that accepts and says nothing counts as unready within the probe's own time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with asyncio.timeout(30):
            assert await _probe(silent.getsockname()[1]) == 1


@pytest.mark.parametrize("arguments", [[], ["http"], ["0"], ["70000"], ["80", "81"], ["-1"]])
def test_a_wrong_argument_is_reported(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2 and the usage."""
    assert main(arguments) == 2
    assert "PORT" in capsys.readouterr().err
