"""The store's background tasks meet unforeseen errors: one log line, and the service goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
import structlog

from shared.errors import StoreUnavailable
from shared.store.connection.connector import AnyConnection, RedisSettings, new_connection
from shared.store.connection.multiplexer import Multiplexer
from shared.store.pubsub.listeners import NOTIFIED
from shared.store.pubsub.subscriber import Subscriber
from tests.support.checks import RawRedis


def _breaking(url: str, method: str, times: int) -> tuple[Callable[[], AnyConnection], Callable[[], int]]:
    """Makes connections whose `method` raises an error that is not of Redis, so many times in all; yields the count."""
    raised = 0

    def connect() -> AnyConnection:
        connection: Any = new_connection(RedisSettings(url=url, client_name="broken"))
        open_it, real = connection.connect, getattr(connection, method)
        opened = method == "connect"

        async def broken(*arguments: Any, **more: Any) -> Any:
            nonlocal raised
            if opened and raised < times:
                raised += 1
                raise TypeError("a reply of another world")
            return await real(*arguments, **more)

        async def opening() -> None:
            nonlocal opened
            await open_it()
            opened = True

        connection.connect = opening
        setattr(connection, method, broken)
        made: AnyConnection = connection
        return made

    return connect, lambda: raised


@pytest.mark.parametrize("method", ["connect", "read_response", "send_packed_command"])
async def test_commands_go_on_after_a_session_that_broke_on_the_unforeseen(redis_url: str, method: str) -> None:
    """Reader, writer or connector raise an error that is not of Redis, three times: the next command is answered."""
    connect, raised = _breaking(redis_url, method, 3)
    with structlog.testing.capture_logs() as lines:
        async with aclosing(Multiplexer(connect, timeout=0.5)) as socket, asyncio.timeout(30):
            reply = None
            while reply is None:
                with contextlib.suppress(StoreUnavailable):
                    reply = await socket.execute("PING")
    assert (reply, raised()) == (b"PONG", 3)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["redis_session_failed"]


@pytest.mark.parametrize("method", ["connect", "read_response", "send_packed_command"])
async def test_listeners_are_notified_after_a_connection_that_broke_on_the_unforeseen(
    redis_url: str, method: str
) -> None:
    """The same of the connection that listens: it is replaced, and all listeners are notified."""
    connect, raised = _breaking(redis_url, method, 3)
    with structlog.testing.capture_logs() as lines:
        async with (
            aclosing(Subscriber(connect, reply_s=0.5)) as subscriber,
            RawRedis(redis_url) as raw,
            subscriber.listen("channel") as listener,
        ):
            while raised() < 3:
                await asyncio.sleep(0.01)
            assert await listener.wait(10) == NOTIFIED
            await raw("PUBLISH", "channel", "news")
            assert await listener.wait(10) == b"news"
    assert raised() == 3
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["redis_listening_failed"]
