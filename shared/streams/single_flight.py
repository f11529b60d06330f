"""Shared reads: readers that want the same thing in the same iteration of the event loop share one read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class SharedReads:
    """Reads that callers share. A caller joins a read before it is sent, so that every caller sees the change it was
    notified of."""

    def __init__(self) -> None:
        self._gathering: dict[Hashable, asyncio.Task[Any]] = {}

    async def share(self, key: Hashable, read: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Return the result of `read`, or of the one another caller began with the same key in this iteration; errors
        likewise.

        A caller that is cancelled does not cancel the read of the others.
        """
        task = self._gathering.get(key)
        if task is None:
            task = self._gathering[key] = asyncio.create_task(self._once(key, read))
        result: ResultT = await asyncio.shield(task)
        return result

    async def _once(self, key: Hashable, read: Callable[[], Awaitable[ResultT]]) -> ResultT:
        await asyncio.sleep(0)
        del self._gathering[key]
        return await read()
