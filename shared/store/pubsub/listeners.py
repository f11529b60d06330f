"""Who sits on a channel: a `Listener` wants to know that something happened, `Messages` wants every payload."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

NOTIFIED: Final = b""
"""The payload of a ring that names nothing: read again."""


class ChannelReader(ABC):
    """A place on one channel, taken and left by `async with`. Both happen at once, with no await to be cancelled in.

    `move` is told True when the place is taken and False when it is left. One task at a time may wait here.
    `patient`: what is missed does little harm, so that a half-open connection may be found late.
    """

    __slots__ = ("_move", "_waiter", "patient")

    def __init__(self, move: Callable[[ChannelReader, bool], None], *, patient: bool = False) -> None:
        self._move = move
        self.patient = patient
        self._waiter: asyncio.Future[None] | None = None

    def take(self) -> None:
        """Sit down, without `async with`; `leave` is then the caller's duty."""
        self._move(self, True)

    def leave(self) -> None:
        """Stand up again."""
        self._move(self, False)

    async def __aenter__(self) -> Self:
        self.take()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def subscribed(self) -> None:  # noqa: B027 - who hears every message need not know
        """From now on whatever is published will be heard; what was published before may have been missed."""

    @abstractmethod
    def received(self, payload: bytes) -> None:
        """A message came."""

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
    """Keeps only the last ring of its channel, so that a slow listener costs no memory."""

    __slots__ = ("_payload",)

    def __init__(self, move: Callable[[ChannelReader, bool], None], *, patient: bool = False) -> None:
        super().__init__(move, patient=patient)
        self._payload: bytes | None = None

    @property
    def notified(self) -> bool:
        """Whether `wait` would answer at once."""
        return self._payload is not None

    def forget(self) -> None:
        """What rang is known."""
        self._payload = None

    async def wait(self, timeout_s: float) -> bytes | None:
        """The payload of the last ring since the call before (`RUNG`: read again), or None after `timeout_s`."""
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

    What is published while the connection is down is lost: meant for senders that say everything again.
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
