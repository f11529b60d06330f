"""Long work in pieces: others on the event loop have their turn in between."""

from __future__ import annotations

import asyncio
import time
from typing import Final

PIECE_S: Final = 0.005
"""Work goes on for so long at a time."""


class Turns:
    """Of one piece of long work, which awaits `give` between steps that are short themselves."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def give(self) -> None:
        """Let the loop go round once, if this work has held it for long enough."""
        if time.perf_counter() - self._began >= PIECE_S:
            await asyncio.sleep(0)
            self._began = time.perf_counter()
