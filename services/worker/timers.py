"""When this worker must look after jobs that wait for a time: delayed and throttled ones, and their deadlines."""

from __future__ import annotations

import time


class NextDue:
    """Begins with "now": nobody has asked yet. `longest_s` bounds every sleep: others delay jobs too."""

    def __init__(self, longest_s: float) -> None:
        self.longest_s = longest_s
        self._delayed_at: float | None = time.monotonic()
        self._lane_at: float | None = None

    def learned(self, next_ms: int | None) -> None:
        """Redis told: the next delayed job is due in `next_ms`; None: none is delayed. Lanes that were due are looked
        at."""
        now = time.monotonic()
        self._delayed_at = None if next_ms is None else now + next_ms / 1000
        if self._lane_at is not None and self._lane_at <= now:
            self._lane_at = None

    def delayed(self, delay_ms: int) -> None:
        """This worker gave a job back that is due in `delay_ms`. Beyond a lease nobody was rung for it."""
        at = time.monotonic() + delay_ms / 1000
        self._delayed_at = at if self._delayed_at is None else min(self._delayed_at, at)

    def lane(self, wait_ms: int | None) -> None:
        """A gate may have room for a parked job in `wait_ms`, and this worker was told to come back for it."""
        if wait_ms is not None:
            at = time.monotonic() + wait_ms / 1000
            self._lane_at = at if self._lane_at is None else min(self._lane_at, at)

    @property
    def _at(self) -> float | None:
        times = [at for at in (self._delayed_at, self._lane_at) if at is not None]
        return min(times) if times else None

    @property
    def now(self) -> bool:
        """Whether a job is due."""
        at = self._at
        return at is not None and time.monotonic() >= at

    @property
    def seconds(self) -> float:
        """How long nothing will be due: more than 0, at most the longest sleep."""
        at = self._at
        left = self.longest_s if at is None else at - time.monotonic()
        return min(max(left, 0.001), self.longest_s)
