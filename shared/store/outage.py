"""Says once, when Redis cannot be reached, why: callers only hear that it did not answer in time."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final

import structlog
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError

_log: Final = structlog.get_logger(__name__)
_CREDENTIALS: Final = (AuthenticationError, AuthorizationError, NoPermissionError)


def reason_of(error: BaseException) -> str:
    """Why a connection did not come about, in words that hold no URL and no password."""
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {one.verify_message}"
    for one in chain:
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
    if any(isinstance(one, _CREDENTIALS) for one in chain):
        return "user or password are refused"
    if any(isinstance(one, TimeoutError) for one in chain):
        return "no answer in time"
    return type(chain[-1]).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class Outage:
    """Of one connection: a line when it cannot be made, and one when it could be again."""

    def __init__(self) -> None:
        self._lasts = False

    def failed(self, error: BaseException) -> None:
        """A connection did not come about."""
        if not self._lasts:
            self._lasts = True
            _log.warning("redis_not_reached", reason=reason_of(error))

    def ended(self) -> None:
        """A connection came about."""
        if self._lasts:
            self._lasts = False
            _log.info("redis_reached_again")
