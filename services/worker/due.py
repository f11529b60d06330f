"""When the next delayed job is due, as far as this worker knows."""

from __future__ import annotations

import time


class NextDue:
    """Begins with "now": nobody has asked yet. `longest_s` bounds every sleep: others delay jobs too."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._at: float | None = time.monotonic()

    def learned(self, next_ms: int | None) -> None:
        """Redis told: the next job is due in `next_ms`; None: none is delayed."""
        self._at = None if next_ms is None else time.monotonic() + next_ms / 1000

    def delayed(self, delay_ms: int) -> None:
        """This worker gave a job back that is due in `delay_ms`. Beyond a lease nobody was rung for it."""
        at = time.monotonic() + delay_ms / 1000
        self._at = at if self._at is None else min(self._at, at)

    @property
    def now(self) -> bool:
        """Whether a job is due."""
        return self._at is not None and time.monotonic() >= self._at

    @property
    def seconds(self) -> float:
        """How long nothing will be due: more than 0, at most the longest sleep."""
        left = self._longest_s if self._at is None else self._at - time.monotonic()
        return min(max(left, 0.001), self._longest_s)
