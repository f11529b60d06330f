"""Says once, when Redis cannot be reached or refuses, why: callers only hear that it did not answer in time."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from redis.exceptions import RedisError

from shared.store.connection import error_advice

REPEAT_LOG_S: Final = 60.0
"""A refusal that goes on is told again after so long."""

_log: Final = structlog.get_logger(__name__)


def reason_of(error: BaseException) -> str:
    """Why a connection did not come about, in words that hold no URL and no password."""
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {one.verify_message}"
    for one in chain:
        if isinstance(one, ssl.SSLError):
            return "no TLS is spoken there: redis:// is without, rediss:// with it"
        if isinstance(one, RedisError) and (words := error_advice.words(one)) is not None:
            return words
    for one in chain:
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
    if any(isinstance(one, TimeoutError) for one in chain):
        return "no answer in time"
    return type(chain[-1]).__name__


def lacking(error: BaseException) -> str | None:
    """What the Redis user may not do, when that is why a connection did not come about."""
    refused = (one for one in _chain(error) if isinstance(one, RedisError) and error_advice.is_permission(one))
    return next((words for one in refused if (words := error_advice.words(one)) is not None), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class ConnectionLog:
    """Of one connection: a line when it cannot be made, and one when it could be again."""

    def __init__(self) -> None:
        self._lasts = False
        self._unfit = False

    def failed(self, error: BaseException) -> None:
        """A connection did not come about."""
        if self._lasts:
            return
        self._lasts = True
        missing = lacking(error)
        self._unfit = missing is not None
        if self._unfit:
            _log.error("redis_unfit", reason=missing, more=error_advice.MORE)
        else:
            _log.warning("redis_not_reached", reason=reason_of(error))

    def ended(self) -> None:
        """A connection came about."""
        if self._lasts:
            self._lasts = False
            _log.info("redis_fit" if self._unfit else "redis_reached_again")


class RefusalLog:
    """Of one store: a line for each kind of refusal of a server that is reached, at most one a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reported: dict[str, float] = {}

    def noticed(self, error: RedisError | str) -> None:
        """The server refused a call, or one item of it."""
        words = error_advice.words(error)
        if words is None or self._clock() < self._reported.get(words, -REPEAT_LOG_S) + REPEAT_LOG_S:
            return
        self._reported[words] = self._clock()
        _log.error("redis_refused", code=error_advice.code(error), reason=words)
