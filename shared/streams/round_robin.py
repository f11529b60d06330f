"""Round robin of organisations among the streams of a process: one with a thousand delays no other's one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Final

AT_ONCE: Final = 32
"""Streams that go on in one iteration of the event loop: their reads leave in one write. Chosen, not measured."""


class RoundRobin:
    """Lets so many streams go on in each iteration of the event loop; if more want to, of each organisation in turn."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._left = at_once
        self._counting = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def turn(self, organization_id: str) -> None:
        """Return in this stream's turn: at once while there are few."""
        self._count()
        if self._left > 0:
            self._left -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(organization_id, deque()).append(waiter)
        await waiter

    def _count(self) -> None:
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._next_iteration)

    def _next_iteration(self) -> None:
        self._counting = False
        self._left = self._at_once
        while self._left > 0 and self._waiting:
            self._release_one()
        if self._waiting:
            self._count()

    def _release_one(self) -> None:
        """The first stream of the organisation that was passed over for longest."""
        organization_id, waiters = self._waiting.popitem(last=False)
        waiter = waiters.popleft()
        if not waiter.done():  # its stream is still there
            waiter.set_result(None)
            self._left -= 1
        if waiters:
            self._waiting[organization_id] = waiters
