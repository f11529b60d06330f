"""Due times of waiting jobs: delayed and throttled ones, and deadlines."""

from __future__ import annotations

import time


class Timers:
    """The next due times this worker knows of; due at once at first, because nothing was polled yet.

    `longest_s`: the upper bound of every sleep, because other processes delay jobs too.
    """

    def __init__(self, longest_s: float) -> None:
        self.longest_s = longest_s
        self._delayed_at: float | None = time.monotonic()
        self._throttled_at: float | None = None

    def set_delayed(self, next_ms: int | None) -> None:
        """Take over the due time of the next delayed job from a poll of Redis: in `next_ms`; None: no job is delayed.

        The same poll served the throttled jobs that were due.
        """
        now = time.monotonic()
        self._delayed_at = None if next_ms is None else now + next_ms / 1000

        if self._throttled_at is not None and self._throttled_at <= now:
            self._throttled_at = None

    def add_delayed(self, delay_ms: int) -> None:
        """Note a job that this worker requeued, due in `delay_ms`. Beyond a lease no worker was woken for it."""
        self._delayed_at = _earlier(self._delayed_at, delay_ms)

    def add_throttled(self, wait_ms: int) -> None:
        """Note that a provider may have room for a throttled job in `wait_ms`, which this worker is to promote."""
        self._throttled_at = _earlier(self._throttled_at, wait_ms)

    @property
    def due(self) -> bool:
        """Whether a job is due."""
        at = self._next_at
        return at is not None and time.monotonic() >= at

    @property
    def sleep_s(self) -> float:
        """Seconds until a job is due: more than 0, at most `longest_s`."""
        at = self._next_at
        left = self.longest_s if at is None else at - time.monotonic()
        return min(max(left, 0.001), self.longest_s)

    @property
    def _next_at(self) -> float | None:
        times = [at for at in (self._delayed_at, self._throttled_at) if at is not None]
        return min(times) if times else None


def _earlier(known: float | None, wait_ms: int) -> float:
    at = time.monotonic() + wait_ms / 1000
    return at if known is None else min(known, at)
