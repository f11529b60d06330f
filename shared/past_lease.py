"""Leases of a job that are over, as its record keeps them. Pure."""

from __future__ import annotations

import msgspec


class PastLease(msgspec.Struct, frozen=True):
    """A lease that ended in a requeue; `last` is the number of its `retrying` event. `started` in ms."""

    token: str
    reason: str
    attempt: int
    started: int
    last: int

    @property
    def wrote(self) -> bool:
        """Whether it logged text: between its first event and the last one."""
        return self.last > 2


def parse(text: str) -> PastLease:
    """One lease of the record's `past`. ValueError when it is none."""
    token, reason, attempt, started, last = text.split(" ")
    return PastLease(token, reason, int(attempt), int(started), int(last))
