"""Whether a client reads what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

READ_SECONDS: Final = 10.0
READ_MIN: Final = 16 * 1024
"""A connection whose client takes less than so many bytes in so many seconds, while there are more for it, is cut."""


class Reading:
    """Watches one connection while bytes wait to be sent, also after it was closed: closing waits for the client."""

    __slots__ = ("_cut", "_loop", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, cut: Callable[[], None]) -> None:
        self._cut = cut
        self._transport = transport
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Begin, if bytes wait and nobody watches yet."""
        if self._timer is None and (left := self._transport.get_write_buffer_size()):
            self._timer = self._loop.call_later(READ_SECONDS, self._check, left)

    def stop(self) -> None:
        """Whatever waits now is little, or the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self, before: int) -> None:
        self._timer = None
        left = self._transport.get_write_buffer_size()
        if left and left > before - READ_MIN:
            self._cut()
        else:
            self.watch()
