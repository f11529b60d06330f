"""How many connections a process may have, and which one gives way when there are too many.

A connection either waits for us, while its request is answered, or we wait for its client: for a head, for the rest of
a body, for an answer to be read. Those we wait for give way, the longest silent first, so that a flood of silent ones
closes its own, and a request that arrives is answered.
"""

from __future__ import annotations

import contextlib
import resource
import time
from typing import Final, Protocol

import structlog

FILES_MAX: Final = 1 << 20
"""Open files that are asked for at most; some systems have no limit to ask up to."""

OTHER_FILES: Final = 100
"""Open files left for Redis, logs, and connections that are accepted before one that gives way is closed."""

SPARE: Final = 32
"""Connections beyond the limit, when every other one is being answered: they hear that there are too many."""

LOG_SECONDS: Final = 10.0

_log: Final = structlog.get_logger(__name__)


def allowed_files() -> int:
    """Open files this process may have, after asking for as many as the system gives; many give 1,024 unasked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft == resource.RLIM_INFINITY:
        return FILES_MAX
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return min(soft, FILES_MAX)


def capacity(wanted: int) -> int:
    """How many connections there may be: as many as wanted, as far as the limit of open files allows; at least one."""
    return max(1, min(wanted, allowed_files() - OTHER_FILES - SPARE))


class Connection(Protocol):
    """What a connection must be able to do."""

    def give_way(self) -> None:
        """Cut it, now."""


class Connections:
    """All connections of one server."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._waiting: dict[Connection, None] = {}
        """Those that wait for their client, the longest waiting first."""
        self._cut = 0
        self._reported_at = -LOG_SECONDS

    def opened(self, connection: Connection) -> bool:
        """Count a new one, and let another give way if there are too many. False: there is room for a refusal only."""
        self._count += 1
        if self._count <= self._limit:
            return True
        oldest = next(iter(self._waiting), None)
        if oldest is not None:
            del self._waiting[oldest]
            oldest.give_way()
        elif self._count > self._limit + SPARE:
            connection.give_way()
        self._report()
        return oldest is not None

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        self._count -= 1
        self._waiting.pop(connection, None)

    def waits_for_client(self, connection: Connection) -> None:
        """From now on it gives way if it must; it keeps its place in the row if it waited already."""
        self._waiting.setdefault(connection)

    def is_answered(self, connection: Connection) -> None:
        """A whole request arrived: it does not give way until it is answered."""
        self._waiting.pop(connection, None)

    def _report(self) -> None:
        self._cut += 1
        now = time.monotonic()
        if now - self._reported_at >= LOG_SECONDS:
            _log.warning("connection_limit_reached", cut_or_refused=self._cut, limit=self._limit)
            self._cut, self._reported_at = 0, now
