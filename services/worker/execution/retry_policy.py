"""Decides whether and when a failed attempt is tried again. Pure."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import msgspec

from services.worker.providers import Action, ProviderError
from services.worker.providers.failures.classification import RETRY_AFTER_CAP_S
from shared.job import JobError, RetryReason

BACKOFF_BASE_S: Final = 1.0
BACKOFF_CAP_S: Final = 60.0


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Reason for which an attempt ended, in words that are safe to show, and the time to the next one (None: never)."""

    error: JobError
    delay_ms: int | None
    reason: RetryReason = RetryReason.ERROR


def backoff_ms(attempt: int, chance: random.Random, *, wait_ms: int = 0) -> int:
    """Full-jitter exponential back-off in ms: uniform between 0 and 1 s, 2 s, 4 s… at most 60 s.

    After `wait_ms`, the provider's retry-after, it begins when that is over, and its window is at least as long: jobs
    that received the same retry-after at the same time must not come back at the same time. Source: "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015: full jitter needs the fewest calls.
    """
    window_s = max(BACKOFF_BASE_S * 2.0 ** min(attempt - 1, 10), wait_ms / 1000)
    return wait_ms + round(chance.uniform(0, min(BACKOFF_CAP_S, window_s)) * 1000)


def retry_after_ms(error: ProviderError) -> int | None:
    """The retry-after of the provider in ms, bounded; None when it gave none."""
    return None if error.retry_after_s is None else round(min(max(error.retry_after_s, 0.0), RETRY_AFTER_CAP_S) * 1000)


def classify(raised: BaseException, attempt: int, chance: random.Random, *, past_deadline: bool = False) -> Failure:
    """Judge an exception for the job whose `attempt` (from 1) it ended, when no other provider takes over."""
    if isinstance(raised, ProviderError):
        if raised.action in (Action.FAIL, Action.FALLBACK):
            return Failure(error=raised.error, delay_ms=None)
        reason = RetryReason.RATE_LIMITED if raised.action is Action.WAIT else RetryReason.ERROR
        delay_ms = backoff_ms(attempt, chance, wait_ms=retry_after_ms(raised) or 0)
        return Failure(error=raised.error, delay_ms=delay_ms, reason=reason)
    if isinstance(raised, asyncio.TimeoutError) and past_deadline:
        return Failure(
            error=JobError(type="DeadlineExceeded", message="the deadline passed while the job ran"), delay_ms=None
        )

    if isinstance(raised, asyncio.TimeoutError):
        error = JobError(type="Timeout", message="the attempt took longer than its time-out", retryable=True)
    else:
        error = JobError(type="InternalError", message="the attempt failed unexpectedly", retryable=True)
    return Failure(error=error, delay_ms=backoff_ms(attempt, chance))
