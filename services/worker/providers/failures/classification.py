"""Meaning of every failed call to a provider: one pure function, no vendor, no I/O.

The adapters fill in a `CallFailure`, `classify` decides how the job goes on. The whole table is in
docs/provider-failures.md, made by `failures_page.py` from this code.

Sources: OpenAI "Error codes" and Anthropic "Claude API errors" (their API references, November 2026), and the
exceptions of the SDKs for each fault, tried against real servers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from services.worker.providers import Action, ProviderError
from services.worker.providers.failures.error_bodies import squash
from services.worker.providers.failures.message_hints import HINT_CHARACTERS, Hint, hint_in
from services.worker.providers.failures.retry_after import seconds_in
from shared.job import JobError

__all__ = [
    "HINT_CHARACTERS", "RETRY_AFTER_CAP_S", "CallFailure", "Fault", "Hint", "classify", "hint_in", "retry_after_s",
]  # fmt: skip

RETRY_AFTER_CAP_S: Final = 3600.0
"""Longest retry-after in s that is honoured: an hour; a longer one is taken for a mistake."""


class Fault(StrEnum):
    """Faults of a call that no HTTP status describes."""

    UNREACHABLE = "unreachable"  # no connection came about: refused, no such host, TLS
    DROPPED = "dropped"  # the connection broke, before the answer or inside it
    TIMEOUT = "timeout"  # nothing came for too long
    TRUNCATED = "truncated"  # the stream ended in good order, but before its end
    MALFORMED = "malformed"  # a piece of the stream does not follow the API
    REPORTED = "reported"  # the provider reported an error inside a stream that began with 200
    REFUSED = "refused"  # the model or a filter withheld the answer
    EMPTY = "empty"  # a complete answer without text
    LIMITED = "limited"  # the token limit was used up before any text
    BROKEN_OFF = "broken_off"  # the finish reason says that the server could not go on
    TOOL = "tool"  # it says that the model waits for a tool, and none was offered


class CallFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A failed call as the adapter saw it. Nothing in it is text of the provider, the prompt or the answer.

    `status`: of an answer that was an error; None for faults, also for errors inside a stream that began with 200.
    `kind`, `code`: the `type` and `code` of the error's body. `hint`: see `Hint`. `retry_after`,
    `retry_after_ms`, `date`: the headers of these names, as they came. `body_wait`: the time to wait in its body;
    `reset`: the time in its headers at which a used-up limit is reset.
    """

    status: int | None = None
    fault: Fault | None = None
    kind: str | None = None
    code: str | None = None
    hint: Hint | None = None
    retry_after: str | None = None
    retry_after_ms: str | None = None
    body_wait: str | None = None
    reset: str | None = None
    date: str | None = None


class _Verdict(msgspec.Struct, frozen=True):
    type: str
    action: Action
    message: str


_RATE = _Verdict("RateLimited", Action.WAIT, "the provider asks for fewer calls")
_OVERLOADED = _Verdict("ProviderOverloaded", Action.WAIT, "the provider is overloaded")
_UNAVAILABLE = _Verdict("ProviderUnavailable", Action.RETRY, "the provider has a problem of its own")
_TIMEOUT = _Verdict("ProviderTimeout", Action.RETRY, "the provider did not answer in time")
_CONFLICT = _Verdict("ProviderConflict", Action.RETRY, "the provider was busy with the same request")
_UNREACHABLE = _Verdict("ProviderUnreachable", Action.RETRY, "the provider could not be reached")
_BROKEN = _Verdict("StreamBroken", Action.RETRY, "the connection to the provider broke")
_TRUNCATED = _Verdict("StreamTruncated", Action.RETRY, "the provider's stream ended too early")
_MALFORMED = _Verdict("StreamMalformed", Action.RETRY, "the provider sent something unreadable")
_REPORTED = _Verdict("StreamFailed", Action.RETRY, "the provider failed in the middle of its answer")
_EMPTY = _Verdict("EmptyAnswer", Action.RETRY, "the provider answered without a text")
_TOOL = _Verdict("ToolRequested", Action.RETRY, "the model asked for a tool instead of writing its text to the end")
_CREDIT = _Verdict("ProviderOutOfCredit", Action.FALLBACK, "the account at the provider has no credit left")
_KEY = _Verdict("ProviderKeyRejected", Action.FALLBACK, "the provider does not accept our key")
_FORBIDDEN = _Verdict("ProviderForbidden", Action.FALLBACK, "the provider does not let us use this model")
_NOT_FOUND = _Verdict("ModelNotFound", Action.FALLBACK, "the provider does not know this model")
_LIMITED = _Verdict("TokenLimitTooSmall", Action.FALLBACK, "the token limit was used up before any text was written")
_OVER_LIMIT = _Verdict("RequestOverLimit", Action.FALLBACK, "the request exceeds what the account may use in a minute")
_REFUSED = _Verdict("ProviderRefused", Action.FALLBACK, "the provider does not take calls like ours")
_REJECTED = _Verdict("RequestRejected", Action.FAIL, "the provider rejected the request as invalid")
_TOO_LARGE = _Verdict("RequestTooLarge", Action.FAIL, "the prompt is too long for the model")
_FILTERED = _Verdict("ContentFiltered", Action.FAIL, "the provider withheld the answer for reasons of content")

