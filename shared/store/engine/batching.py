"""Many awaiting callers, one script call: while a call is in flight the next batch gathers, without any timer."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from shared.errors import Overloaded, StoreRejected, StoreUnavailable

ItemT = TypeVar("ItemT")
ReplyT = TypeVar("ReplyT")

MAX_ITEMS: Final = 64
MAX_BYTES: Final = 1 << 20
"""Bounds of one call: a longer script would block the server for all clients."""

SPLIT_ITEMS: Final = 16
"""Smallest batch when the waiting items are divided among the calls in flight."""


class _Waiter(msgspec.Struct, Generic[ItemT, ReplyT], eq=False):
    """A caller with its item of `size` bytes; `until`: how long it waits at most (the loop's time, s)."""

    item: ItemT
    size: int
    done: asyncio.Future[ReplyT]
    sent: bool = False
    until: float = math.inf


class Coalescer(Generic[ItemT, ReplyT]):
    """Turns single calls into batches, at most `in_flight` at a time. `shares`: waiting items are divided among the
    calls in flight; `full_only`: a second call is sent only with a full batch. Order of arrival is order in the
    batches.

    `flush` sends a batch and returns one reply per item; when it raises, every caller of that batch gets the error. A
    caller that gives up before its batch was sent takes its item with it. `patience_s` bounds a caller's whole wait;
    None: the time-outs of the batches before and of its own are enough.
    """

    def __init__(
        self,
        flush: Callable[[list[ItemT]], Awaitable[Sequence[ReplyT]]],
        *,
        patience_s: float | None,
        max_waiting: int = 20_000,
        in_flight: int = 1,
        shares: bool = False,
        full_only: bool = False,
    ) -> None:
        self._flush = flush
        self._patience_s = patience_s
        self._max_waiting = max_waiting
        self._waiting: deque[_Waiter[ItemT, ReplyT]] = deque()
        self._in_flight = in_flight
        self._shares = shares
        self._full_only = full_only
        self._tasks: set[asyncio.Task[None]] = set()
        self._unanswered: deque[_Waiter[ItemT, ReplyT]] = deque()
        """Callers whose wait is bounded, the longest waiting first."""
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, item: ItemT, size: int = 0) -> ReplyT:
        """Return the reply for one item of `size` bytes. Overloaded when too many wait; StoreUnavailable after
        `patience_s`."""
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded("too many calls wait for Redis")
        waiter: _Waiter[ItemT, ReplyT] = _Waiter(item, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        if not self._tasks or (len(self._tasks) < self._in_flight and self._worth_another()):
            self._tasks.add(asyncio.create_task(self._drain(), name="coalescer"))
        if self._patience_s is not None:
            self._bound(waiter, self._patience_s)
        return await waiter.done

    def _bound(self, waiter: _Waiter[ItemT, ReplyT], patience_s: float) -> None:
        """Let it wait so long at most. One timer serves all: they expire in the order in which they came."""
        loop = asyncio.get_running_loop()
        waiter.until = loop.time() + patience_s
        self._unanswered.append(waiter)
        if self._timer is None:
            self._timer = loop.call_at(waiter.until, self._expire)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._forget_answered()
        while self._unanswered and self._unanswered[0].until <= loop.time():
            waiter = self._unanswered.popleft()
            if not waiter.done.done():
                reason = f"Redis did not answer within {self._patience_s:g} s"
                waiter.done.set_exception(StoreUnavailable(reason, sent=waiter.sent))
        self._timer = loop.call_at(self._unanswered[0].until, self._expire) if self._unanswered else None

    def _forget_answered(self) -> None:
        while self._unanswered and self._unanswered[0].done.done():
            self._unanswered.popleft()

    async def aclose(self) -> None:
        """Wait for the batch in flight; callers that still wait are served first."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _worth_another(self) -> bool:
        return not self._full_only or len(self._waiting) >= MAX_ITEMS

    def _next_batch(self) -> list[_Waiter[ItemT, ReplyT]]:
        batch: list[_Waiter[ItemT, ReplyT]] = []
        room = MAX_BYTES
        most = MAX_ITEMS
        if self._shares:
            most = min(max(-(-len(self._waiting) // self._in_flight), SPLIT_ITEMS), MAX_ITEMS)
        while self._waiting and len(batch) < most:
            waiter = self._waiting[0]
            if not waiter.done.done():
                if batch and waiter.size > room:
                    break
                room -= waiter.size
                waiter.sent = True
                batch.append(waiter)
            self._waiting.popleft()
        return batch

    async def _drain(self) -> None:
        try:
            while batch := self._next_batch():
                await self._send(batch)
                if len(self._tasks) > 1 and not self._worth_another():
                    break
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._tasks.discard(task)

    async def _send(self, batch: list[_Waiter[ItemT, ReplyT]]) -> None:
        try:
            replies = await self._flush([waiter.item for waiter in batch])
            if len(replies) != len(batch):
                raise StoreRejected("Redis returned another number of replies than there were items")  # noqa: TRY301
        except Exception as error:
            for waiter in batch:
                if not waiter.done.done():
                    waiter.done.set_exception(error)
            return
        except BaseException:
            # This task ends, and no other would serve the waiting callers.
            self._give_up([*batch, *self._waiting])
            self._waiting.clear()
            raise

        for waiter, reply in zip(batch, replies, strict=True):
            if not waiter.done.done():
                waiter.done.set_result(reply)
        self._forget_answered()

    @staticmethod
    def _give_up(waiters: Sequence[_Waiter[ItemT, ReplyT]]) -> None:
        for waiter in waiters:
            if not waiter.done.done():
                waiter.done.set_exception(StoreUnavailable("the call was broken off", sent=waiter.sent))
                waiter.done.exception()  # read, or asyncio would log it at the end of the process
