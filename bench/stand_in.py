"""The vendor of bench/tokens.py: a thousand calls that write stamped tokens until they are asked to end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bench.processes import free_port, running, wait_for_http
from bench.services import Service
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour

OPEN_SECONDS: Final = 40.0
"""All calls must be open by then; a gate that was idle opens over eight seconds."""

ROUND: Final = 100
"""Tokens that a call writes again and again: none ends before all are open and were measured."""


@contextmanager
def stand_in() -> Iterator[Service]:
    """A process of it for the length of the block."""
    port = free_port()
    with running([sys.executable, "-m", "tests.support.llm_server", "--port", str(port)], {}) as process:
        wait_for_http(f"http://127.0.0.1:{port}/_stats", process)
        yield Service(process, port)


def endless(rate: float) -> Behaviour:
    """So many tokens a second, in every call.

    Vendors' tokens do not come in step: without a spread, calls that began together would stay together.
    """
    return Behaviour(tokens=ROUND, gap_s=1 / rate, first_spread_s=1 / rate, stamped=True, endless=True)


async def until(condition: Callable[[], object], what: str, seconds: float) -> None:
    """Wait until the awaited condition is true; RuntimeError when it takes longer."""
    deadline = time.monotonic() + seconds
    while not await condition():  # type: ignore[misc]  # the callers' conditions are coroutine functions
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(0.05)


async def until_open(llm: LlmServer, calls: int) -> None:
    """Wait until so many calls are open."""

    async def all_open() -> bool:
        return (await llm.stats()).open == calls

    await until(all_open, "all calls are open", OPEN_SECONDS)


async def written(llm: LlmServer) -> int:
    """Tokens of all calls so far."""
    return sum(call.tokens for call in await llm.calls())
