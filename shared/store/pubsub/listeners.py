"""Readers of channels, and the channels that they want: a `Listener` learns that something happened, `Messages` has
every payload, `Subscriptions` knows the difference between wanted channels and those that the server has confirmed."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

NOTIFIED: Final = b""
"""The payload of a notification that names no event: read again."""


class ChannelReader(ABC):
    """A place on one channel, taken and left by `async with`. Both happen at once, without an await that could be
    cancelled.

    `move` is called with True when the place is taken and False when it is left. One task at a time may wait here.
    `patient`: a missed notification does little harm, so that a half-open connection may be found late.
    """

    __slots__ = ("_move", "_waiter", "patient")

    def __init__(self, move: Callable[[ChannelReader, bool], None], *, patient: bool = False) -> None:
        self._move = move
        self.patient = patient
        self._waiter: asyncio.Future[None] | None = None

    def take(self) -> None:
        """Take the place without `async with`; the caller must call `leave`."""
        self._move(self, True)

    def leave(self) -> None:
        """Leave the channel."""
        self._move(self, False)

    async def __aenter__(self) -> Self:
        self.take()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def subscribed(self) -> None:  # noqa: B027 - a reader of every message need not know
        """Note that from now on everything published is received; earlier messages may have been missed."""

    @abstractmethod
    def received(self, payload: bytes) -> None:
        """Take a message."""

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _sleep(self, timeout_s: float = math.inf) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout_s, self._wake) if timeout_s < math.inf else None
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()


class Listener(ChannelReader):
    """Keeps only the last notification of its channel, so that a slow listener costs no memory."""

    __slots__ = ("_payload",)

    def __init__(self, move: Callable[[ChannelReader, bool], None], *, patient: bool = False) -> None:
        super().__init__(move, patient=patient)
        self._payload: bytes | None = None

    @property
    def notified(self) -> bool:
        """Whether `wait` would return at once."""
        return self._payload is not None

    def forget(self) -> None:
        """Drop the last notification: it was handled."""
        self._payload = None

    async def wait(self, timeout_s: float) -> bytes | None:
        """The payload of the last notification since the call before (`NOTIFIED`: read again), or None after
        `timeout_s`."""
        if self._payload is None:
            await self._sleep(timeout_s)
        payload, self._payload = self._payload, None
        return payload

    def subscribed(self) -> None:
        self.received(NOTIFIED)

    def received(self, payload: bytes) -> None:
        self._payload = payload
        self._wake()


class Messages(ChannelReader):
    """Every payload of one channel in order; beyond `limit` unread ones the oldest are dropped.

    Messages published while the connection is down are lost: meant for senders that repeat them.
    """

    __slots__ = ("_unread",)

    def __init__(self, move: Callable[[ChannelReader, bool], None], limit: int) -> None:
        super().__init__(move, patient=True)
        self._unread: deque[bytes] = deque(maxlen=limit)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._unread:
            await self._sleep()
        return self._unread.popleft()

    def received(self, payload: bytes) -> None:
        self._unread.append(payload)
        self._wake()


class Subscriptions:
    """Listeners by channel, and the channels that came or went since the last command (`touched`).

    `confirmed`: channels the server confirmed on the present connection and was not seen to drop since. `prefix`:
    channels that begin so are covered by one pattern, confirmed as a whole or not at all. `impatient`: number of
    listeners that are not patient.
    """

    def __init__(self, prefix: bytes | None) -> None:
        self.prefix = prefix
        self.prefix_confirmed = False
        self.impatient = 0
        self.channels: dict[bytes, set[ChannelReader]] = {}
        self.confirmed: set[bytes] = set()
        self.touched: set[bytes] = set()
        self.changed = asyncio.Event()

    def covered(self, name: bytes) -> bool:
        """Whether the pattern covers this channel."""
        return self.prefix is not None and name.startswith(self.prefix)

    def add(self, name: bytes, reader: ChannelReader) -> None:
        """Let it listen to a channel; it is notified at once where the server has confirmed that."""
        self.impatient += not reader.patient
        if name not in self.channels:
            self.channels[name] = set()
            self._touch(name)
        self.channels[name].add(reader)
        if name in self.confirmed or (self.prefix_confirmed and self.covered(name)):
            reader.subscribed()

    def remove(self, name: bytes, reader: ChannelReader) -> None:
        """Let it listen no more; the last one takes the channel with it."""
        self.impatient -= not reader.patient
        readers = self.channels[name]
        readers.discard(reader)
        if not readers:
            del self.channels[name]
            self._touch(name)

    def confirm(self, name: bytes) -> None:
        """Take the server's confirmation of a channel: its listeners are notified."""
        self.confirmed.add(name)
        for reader in self.channels.get(name, ()):
            reader.subscribed()

    def confirm_prefix(self) -> None:
        """Take the server's confirmation of the pattern: listeners of all channels that it covers are notified."""
        self.prefix_confirmed = True
        for name, readers in self.channels.items():
            if self.covered(name):
                for reader in readers:
                    reader.subscribed()

    def disconnected(self) -> None:
        """Note that there is no connection."""
        self.confirmed.clear()
        self.prefix_confirmed = False

    def begin(self) -> None:
        """Begin on a new connection, which has no subscriptions yet."""
        self.disconnected()
        self.touched = set(self.channels)
        self.changed.set()

    def _touch(self, name: bytes) -> None:
        self.touched.add(name)
        self.changed.set()
