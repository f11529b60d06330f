"""Notifications of changes, over one pub/sub connection per process. A notification is a hint; the log is the truth.

A listener is notified once when its channel is subscribed, and again after every reconnect: one that reads the log on
each notification misses nothing. The connection opens when the first listener comes; without listeners no command is
sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from shared.store.connection.connector import AnyConnection, watch_s
from shared.store.pubsub.listeners import ChannelReader, Listener, Messages, Subscriptions
from shared.telemetry.causes import FailureLog

REPLY_S: Final = 3.0
"""Seconds the server may owe a reply, in silence, before the connection counts as dead."""

QUIET_S: Final = 60.0
"""Seconds of silence with listeners after which a PING checks for a half-open connection."""

_CHANNELS_A_COMMAND: Final = 1000

Observer = Callable[[str, int], None]
"""Called for every command sent: its name and how many channels it carries."""


class _Session:
    """The life of one connection: sends the changes, receives messages, and ends when the server owes a reply."""

    def __init__(
        self,
        connection: AnyConnection,
        subscriptions: Subscriptions,
        observe: Observer | None,
        patience: tuple[float, float, float],
    ) -> None:
        self._connection = connection
        self._subscriptions = subscriptions
        self._observe = observe
        self._reply_s, impatient_s, patient_s = patience
        longest_s = watch_s(connection) or math.inf
        self._impatient_s, self._patient_s = min(impatient_s, longest_s), min(patient_s, longest_s)
        self._clock = asyncio.get_running_loop().time
        self._quiet_since = self._clock()
        self._asked: set[bytes] = set()
        self._owed = 0
        self.answered = False

    async def run(self) -> None:
        try:
            async with asyncio.timeout(self._reply_s):
                await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
            self._subscriptions.begin()
            async with asyncio.TaskGroup() as pair:
                pair.create_task(self._write(), name="subscriber-write")
                pair.create_task(self._read(), name="subscriber-read")
        finally:
            self._subscriptions.disconnected()
            with contextlib.suppress(Exception):
                await self._connection.disconnect(nowait=True)

    async def _write(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._next_check()):
                    await self._subscriptions.changed.wait()
            self._subscriptions.changed.clear()
            silence = self._clock() - self._quiet_since
            if self._owed and silence >= self._reply_s:
                raise RedisConnectionError("Redis owes an answer")
            await self._send_changes()
            if self._subscriptions.channels and not self._owed and silence >= self._quiet_s:
                await self._send("PING", [b"subscriber"])

    async def _send_changes(self) -> None:
        """Subscribe to channels that are wanted now, and unsubscribe from those that are not."""
        subscriptions = self._subscriptions
        touched, subscriptions.touched = subscriptions.touched, set()
        covered = {name for name in touched if subscriptions.covered(name)}
        if covered and subscriptions.prefix and subscriptions.prefix not in self._asked:
            self._asked.add(subscriptions.prefix)
            await self._send("PSUBSCRIBE", [subscriptions.prefix + b"*"])

        touched -= covered
        await self._send("SUBSCRIBE", list((touched & subscriptions.channels.keys()) - self._asked))
        await self._send("UNSUBSCRIBE", list((touched & self._asked) - subscriptions.channels.keys()))

    @property
    def _quiet_s(self) -> float:
        return self._impatient_s if self._subscriptions.impatient else self._patient_s

    def _next_check(self) -> float | None:
        if self._owed:
            return self._quiet_since + self._reply_s
        return self._quiet_since + self._quiet_s if self._subscriptions.channels else None

    async def _send(self, command: str, arguments: Sequence[bytes]) -> None:
        for first in range(0, len(arguments), _CHANNELS_A_COMMAND):
            some = arguments[first : first + _CHANNELS_A_COMMAND]
            if not self._owed:
                self._quiet_since = self._clock()
            self._owed += len(some)
            if command == "SUBSCRIBE":
                self._asked.update(some)
            elif command == "UNSUBSCRIBE":
                self._asked.difference_update(some)

            packed = hiredis.pack_command((command, *some))  # type: ignore[arg-type]  # its stub knows tuples of one only
            async with asyncio.timeout(self._reply_s):
                await self._connection.send_packed_command(packed, check_health=False)
            if self._observe is not None:
                self._observe(command, 1)

    async def _read(self) -> None:
        while True:
            reply = await self._connection.read_response(timeout=math.inf, disconnect_on_error=False, push_request=True)
            self._quiet_since = self._clock()
            kind = reply[0] if isinstance(reply, list) else reply
            if kind in (b"message", b"pmessage"):
                name, payload = reply[-2:]
                for reader in self._subscriptions.channels.get(name, ()):
                    reader.received(payload)
                continue

            self._owed -= 1
            self.answered = True
            if kind == b"psubscribe":
                self._subscriptions.confirm_prefix()
            elif kind == b"subscribe":
                self._subscriptions.confirm(reply[1])
            elif kind == b"unsubscribe":
                self._subscriptions.confirmed.discard(reply[1])


class Subscriber:
    """Any number of channels and listeners over one connection, which reconnects by itself with jitter.

    `connect` makes a connection that is not open yet. Channels are full names. `reply_s` and `quiet_s` are for tests.
    `prefix`: one pattern covers all channels that begin so, instead of two commands for each; then this process
    receives the messages of them all. `patient_s`: the longest silence while all listeners are patient; None:
    `quiet_s`. Listeners of one channel share its subscription; changes of one iteration of the event loop leave in one
    command.
    """

    def __init__(
        self,
        connect: Callable[[], AnyConnection],
        *,
        observer: Observer | None = None,
        reply_s: float = REPLY_S,
        quiet_s: float = QUIET_S,
        prefix: str | None = None,
        patient_s: float | None = None,
        pause_after: Callable[[BaseException], float] | None = None,
    ) -> None:
        self._connect = connect
        self._observe = observer
        self._patience = (reply_s, quiet_s, quiet_s if patient_s is None else patient_s)
        self._subscriptions = Subscriptions(None if prefix is None else prefix.encode())
        self._pause_after = pause_after  # how long an error forbids to connect again, s
        self._failures = FailureLog("redis_listening_failed")
        self._task: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Close the connection; listeners receive nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def covers(self, channel: str) -> bool:
        """Whether listening to this channel costs no command."""
        return self._subscriptions.covered(channel.encode())

    def receives_now(self, channel: str) -> bool:
        """Whether messages published there from now on are received, without a command, as long as the connection
        holds."""
        return self._subscriptions.prefix_confirmed and self.covers(channel)

    def listen(self, channel: str, *, patient: bool = False) -> Listener:
        """Make a listener, to be entered with `async with`; notified as soon as the channel is subscribed."""
        return Listener(partial(self._move, channel.encode()), patient=patient)

    def messages(self, channel: str, *, limit: int = 1000) -> Messages:
        """All messages of a channel, to be entered with `async with` and then iterated."""
        return Messages(partial(self._move, channel.encode()), limit)

    def _move(self, name: bytes, reader: ChannelReader, joins: bool) -> None:
        if not joins:
            self._subscriptions.remove(name, reader)
            return
        self._subscriptions.add(name, reader)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="subscriber")

    async def _run(self) -> None:
        failures = 0
        while True:
            while not self._subscriptions.channels:
                self._subscriptions.changed.clear()
                await self._subscriptions.changed.wait()
            session, longer_s = None, 0.0
            try:
                session = _Session(self._connect(), self._subscriptions, self._observe, self._patience)
                await session.run()
            except* (RedisError, OSError) as broke:
                longer_s = self._pause_after(broke) if self._pause_after else 0.0
            except* Exception as unforeseen:
                # No other task would connect again: every listener would wait for ever.
                self._failures.failed(unforeseen)
            failures = 0 if session is not None and session.answered else failures + 1
            await asyncio.sleep(longer_s)
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(0.1 * 2.0**failures, 1.0))  # noqa: S311 - jitter
