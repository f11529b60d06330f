"""Outcomes of failed attempts."""

from __future__ import annotations

import random

import pytest

from services.worker.execution.retry_policy import backoff_ms, classify
from services.worker.providers import Action, ProviderError
from services.worker.providers.failures.classification import RETRY_AFTER_CAP_S
from shared.job import JobError, RetryReason

CHANCE = random.Random(1)


@pytest.mark.parametrize(
    ("attempt", "highest"), [(1, 1000), (2, 2000), (3, 4000), (6, 32_000), (7, 60_000), (50, 60_000)]
)
def test_backoff_grows_with_full_jitter_up_to_a_minute(attempt: int, highest: int) -> None:
    """Uniform between nothing and 1, 2, 4… s, never above 60 s, however many attempts."""
    draws = [backoff_ms(attempt, CHANCE) for _ in range(500)]
    assert 0 <= min(draws) < highest * 0.1
    assert highest * 0.9 < max(draws) <= highest


def test_a_permanent_error_is_not_tried_again() -> None:
    """The provider's own class decides; its error is the one for the front end."""
    error = JobError(type="InvalidRequest", message="the provider refused the request")
    failure = classify(ProviderError(error, Action.FAIL), 1, CHANCE)
    assert (failure.error, failure.delay_ms) == (error, None)


@pytest.mark.parametrize(
    ("retry_after", "attempt", "earliest_ms", "window_ms"),
    [
        (2.5, 1, 2500, 2500),
        (2.5, 4, 2500, 8000),
        (0.0, 1, 0, 1000),
        (-3.0, 1, 0, 1000),
        (1e9, 1, RETRY_AFTER_CAP_S * 1000, 60_000),
    ],
)
def test_a_providers_retry_after_is_honoured_within_bounds(
    retry_after: float, attempt: int, earliest_ms: float, window_ms: float
) -> None:
    """Never before Retry-After, up to an hour, then spread over as long again or the back-off, at most a minute."""
    error = JobError(type="RateLimited", message="too many requests", retryable=True)
    failed = ProviderError(error, Action.WAIT, retry_after_s=retry_after)
    draws = [failure.delay_ms or 0 for failure in (classify(failed, attempt, CHANCE) for _ in range(500))]
    assert earliest_ms <= min(draws) < earliest_ms + window_ms * 0.1
    assert earliest_ms + window_ms * 0.9 < max(draws) <= earliest_ms + window_ms


def test_the_reason_of_a_wait_is_passed_on() -> None:
    """Readers learn whether a provider wanted fewer calls or had a problem."""
    error = JobError(type="X", message="y", retryable=True)
    reasons = [
        classify(ProviderError(error, action, retry_after_s=1), 1, CHANCE).reason
        for action in (Action.WAIT, Action.RETRY)
    ]
    assert reasons == [RetryReason.RATE_LIMITED, RetryReason.ERROR]


def test_a_time_out_is_retried_and_a_passed_deadline_is_not() -> None:
    """The same exception means two things, depending on which limit it was."""
    again, over = classify(TimeoutError(), 1, CHANCE), classify(TimeoutError(), 1, CHANCE, past_deadline=True)
    assert (again.error.type, again.delay_ms is not None) == ("Timeout", True)
    assert (over.error.type, over.delay_ms) == ("DeadlineExceeded", None)


def test_an_unknown_error_is_retried_without_its_words() -> None:
    """Its text may hold a prompt or a key, so it is neither shown nor kept."""
    failure = classify(RuntimeError("sk-secret and the prompt"), 2, CHANCE)
    assert failure.error.type == "InternalError"
    assert failure.error.retryable
    assert "secret" not in failure.error.message
