"""Cuts overdue steps in the tasks of attempts, and keeps account of tasks that do not let themselves be cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from services.worker.execution.attempt import DRAIN_GRACE_S, Attempt
from shared.telemetry.causes import cause_of

CHECK_SECONDS: Final = 0.1
"""Interval of the checks in s, so the delay with which a time-out may come. One timer serves all attempts: two timers
for each job would cost it 2 us."""


class Watchdog:
    """Watchdog of one pool. `held`: its attempts. `take_over`: called for one whose task is stuck; `drop`: for one
    whose task ended without an outcome, with the cause."""

    def __init__(
        self,
        held: Callable[[], Sequence[Attempt]],
        take_over: Callable[[Attempt], None],
        drop: Callable[[Attempt, str], None],
    ) -> None:
        self._held = held
        self._take_over = take_over
        self._drop = drop
        self._timer: asyncio.TimerHandle | None = None
        self._checked_at = 0.0
        self._stuck: dict[asyncio.Task[None], float] = {}

    @property
    def stuck(self) -> list[asyncio.Task[None]]:
        """Tasks that do not end. Each still holds its job's memory, and its call may still cost money."""
        return list(self._stuck)

    def healthy(self, patience_s: float) -> bool:
        """False when attempts are not checked, or tasks live on that long although their jobs were taken from them."""
        now = time.monotonic()
        checked = self._timer is None or now - self._checked_at <= patience_s
        return checked and all(now - since <= patience_s for since in self._stuck.values())

    def start(self, now: float) -> None:
        """Check from now on, until no attempt is left."""
        if self._timer is None:
            self._checked_at = now
            self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check_all)

    def give_up(self, attempt: Attempt) -> None:
        """Cancel the task of an attempt that was taken from it; it counts as stuck until it ends."""
        if (task := attempt.task) is not None:
            self._stuck[task] = time.monotonic()
            task.add_done_callback(lambda done: self._stuck.pop(done, None))
            task.cancel()

    async def close(self) -> None:
        """Check no more; give tasks that were given up a moment to end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stuck:
            await asyncio.wait(self._stuck, timeout=DRAIN_GRACE_S)

    def _check_all(self) -> None:
        loop, self._checked_at = asyncio.get_running_loop(), time.monotonic()
        held = self._held()
        # First, because nothing after it may end the watch. An idle worker is not woken.
        self._timer = loop.call_later(CHECK_SECONDS, self._check_all) if held else None

        for attempt in held:
            try:
                self._check(attempt, self._checked_at)
            except Exception as error:  # one attempt must not cost the others their time-outs
                self._drop(attempt, cause_of(error))

    def _check(self, attempt: Attempt, now: float) -> None:
        task = attempt.task
        if task is not None and task.done():
            error = None if task.cancelled() else task.exception()
            self._drop(attempt, "no outcome" if error is None else cause_of(error))
        elif attempt.signal.check(now):
            self._take_over(attempt)
