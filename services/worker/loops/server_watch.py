"""How long this worker has watched the server without a break. Pure; times are the worker's monotonic clock, in s.

Idle time in the pending list also grows while the server, the host or a clock stands still. Only who has seen one whole
lease pass normally may conclude that a silent worker is gone (I6).
"""

from __future__ import annotations

from typing import Final

SKEW_S: Final = 1.0
"""The server's clock and ours may part by so much between two looks, and an answer or a timer may be so late; with
leases under 2 s by half a lease only, because a healthy worker's lease is up to a third of a lease old."""

SECOND_LOOK_S: Final = 1.0
"""After a silence, healthy workers get so long to renew before anything is taken: the server may just have woken."""


class View:
    """Unbroken since `since`. `lease_s` is the length it must have before anything may be recovered."""

    def __init__(self, lease_s: float, now: float) -> None:
        self._lease_s = lease_s
        self._skew_s = min(SKEW_S, lease_s / 2)
        self._since = now
        self._looked: tuple[float, int] | None = None
        self._resumed = now
        self._generation: int | None = None

    def broken(self, now: float) -> None:
        """Something was not as it should be: a lost connection, a late timer, a failed call, a refused write."""
        self._since = now
        self._looked = None

    def timer(self, due: float, now: float) -> None:
        """A timer that should have fired at `due` fired now."""
        if now - due > self._skew_s:
            self.broken(now)

    def same(self, now: float, generation: int) -> None:
        """It is still the connection, and the count of refused writes, of the calls before; or not."""
        if self._generation is not None and generation != self._generation:
            self.broken(now)
        self._generation = generation

    def looked(self, asked: float, now: float, server_ms: int, generation: int) -> None:
        """The server took at `now` a write sent at `asked`: its clock said `server_ms`."""
        self.same(now, generation)
        self.timer(asked, now)
        if self._looked is not None:
            before, server_before = self._looked
            if abs((server_ms - server_before) / 1000 - (now - before)) > self._skew_s:
                self.broken(now)
        if self._looked is None or now - self._looked[0] > self._lease_s / 2:
            self._resumed = now
        self._looked = (now, server_ms)

    def whole(self, now: float) -> bool:
        """Whether a whole lease was seen, of late too, and a second look confirms the last silence.

        Of late: while nothing was sent, others' renewals may have been refused, and they need a moment to repeat them.
        """
        seen = self._looked is not None and now - self._looked[0] <= self._lease_s / 2
        return seen and now - self._since >= self._lease_s and now - self._resumed >= SECOND_LOOK_S

    def whole_in(self, now: float) -> float:
        """Seconds until `whole` can be true, when nothing breaks."""
        return max(self._since + self._lease_s - now, self._resumed + SECOND_LOOK_S - now, 0.0)
