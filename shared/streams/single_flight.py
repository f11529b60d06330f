"""Readers that want the same thing in the same turn of the event loop share one read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class SharedReads:
    """Who joins a read joins it before it is sent, so that everyone sees whatever caused his wish to read."""

    def __init__(self) -> None:
        self._gathering: dict[Hashable, asyncio.Task[Any]] = {}

    async def share(self, key: Hashable, read: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """The result of `read`, or of the one another caller began with the same key in this turn; errors likewise.

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
