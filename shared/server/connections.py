"""Bounds on the connections of a process, and the choice of the one that gives way when there are too many.

A connection either waits for us, while its request is answered, or we wait for its client: for a head, for the rest of
a body, for a response to be read. Those we wait for give way, the longest silent first, so that a flood of silent ones
closes its own, and a request that arrives is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog

FILES_MAX: Final = 1 << 20
"""Most open files that are asked for; some systems have no limit to ask up to."""

OTHER_FILES: Final = 100
"""Open files left for Redis, logs, and connections that are accepted before one that gives way is closed."""

SPARE: Final = 32
"""Connections beyond the limit while every other one is being answered: they get a response that there are too many."""

LOG_SECONDS: Final = 10.0

_log: Final = structlog.get_logger(__name__)


def allowed_files() -> int:
    """Number of open files this process may have, after asking for as many as the system allows; many start with
    1,024."""
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
    """Number of connections there may be: as many as wanted, as far as the limit of open files allows; at least one."""
    return max(1, min(wanted, allowed_files() - OTHER_FILES - SPARE))


class Connection(Protocol):
    """The interface of a connection."""

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
        """Note that it is gone."""
        self._count -= 1
        self._waiting.pop(connection, None)

    def waits_for_client(self, connection: Connection) -> None:
        """Mark that from now on it gives way if it must; it keeps its place in the order if it waited already."""
        self._waiting.setdefault(connection)

    def is_answered(self, connection: Connection) -> None:
        """Note that a whole request arrived: the connection does not give way until it is answered."""
        self._waiting.pop(connection, None)

    def _report(self) -> None:
        self._cut += 1
        now = time.monotonic()
        if now - self._reported_at >= LOG_SECONDS:
            _log.warning("connection_limit_reached", cut_or_refused=self._cut, limit=self._limit)
            self._cut, self._reported_at = 0, now


READ_SECONDS: Final = 10.0
READ_MIN: Final = 16 * 1024
"""A connection whose client takes fewer than so many bytes in so many seconds, while there are more for it, is cut."""


class Reading:
    """Watches one connection while bytes wait to be sent, also after it was closed: closing waits for the client."""

    __slots__ = ("_cut", "_loop", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, cut: Callable[[], None]) -> None:
        self._cut = cut
        self._transport = transport
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Begin, if bytes wait and no watch is under way."""
        if self._timer is None and (left := self._transport.get_write_buffer_size()):
            self._timer = self._loop.call_later(READ_SECONDS, self._check, left)

    def stop(self) -> None:
        """Stop: few bytes wait now, or the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self, before: int) -> None:
        self._timer = None
        left = self._transport.get_write_buffer_size()
        if left and left > before - READ_MIN:
            self._cut()
        else:
            self.watch()
