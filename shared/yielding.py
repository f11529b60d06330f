"""Long work in pieces: other tasks of the event loop run in between."""

from __future__ import annotations

import asyncio
import time
from typing import Final

PIECE_S: Final = 0.005
"""Seconds for which work goes on before it yields."""


class Yields:
    """Yields of one piece of long work, which awaits `give` between steps that are short themselves."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def give(self) -> None:
        """Let the loop go round once, if this work has held it for long enough."""
        if time.perf_counter() - self._began >= PIECE_S:
            await asyncio.sleep(0)
            self._began = time.perf_counter()
