"""Restarts background loops that failed, and finds late ones."""

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
"""A loop that failed restarts after the least pause, then after twice that and so on; after a minute without a failure
the pause is the least again."""


class Heartbeat:
    """Time at which the next iteration of one loop is due."""

    def __init__(self) -> None:
        self._due = time.monotonic()

    def beat(self, within_s: float = math.inf) -> None:
        """Note an iteration; the next one is due within `within_s` seconds, or, left out, at no certain time."""
        self._due = time.monotonic() + within_s

    def late_s(self, now: float) -> float:
        """Seconds since the next iteration was due; below 0 before that."""
        return now - self._due


async def supervise(name: str, loop: Callable[[], Awaitable[None]], failures: Counter) -> None:
    """Run an endless loop until this task is cancelled. Its exceptions are counted and logged, and the loop is
    restarted after a pause."""
    count, log = failures.labels(name), FailureLog("loop_failed", loop=name)
    pause = PAUSE_LEAST_S

    while True:
        began = time.monotonic()
        try:
            await loop()
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # also a cancellation that this task was not given
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # a coroutine always runs in a task
                raise
            count.inc()
            log.failed(error)

        if time.monotonic() - began > CALM_S:
            pause = PAUSE_LEAST_S
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = min(2 * pause, PAUSE_MOST_S)
