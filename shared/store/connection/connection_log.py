"""Log lines on the reason when Redis cannot be reached or refuses: callers only learn that it did not answer in
time."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from redis.exceptions import RedisError

from shared.store.connection import error_advice

REPEAT_LOG_S: Final = 60.0
"""Seconds after which a refusal that goes on is logged again."""

_log: Final = structlog.get_logger(__name__)


def reason_of(error: BaseException) -> str:
    """Reason why a connection failed, in words that hold no URL and no password."""
    chain = list(_chain(error))
    for reason in (_of_certificate, _of_server, _of_system, _of_time):
        for one in chain:
            if (words := reason(one)) is not None:
                return words
    return type(chain[-1]).__name__


def _of_certificate(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return None


def _of_server(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLError):
        return "the server uses no TLS there: begin REDIS_URL with redis://"
    return error_advice.words(error) if isinstance(error, RedisError) else None


def _of_system(error: BaseException) -> str | None:
    return error.strerror or None if isinstance(error, OSError) else None


def _of_time(error: BaseException) -> str | None:
    return "no answer in time" if isinstance(error, TimeoutError) else None


def lacking(error: BaseException) -> str | None:
    """The permission that the Redis user lacks, when that is why a connection failed."""
    refused = (one for one in _chain(error) if isinstance(one, RedisError) and error_advice.is_permission(one))
    return next((words for one in refused if (words := error_advice.words(one)) is not None), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class ConnectionLog:
    """Log of one connection: a line when it cannot be made, and one when it can be again."""

    def __init__(self) -> None:
        self._lasts = False
        self._unfit = False

    def failed(self, error: BaseException) -> None:
        """Note a connection that failed."""
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
        """Note a connection that was made."""
        if self._lasts:
            self._lasts = False
            _log.info("redis_fit" if self._unfit else "redis_reached_again")


class RefusalLog:
    """Log of one store: a line for each kind of refusal, at most one a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reported: dict[str, float] = {}

    def noticed(self, error: RedisError | str) -> None:
        """Note a refusal of a call, or of one item of it."""
        words = error_advice.words(error)
        if words is None or self._clock() < self._reported.get(words, -REPEAT_LOG_S) + REPEAT_LOG_S:
            return
        self._reported[words] = self._clock()
        _log.error("redis_refused", code=error_advice.code(error), reason=words)
