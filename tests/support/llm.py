"""Starts the stand-in of `llm_server.py` in a process of its own, sets its behaviour and reads its calls."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import httpx
import msgspec

from tests.support.llm_behaviour import EVERY_MODEL, Behaviour, Call
from tests.support.plain import NO_TLS
from tests.support.processes import ROOT, free_port


class Stats(msgspec.Struct):
    """Calls so far, streams open now, the most that were open at once, and connections that carried calls."""

    calls: int
    open: int
    peak: int
    connections: int


class LlmServer:
    """A running stand-in. `openai_url` and `anthropic_url` are values for OPENAI_BASE_URL and ANTHROPIC_BASE_URL."""

    def __init__(self, port: int, client: httpx.AsyncClient) -> None:
        self.openai_url = f"http://127.0.0.1:{port}/v1"
        self.anthropic_url = f"http://127.0.0.1:{port}"
        self._client = client

    async def _ask(self, path: str, model: str | None = None, content: bytes = b"") -> bytes:
        answer = await self._client.post(path, params={"model": model} if model else None, content=content)
        answer.raise_for_status()
        return answer.content

    async def behave(self, behaviour: Behaviour, *, model: str = EVERY_MODEL) -> None:
        """Answer calls of `model` so from now on; counts and times of a failure start now."""
        await self._ask("/_behaviour", model, msgspec.json.encode(behaviour))

    async def calls(self, model: str = EVERY_MODEL) -> list[Call]:
        """The calls that arrived, oldest first."""
        return msgspec.json.decode(await self._ask("/_calls", model), type=list[Call])

    async def stats(self) -> Stats:
        """Counts, cheaper than the calls."""
        return msgspec.json.decode(await self._ask("/_stats"), type=Stats)

    async def release(self) -> None:
        """Let endless streams end."""
        await self._ask("/_release")

    async def reset(self) -> None:
        """Forget behaviours and calls."""
        await self._ask("/_reset")


def most_within(calls: Sequence[Call], seconds: float, *, status: int | None = None) -> int:
    """The largest number of calls in any stretch of so many seconds; `status`: only those answered with it."""
    times = sorted(call.at for call in calls if status in (None, call.status))
    most = start = 0
    for end, at in enumerate(times):
        while times[start] <= at - seconds:
            start += 1
        most = max(most, end - start + 1)
    return most


@contextmanager
def llm_server_process() -> Iterator[int]:
    """A stand-in for the length of the block; its port. RuntimeError when it does not start."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.llm_server", "--port", str(port)],
        cwd=ROOT, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until_up(process, f"http://127.0.0.1:{port}/_stats")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def wait_until_up(process: subprocess.Popen[bytes], url: str, seconds: float = 30.0) -> None:
    """Wait until a process answers at this address; RuntimeError when it does not."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(url, timeout=2, trust_env=False, verify=NO_TLS)
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"{url} does not answer")


@asynccontextmanager
async def llm_server_at(port: int) -> AsyncIterator[LlmServer]:
    """A client of a running stand-in, which is reset first."""
    async with httpx.AsyncClient(
        verify=NO_TLS, base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False
    ) as client:
        server = LlmServer(port, client)
        await server.reset()
        yield server