_BY_FAULT: Final = {
    Fault.UNREACHABLE: _UNREACHABLE,
    Fault.DROPPED: _BROKEN,
    Fault.TIMEOUT: _TIMEOUT,
    Fault.TRUNCATED: _TRUNCATED,
    Fault.MALFORMED: _MALFORMED,
    Fault.REFUSED: _FILTERED,
    Fault.EMPTY: _EMPTY,
    Fault.LIMITED: _LIMITED,
    Fault.BROKEN_OFF: _REPORTED,
    Fault.TOOL: _TOOL,
}

_BY_HINT: Final = {Hint.CREDIT: _CREDIT, Hint.TOO_LONG: _TOO_LARGE, Hint.OVER_LIMIT: _OVER_LIMIT}
_BY_VAGUE_HINT: Final = {
    Hint.KEY: _KEY, Hint.ACCOUNT: _FORBIDDEN, Hint.REGION: _FORBIDDEN, Hint.MODEL: _NOT_FOUND, Hint.FILTERED: _FILTERED,
}  # fmt: skip
_VAGUE_STATUSES: Final = frozenset({400, 403, 404, 422})
"""Types that blame the request, although the fault may be ours."""

_CODES: Final = {
    # The body is more exact than the status: out of credit is a 429 at one provider, a 400 at another.
    **dict.fromkeys(
        (
            "insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active",
            "credit_balance_exhausted", "organization_spend_limit_exceeded", "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded", "contract_spend_limit_reached", "enforced_spend_limit_reached",
            "linked_organization_spend_limit_reached", "linked_organization_billing_unavailable",
            "user_profile_not_billable", "user_profile_billing_not_authorized", "insufficient_balance",
            "insufficient_credits", "exceeded_current_quota_error", "arrearage",
        ),
        _CREDIT,
    ),
    **dict.fromkeys(("content_filter", "content_policy_violation", "invalid_prompt", "moderation_blocked"), _FILTERED),
    **dict.fromkeys(("context_length_exceeded", "string_above_max_length", "request_too_large"), _TOO_LARGE),
    **dict.fromkeys(("overloaded_error", "overloaded", "slow_down", "server_overloaded"), _OVERLOADED),
    **dict.fromkeys(
        (
            "rate_limit_error", "rate_limit_exceeded", "ramp_limit_exceeded", "resource_exhausted", "throttling",
            "throttling_rate_quota", "throttling_allocation_quota", "throttling_exception", "too_many_requests",
        ),
        _RATE,
    ),
    **dict.fromkeys(
        (
            "invalid_api_key", "api_key_invalid", "api_key_expired", "incorrect_api_key", "missing_api_key",
            "no_api_key", "invalid_key", "authentication_error", "invalid_authentication_error",
            "invalid_authentication", "unauthenticated", "unauthorized", "access_token_expired",
            "access_token_type_unsupported", "credentials_missing",
        ),
        _KEY,
    ),
    **dict.fromkeys(("model_not_found", "model_not_exist", "invalid_model", "model_not_available"), _NOT_FOUND),
    **dict.fromkeys(
        (
            "organization_on_hold", "permission_denied", "unsupported_country_region_territory", "consumer_suspended",
            "consumer_invalid", "service_disabled", "billing_disabled", "api_key_service_blocked",
            "api_key_ip_address_blocked", "api_key_http_referrer_blocked", "account_deactivated",
        ),
        _FORBIDDEN,
    ),
}  # fmt: skip
_BY_CODE: Final = {squash(code): verdict for code, verdict in _CODES.items()}
"""Without case and separators, as in `finish_reasons.py`: Google writes `RESOURCE_EXHAUSTED`, Qwen `InvalidApiKey`."""

