"""Keeps the background loops of a worker going, and tells when one of them stands still."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import Counter

from shared.telemetry.causes import CALM_S, FailureLog

PAUSE_LEAST_S: Final = 0.1
PAUSE_MOST_S: Final = 5.0
"""A loop that failed begins again after the first, then twice that and so on; after a minute without a failure the
first again."""


class Pulse:
    """Of one loop: how long it may be until its next turn."""

    def __init__(self) -> None:
        self._due = time.monotonic()

    def beat(self, within_s: float = math.inf) -> None:
        """The loop turns; its next turn comes within so many seconds, or, left out, whenever there is a reason."""
        self._due = time.monotonic() + within_s

    def late_s(self, now: float) -> float:
        """For how long the next turn has been due, s."""
        return now - self._due


async def kept_going(name: str, loop: Callable[[], Awaitable[None]], failures: Counter) -> None:
    """Run a loop that has no end until this task is cancelled. What it raises is counted and logged, and the loop is
    begun anew."""
    count, log = failures.labels(name), FailureLog("loop_failed", loop=name)
    pause = PAUSE_LEAST_S
    while True:
        began = time.monotonic()
        try:
            await loop()
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # also a cancellation that nobody asked for
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # a coroutine always runs in a task
                raise
            count.inc()
            log.failed(error)
        if time.monotonic() - began > CALM_S:
            pause = PAUSE_LEAST_S
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = min(2 * pause, PAUSE_MOST_S)
