"""Pauses when the host says that the quota of commands is used up, however often callers ask.

A pause begins with the refusal: 30 s, doubled with each further one up to 10 min. In a pause every command fails here
and none is sent; after it one command goes first, and the others only when it succeeded. So a process with an empty
quota soon sends 7 commands an hour at most, and as many for the connection of its subscriber.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from redis.exceptions import ResponseError

from shared.errors import QuotaExceeded
from shared.store.connection import server_errors
from shared.store.connection.multiplexer import Reply, Transport

FIRST_PAUSE_S: Final = 30.0
LONGEST_PAUSE_S: Final = 600.0
FREE: Final = frozenset({"PING", "INFO"})
"""Commands that the host does not count: always sent, and their replies say nothing of the quota."""

_log: Final = structlog.get_logger(__name__)


class Quota:
    """State of this process's quota. `refusals`: refusals for lack of quota in a row."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0
        self._probing = False
        self.refusals = 0

    @property
    def left_s(self) -> float:
        """Seconds until the pause ends."""
        return max(self._until - self._clock(), 0.0)

    def enter(self) -> None:
        """Check before a command. QuotaExceeded in a pause, and while another command tries whether it is over."""
        if not self.refusals:
            return
        if self.left_s > 0 or self._probing:
            raise self._exceeded()
        self._probing = True

    def enter_blocking(self) -> None:
        """Check before a command that may block for minutes: it is never the one that tries, as all others would wait
        for it."""
        if self.refusals:
            raise self._exceeded()

    def _exceeded(self) -> QuotaExceeded:
        return QuotaExceeded("the command quota is used up", retry_after_s=max(self.left_s, 1.0))

    def noticed(self, error: BaseException) -> QuotaExceeded | None:
        """Begin a pause if the error, or one within it, is a refusal for lack of quota; returns that as QuotaExceeded,
        else None."""
        if isinstance(error, BaseExceptionGroup):
            return next((found for part in error.exceptions if (found := self.noticed(part))), None)
        if not isinstance(error, ResponseError) or not server_errors.is_quota(str(error)):
            return None

        self._probing = False
        if not self.left_s:
            # Commands in flight when the pause began do not extend it.
            pause = min(FIRST_PAUSE_S * 2.0**self.refusals, LONGEST_PAUSE_S) * random.uniform(0.9, 1.0)  # noqa: S311 - jitter
            self._until = self._clock() + pause
            self.refusals += 1
            _log.error("redis_quota_exceeded", pause_seconds=round(pause), refusals=self.refusals)
        return self._exceeded()

    def passed(self) -> None:
        """Note that a command that counts was answered."""
        self._probing = False
        if self.refusals and not self.left_s:
            self.refusals = 0
            _log.warning("redis_quota_again")

    def failed(self) -> None:
        """Note that the command that tried failed for another reason: the next one tries."""
        self._probing = False


class Fitness(Protocol):
    """Whether this Redis can do all that is needed (`preflight/checks.py`): `fit` once a check has passed."""

    fit: bool

    async def passed(self) -> None:
        """Return when the check has passed. StoreUnfit, StoreUnavailable, ResponseError."""

    def doubt(self, error: ResponseError) -> None:
        """Check again if the error says that something is missing."""


class Guarded:
    """A `Transport` before another one. It sends nothing in a pause, nor to a Redis that is not fit."""

    def __init__(self, transport: Transport, quota: Quota, fitness: Fitness | None = None) -> None:
        self._transport = transport
        self._quota = quota
        self._fitness = fitness

    async def execute(self, *command: bytes | str | int | float) -> Reply:
        """See `Transport`; QuotaExceeded and StoreUnfit without sending."""
        if command[0] in FREE:
            return await self._send(command)

        self._quota.enter()
        try:
            reply = await self._send(command)
        except ResponseError as error:
            if (exceeded := self._quota.noticed(error)) is not None:
                raise exceeded from None
            self._quota.passed()
            raise
        except BaseException:
            self._quota.failed()
            raise

        self._quota.passed()
        return reply

    async def _send(self, command: tuple[bytes | str | int | float, ...]) -> Reply:
        fitness = self._fitness
        if fitness is None:
            return await self._transport.execute(*command)
        if not fitness.fit:
            await fitness.passed()
        try:
            return await self._transport.execute(*command)
        except ResponseError as error:
            fitness.doubt(error)
            raise
