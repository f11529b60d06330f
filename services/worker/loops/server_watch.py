"""A failure detector for other workers: the time for which this one has watched the server without a break. Pure.

Times are the worker's monotonic clock, in s. Idle time in the pending list also grows while the server, the host or a
clock stands still. Only a worker that has seen one whole lease pass normally may conclude that a silent one is gone
(I6).
"""

from __future__ import annotations

from typing import Final

SKEW_S: Final = 1.0
"""Largest drift of the server's clock from ours between two responses, and largest delay of a response or timer; with
leases under 2 s half a lease only, because a healthy worker's lease is up to a third of a lease old."""

SECOND_ANSWER_S: Final = 1.0
"""Time for healthy workers to renew after a silence, in s, before anything is recovered: the server may have just
woken."""


class ServerWatch:
    """Watches one server. `lease_s`: for how long the watch must be unbroken before anything may be recovered."""

    def __init__(self, lease_s: float, now: float) -> None:
        self._lease_s = lease_s
        self._skew_s = min(SKEW_S, lease_s / 2)
        self._since = now
        self._resumed = now
        self._last_answer: tuple[float, int] | None = None
        self._generation: int | None = None

    def restart(self, now: float) -> None:
        """Start again from now, after a lost connection, a late timer, a failed call or a refused write."""
        self._since = now
        self._last_answer = None

    def timer_fired(self, due: float, now: float) -> None:
        """Note a timer that was due at `due` and fired now."""
        if now - due > self._skew_s:
            self.restart(now)

    def connected(self, now: float, generation: int) -> None:
        """Note which connection it is, and how many writes were refused so far: any change is a break."""
        if self._generation is not None and generation != self._generation:
            self.restart(now)
        self._generation = generation

    def answered(self, sent: float, now: float, server_ms: int, generation: int) -> None:
        """Note the answer to a write that was sent at `sent`. `server_ms`: the server's clock."""
        self.connected(now, generation)
        self.timer_fired(sent, now)

        if self._last_answer is not None:
            before, server_before = self._last_answer
            if abs((server_ms - server_before) / 1000 - (now - before)) > self._skew_s:
                self.restart(now)

        if self._last_answer is None or now - self._last_answer[0] > self._lease_s / 2:
            self._resumed = now
        self._last_answer = (now, server_ms)

    def trusted(self, now: float) -> bool:
        """Whether a whole lease was watched, lately too, and a second answer confirmed the end of the last silence.

        Lately: while nothing was sent, others' renewals may have been refused, and they need a moment to repeat them.
        """
        recent = self._last_answer is not None and now - self._last_answer[0] <= self._lease_s / 2
        return recent and now - self._since >= self._lease_s and now - self._resumed >= SECOND_ANSWER_S

    def trusted_in_s(self, now: float) -> float:
        """Seconds until it can be trusted, if nothing breaks it."""
        return max(self._since + self._lease_s - now, self._resumed + SECOND_ANSWER_S - now, 0.0)
