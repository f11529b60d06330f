"""Load at an even rate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


async def beats(per_second: float) -> AsyncIterator[int]:
    """0, 1, 2 and so on without end; a caller that was late catches up."""
    clock = asyncio.get_running_loop().time
    due, number = clock(), 0
    while True:
        yield number
        number += 1
        due += 1 / per_second
        await asyncio.sleep(max(0.0, due - clock()))
