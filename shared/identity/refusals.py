"""Refusals of callers: counted, logged without the token, and answered with 401, or 429 after too many."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from shared.http.problems import TOO_MANY_FAILURES, Problem, unauthorized
from shared.identity.client_address import ClientAddresses
from shared.identity.guesses import Guesses
from shared.telemetry.auth_metrics import AuthMetrics

_log: Final = structlog.get_logger(__name__)


class Reason(StrEnum):
    """Reasons for which a caller is not known."""

    MISSING = "missing"
    MALFORMED = "malformed"
    MISTYPED = "mistyped"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    BAD_TICKET = "bad_ticket"
    BAD_JWT = "bad_jwt"
    BAD_SESSION = "bad_session"


class Refused(Exception):
    """A token that is none of ours, any more or ever. `key_id`: the key that it names, if it is a known one; `holder`:
    whose that is, `*`: an operator's, None: not known."""

    def __init__(self, reason: Reason, key_id: str = "", holder: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.key_id = key_id
        self.holder = holder


class Refusals:
    """Of one service."""

    def __init__(self, addresses: ClientAddresses, registry: CollectorRegistry) -> None:
        self._addresses = addresses
        self._metrics = AuthMetrics(registry, Reason)
        self._guesses = Guesses()

    def problem(self, refused: Refused, scope: Mapping[str, Any]) -> Problem:
        """The answer to a refused caller. A request without any token is no guess."""
        self._metrics.failures.labels(refused.reason).inc()
        if refused.reason is Reason.MISSING:
            return unauthorized()
        address = self._addresses.of(scope)
        left_s = self._guesses.failed(address)
        if left_s is not None:
            return Problem(TOO_MANY_FAILURES, retry_after=math.ceil(left_s))
        named = {"key_id": refused.key_id} if refused.key_id else {}
        _log.warning("authentication_failed", reason=str(refused.reason), address=address, **named)
        return unauthorized(refused.holder)
