"""Hostile requests: no 5xx, no stall for a neighbour, no memory that stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.hostile.driver import attack, document_of
from tests.hostile.requests import hostile_requests
from tests.support.processes import ServiceProcess

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="CPU time of another process: Linux")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_hostile_requests_hurt_nobody(redis_url: str, tmp_path: Path) -> None:
    """Each is answered with less than 500, others submit all along, and its memory is freed."""
    async with ServiceProcess("gateway", {"REDIS_URL": redis_url, "LOG_LEVEL": "ERROR"}, tmp_path / "log") as gateway:
        document = await asyncio.to_thread(document_of, gateway.url)
        requests = list(hostile_requests(document, 150))
        first = await asyncio.to_thread(attack, gateway.url, gateway.process.pid, requests)
        again = await asyncio.to_thread(attack, gateway.url, gateway.process.pid, requests[-20:])
    assert gateway.log.read_text() == ""
    assert first.errors + again.errors == 0, (first.statuses, again.statuses)
    assert set(first.neighbour) == {202}
    # It has the time of two processes for one another's pieces: a whole one of them never takes a tenth of a second.
    assert first.stall_cpu_s < 0.3
    assert again.memory[-1] - first.memory[-1] < 16
