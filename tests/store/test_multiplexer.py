"""The one connection of a process: calls whose answer does not come, and calls whose connection breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest

from shared.errors import StoreUnavailable
from shared.store.connection.connector import RedisSettings, new_connection
from shared.store.connection.multiplexer import Multiplexer
from tests.support.checks import RawRedis

BLOCKS = ("BLPOP", "nothing", 0)


@pytest.fixture
async def sockets(redis_url: str) -> AsyncIterator[tuple[Multiplexer, Multiplexer]]:
    """An impatient one and a patient one."""
    connect = partial(new_connection, RedisSettings(url=redis_url, client_name="shared"))
    both = Multiplexer(connect, timeout=0.3), Multiplexer(connect, timeout=100.0)
    yield both
    for socket in both:
        await socket.aclose()


async def test_an_overdue_answer_costs_its_connection(sockets: tuple[Multiplexer, Multiplexer]) -> None:
    """A server that owes an answer may be gone without a word: the next command goes over a new connection."""
    socket, _ = sockets
    with pytest.raises(StoreUnavailable) as overdue:
        await socket.execute(*BLOCKS)
    assert overdue.value.sent
    assert await socket.execute("PING") in (b"PONG", "PONG")
    assert socket.generation == 2


async def test_a_broken_connection_fails_what_waits_for_it(
    sockets: tuple[Multiplexer, Multiplexer], redis_url: str
) -> None:
    """The caller of a sent command learns at once that it may have taken effect, not when its time is over."""
    _, socket = sockets
    waiting = asyncio.create_task(socket.execute(*BLOCKS))
    async with RawRedis(redis_url) as raw, asyncio.timeout(30):
        while b"cmd=blpop" not in (clients := await raw("CLIENT", "LIST")):
            await asyncio.sleep(0.01)
        line = next(line for line in clients.decode().splitlines() if "cmd=blpop" in line)
        await raw("CLIENT", "KILL", "ID", line.split()[0].removeprefix("id="))
    cut = time.monotonic()
    with pytest.raises(StoreUnavailable) as broken:
        await waiting
    assert broken.value.sent
    assert time.monotonic() - cut < 50.0