_BY_KIND_IN_A_STREAM: Final = {
    # Vague types: beside a status the status counts, inside a stream there is nothing else.
    **dict.fromkeys(("api_error", "server_error", "internal_server_error"), _UNAVAILABLE),
    **dict.fromkeys(("timeout_error", "timeout"), _TIMEOUT),
    "authentication_error": _KEY,
    "permission_error": _FORBIDDEN,
    "not_found_error": _NOT_FOUND,
    "invalid_request_error": _REJECTED,
}

_BY_STATUS: Final = {
    400: _REJECTED,
    401: _KEY,
    402: _CREDIT,
    403: _FORBIDDEN,
    404: _NOT_FOUND,
    405: _NOT_FOUND,
    408: _TIMEOUT,
    409: _CONFLICT,
    410: _NOT_FOUND,
    413: _TOO_LARGE,
    422: _REJECTED,
    429: _RATE,
    # About the address, the headers or the place we call from: no customer had a part in them.
    **dict.fromkeys((406, 407, 411, 414, 415, 417, 421, 426, 428, 431, 451), _REFUSED),
    504: _TIMEOUT,
    529: _OVERLOADED,
}


_ANSWERED: Final = (_EMPTY, _LIMITED, _OVER_LIMIT, _TOOL)
"""Failures that the request itself caused: a few of them would block the gate for all other jobs."""


def classify(failure: CallFailure) -> ProviderError:
    """Decide how the job goes on: the action, the error to show, and the provider's retry-after in s.

    Never raises. `retry_after_s` is None or above 0 up to RETRY_AFTER_CAP_S, and always None for FALLBACK and FAIL.
    """
    verdict = _judge(failure)
    again = verdict.action in (Action.WAIT, Action.RETRY)
    error = JobError(type=verdict.type, message=verdict.message, retryable=again)
    retry_after = retry_after_s(failure) if again else None
    return ProviderError(error, verdict.action, retry_after_s=retry_after, answered=verdict in _ANSWERED)


def _judge(failure: CallFailure) -> _Verdict:
    if failure.fault is not None and failure.fault in _BY_FAULT:
        return _BY_FAULT[failure.fault]
    return _by_words(failure) or _by_status(failure)


def _by_words(failure: CallFailure) -> _Verdict | None:
    """Find the verdict; the body is more exact than the status."""
    if failure.hint in _BY_HINT:
        return _BY_HINT[failure.hint]
    for said in (failure.code, failure.kind):
        if said is not None and (verdict := _BY_CODE.get(squash(said))) is not None:
            return verdict
    if failure.hint in _BY_VAGUE_HINT and (failure.status is None or failure.status in _VAGUE_STATUSES):
        return _BY_VAGUE_HINT[failure.hint]
    return None


def _by_status(failure: CallFailure) -> _Verdict:
    if failure.status is None or failure.status < 300:
        return _BY_KIND_IN_A_STREAM.get(failure.kind or failure.code or "", _REPORTED)
    if failure.status in _BY_STATUS:
        return _BY_STATUS[failure.status]
    # A 3xx was followed as far as it led: one that is left is the address's fault, like a 404. A 4xx that is in no
    # standard speaks of the server (498: no capacity, 499: it gave up, 424 and 425: something behind it), whatever its
    # class says: the request is not blamed, because another provider may well answer it.
    return _NOT_FOUND if failure.status < 400 else _UNAVAILABLE


def retry_after_s(failure: CallFailure) -> float | None:
    """The provider's retry-after in s, above 0 up to RETRY_AFTER_CAP_S; None when there is none or it cannot be read.

    `retry-after-ms` wins, then `retry-after`, then the time in the body; the resets of limits, which come with every
    answer, count for a 429 alone. A date counts from the answer's own `date`: the two clocks need not agree. A time of
    0 counts as none: it would turn back-off into a tight loop.
    """
    reset = failure.reset if failure.status == 429 else None
    waits = ((failure.retry_after_ms, 1000.0), (failure.retry_after, 1.0), (failure.body_wait, 1.0), (reset, 1.0))
    for text, unit in waits:
        seconds = seconds_in(text, failure.date)
        if seconds is not None:
            return min(seconds / unit, RETRY_AFTER_CAP_S) if seconds > 0 else None
    return None
