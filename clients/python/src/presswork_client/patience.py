"""Waits before something is tried again: exponential with jitter, never less than the service asks for."""

from __future__ import annotations

import random
import time
from typing import Final

SHORTEST_S: Final = 0.2
LONGEST_S: Final = 10.0
"""Bounds of a wait that the service did not ask for, in s."""

_SPREAD: Final = 0.25
"""Part of a wait that was asked for by which it is made longer at most: callers must not come back in step."""


class Backoff:
    """Waits of one thing that is tried again and again, for `patience_s` seconds since the last success."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since = time.monotonic()
        self._failures = 0

    def succeeded(self) -> None:
        """Begin with short waits, and with the whole patience."""
        self._since = time.monotonic()
        self._failures = 0

    def next(self, asked_s: float | None = None) -> float | None:
        """Seconds to wait after one more failure; None: the patience does not last so long."""
        ceiling = min(LONGEST_S, SHORTEST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        wait = random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads load, keeps no secret
        if asked_s is not None:
            wait = max(wait, spread(asked_s))
        return wait if time.monotonic() + wait - self._since <= self._patience_s else None


def spread(seconds: float) -> float:
    """A little more than these seconds, by chance."""
    return seconds * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - spreads load, keeps no secret
