"""The subscriber on a real server: notifications, shared subscriptions, and broken connections."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest

from shared.store.connection.connector import RedisSettings, new_connection
from shared.store.embedded.server import EmbeddedServer
from shared.store.pubsub.listeners import NOTIFIED
from shared.store.pubsub.subscriber import Subscriber
from tests.support.checks import RawRedis


class _Sent:
    """Counts the commands a subscriber sends, as a host bills them."""

    def __init__(self) -> None:
        self.commands: Counter[str] = Counter()

    def __call__(self, command: str, billed: int) -> None:
        self.commands[command] += billed


def _subscriber(url: str, sent: _Sent | None = None, *, reply_s: float = 0.5, **more: Any) -> aclosing[Subscriber]:
    settings = RedisSettings(url=url, client_name="subscriber")
    return aclosing(Subscriber(lambda: new_connection(settings), observer=sent, reply_s=reply_s, **more))


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that a test may stop."""
    server = EmbeddedServer(tmp_path / "data", aof=False)
    server.start()
    yield server
    server.stop()


async def _clients(raw: RawRedis, name: str) -> int:
    listed: bytes = await raw("CLIENT", "LIST")
    return listed.decode().count(f"name={name} ")


async def test_a_subscriber_nobody_listens_to_has_no_connection(redis_url: str) -> None:
    """An idle service costs no connection and no command; the first listener opens it."""
    async with _subscriber(redis_url) as subscriber, RawRedis(redis_url) as raw:
        assert await _clients(raw, "subscriber") == 0
        async with subscriber.listen("a") as listener:
            assert await listener.wait(5) == NOTIFIED
            assert await _clients(raw, "subscriber") == 1
    async with RawRedis(redis_url) as raw, asyncio.timeout(30):
        while await _clients(raw, "subscriber"):
            await asyncio.sleep(0.01)


async def test_a_listener_is_notified_once_it_is_subscribed(redis_url: str) -> None:
    """After the first notification nothing published is missed, and a message is the next one."""
    async with _subscriber(redis_url) as subscriber, RawRedis(redis_url) as raw, subscriber.listen("a") as listener:
        assert await listener.wait(5) == NOTIFIED
        assert await raw("PUBLISH", "a", "n1-0.2") == 1
        assert await listener.wait(5) == b"n1-0.2"
        assert await listener.wait(0.05) is None


async def test_only_the_last_notification_is_kept(redis_url: str) -> None:
    """A listener that was busy is notified of the latest event alone."""
    async with (
        _subscriber(redis_url) as subscriber,
        RawRedis(redis_url) as raw,
        subscriber.listen("a") as busy,
        subscriber.listen("b") as fence,
    ):
        await busy.wait(5)
        await fence.wait(5)
        for number in range(1000):
            await raw("PUBLISH", "a", str(number))
        await raw("PUBLISH", "b", "x")
        await fence.wait(5)
        assert await busy.wait(5) == b"999"
        assert await busy.wait(0.05) is None


async def test_listeners_of_one_channel_share_its_subscription(redis_url: str) -> None:
    """One SUBSCRIBE for all of them, a notification at once for a later listener, UNSUBSCRIBE when the last one
    goes."""
    sent = _Sent()
    async with _subscriber(redis_url, sent) as subscriber, RawRedis(redis_url) as raw:
        async with subscriber.listen("a") as first:
            await first.wait(5)
            async with subscriber.listen("a") as second:
                assert await second.wait(0) == NOTIFIED
                await raw("PUBLISH", "a", "x")
                assert [await first.wait(5), await second.wait(5)] == [b"x", b"x"]
            await raw("PUBLISH", "a", "y")
            assert await first.wait(5) == b"y"
            assert sent.commands == {"SUBSCRIBE": 1}
        async with asyncio.timeout(30):
            while (await raw("PUBSUB", "NUMSUB", "a"))[1]:
                await asyncio.sleep(0.01)
    assert sent.commands == {"SUBSCRIBE": 1, "UNSUBSCRIBE": 1}


async def test_one_iteration_of_the_loop_is_one_command(redis_url: str) -> None:
    """2,500 listeners that come together are subscribed with three commands and all receive from their own channel."""
    sent = _Sent()
    async with _subscriber(redis_url, sent) as subscriber, RawRedis(redis_url) as raw, AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(subscriber.listen(f"channel-{number}")) for number in range(2500)]
        assert {await listener.wait(5) for listener in listeners} == {NOTIFIED}
        assert sent.commands["SUBSCRIBE"] == 3
        for number in range(2500):
            await raw("PUBLISH", f"channel-{number}", str(number))
        assert [await listener.wait(5) for listener in listeners] == [b"%d" % number for number in range(2500)]


async def test_a_listener_that_returns_at_once_still_receives(redis_url: str) -> None:
    """Listeners that leave and come in quick turns never end up on a channel the server does not know of."""
    async with _subscriber(redis_url) as subscriber, RawRedis(redis_url) as raw:
        for turn in range(50):
            async with subscriber.listen("a"):
                for _ in range(turn % 4):
                    await asyncio.sleep(0)
            async with subscriber.listen("a") as listener:
                assert await listener.wait(5) == NOTIFIED
                await raw("PUBLISH", "a", str(turn))
                async with asyncio.timeout(30):
                    while await listener.wait(5) != b"%d" % turn:
                        pass


async def test_after_a_restart_every_listener_is_notified_again(own_server: EmbeddedServer) -> None:
    """The subscriber reconnects by itself, subscribes to everything, and makes every reader read again."""
    async with _subscriber(own_server.url) as subscriber, AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(subscriber.listen(f"channel-{number}")) for number in range(20)]
        for listener in listeners:
            await listener.wait(5)
        own_server.kill()
        assert await listeners[0].wait(0.3) is None
        own_server.start()
        assert {await listener.wait(5) for listener in listeners} == {NOTIFIED}
        async with RawRedis(own_server.url) as raw:
            assert await raw("PUBLISH", "channel-7", "x") == 1
        assert await listeners[7].wait(5) == b"x"


async def test_a_listener_may_come_while_redis_is_away(own_server: EmbeddedServer) -> None:
    """It is notified when Redis is back."""
    own_server.kill()
    async with _subscriber(own_server.url) as subscriber, subscriber.listen("a") as listener:
        assert await listener.wait(0.3) is None
        own_server.start()
        assert await listener.wait(5) == NOTIFIED


async def test_a_subscriber_without_a_connection_receives_nothing_now(own_server: EmbeddedServer) -> None:
    """A caller that must know that nothing is missed, such as a submit, learns when a pattern is no longer
    subscribed."""
    async with _subscriber(own_server.url, prefix="channel-") as subscriber, subscriber.listen("channel-1") as listener:
        assert await listener.wait(5) == NOTIFIED
        assert subscriber.receives_now("channel-2")
        own_server.kill()
        async with asyncio.timeout(30):
            while subscriber.receives_now("channel-2"):
                await asyncio.sleep(0.01)


async def test_a_silent_server_is_found_out(own_server: EmbeddedServer) -> None:
    """A connection whose other end stopped answering is given up after the PING, and replaced when it answers again."""
    async with _subscriber(own_server.url, quiet_s=0.2, reply_s=0.2) as subscriber, subscriber.listen("a") as listener:
        await listener.wait(5)
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            assert await listener.wait(1.0) is None
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        assert await listener.wait(5) == NOTIFIED


async def test_no_ping_without_a_listener(redis_url: str) -> None:
    """Silence costs nothing without listeners, and one PING per quiet period with one."""
    sent = _Sent()
    async with _subscriber(redis_url, sent, quiet_s=0.05, reply_s=0.05) as subscriber:
        async with subscriber.listen("a") as listener:
            await listener.wait(5)
            async with asyncio.timeout(30):
                while sent.commands["PING"] < 2:
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            while not sent.commands["UNSUBSCRIBE"]:
                await asyncio.sleep(0.01)
        pings = sent.commands["PING"]
        async with subscriber.listen("b") as other:
            await other.wait(5)
        assert sent.commands["PING"] <= pings + 1


async def test_messages_come_one_by_one_and_bounded(redis_url: str) -> None:
    """A channel of messages yields each payload in order; beyond its limit the oldest are dropped."""
    async with (
        _subscriber(redis_url) as subscriber,
        RawRedis(redis_url) as raw,
        subscriber.listen("control") as fence,
        subscriber.messages("control", limit=3) as messages,
    ):
        await fence.wait(5)
        for number in range(5):
            await raw("PUBLISH", "control", str(number))
        async with asyncio.timeout(30):
            while await fence.wait(5) != b"4":
                pass
            assert [await anext(messages) for _ in range(3)] == [b"2", b"3", b"4"]
