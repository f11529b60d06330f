"""The classifier: total, bounded, consistent, and as the docs have it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.execution.gate_reports import report_of
from services.worker.providers import Action
from services.worker.providers.failures.classification import (
    RETRY_AFTER_CAP_S,
    CallFailure,
    Fault,
    Hint,
    classify,
    hint_in,
    retry_after_s,
)
from services.worker.providers.http.client import reported
from shared.store.results import CallReport
from tests.support.failures_page import SHAPES, page
from tests.support.processes import ROOT

words = st.none() | st.text(max_size=40)
headers = words | st.floats().map(str) | st.integers().map(str) | st.datetimes().map(lambda at: at.strftime("%c GMT"))
failures = st.builds(
    CallFailure,
    status=st.none() | st.integers(min_value=-1, max_value=1000), fault=st.none() | st.sampled_from(Fault),
    kind=words | st.sampled_from(["rate_limit_error", "api_error", "billing_error"]), code=words,
    hint=st.none() | st.sampled_from(Hint), retry_after=headers, retry_after_ms=headers, date=headers,
)  # fmt: skip
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
bodies = json | st.dictionaries(st.sampled_from(["type", "code", "message", "details"]), json)


@given(failures)
def test_every_failure_has_a_verdict(failure: CallFailure) -> None:
    """Every failure is classified; `retryable` follows the action; a retry-after is bounded, and set only with a
    retry."""
    verdict = classify(failure)
    assert verdict.error.retryable is (verdict.action in (Action.WAIT, Action.RETRY))
    assert verdict.error.type.isidentifier()
    retry_after = verdict.retry_after_s
    assert retry_after is None or 0 <= retry_after <= RETRY_AFTER_CAP_S
    assert retry_after is None or verdict.error.retryable


@given(body=bodies, status=st.none() | st.integers(min_value=300, max_value=600))
def test_every_body_can_be_read(body: Any, status: int | None) -> None:
    """A body of any shape is described and classified."""
    failure = reported(body, status=status)
    assert (failure.fault is Fault.REPORTED) is (failure.status is None)
    classify(failure)


@pytest.mark.parametrize(
    ("given_headers", "retry_after"),
    [
        ({"retry_after": "2"}, 2.0),
        ({"retry_after": "0.25"}, 0.25),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "0"}, None),
        ({"retry_after_ms": "0", "retry_after": "9"}, None),
        ({"retry_after": "1e9"}, RETRY_AFTER_CAP_S),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": ""}, None),
        ({"retry_after_ms": "1500", "retry_after": "9"}, 1.5),
        ({"retry_after_ms": "x", "retry_after": "9"}, 9.0),
        ({"retry_after": "Wed, 25 Nov 2026 12:00:07 GMT", "date": "Wed, 25 Nov 2026 12:00:00 GMT"}, 7.0),
        ({"retry_after": "Wed, 25 Nov 2026 11:00:00 GMT", "date": "Wed, 25 Nov 2026 12:00:00 GMT"}, None),
        ({"retry_after": "Wed, 25 Nov 2026 12:00:07 GMT"}, None),
        ({}, None),
    ],
)
def test_the_retry_after(given_headers: dict[str, Any], retry_after: float | None) -> None:
    """Seconds, milliseconds or a date; an absurd time is bounded, an unreadable one is none."""
    assert retry_after_s(CallFailure(status=429, **given_headers)) == retry_after


@pytest.mark.parametrize(("status", "retry_after"), [(429, 30.0), (503, None), (529, None), (None, None)])
def test_the_reset_of_a_limit_is_a_retry_after_where_the_limit_is_used_up(
    status: int | None, retry_after: float | None
) -> None:
    """It comes with every answer: beside another failure it says nothing of when to come back."""
    assert retry_after_s(CallFailure(status=status, reset="30")) == retry_after


@pytest.mark.parametrize(
    ("hint", "error_type"),
    [(Hint.KEY, "ProviderKeyRejected"), (Hint.REGION, "ProviderForbidden"), (Hint.MODEL, "ModelNotFound")],
)
def test_a_vague_hint_counts_where_the_status_blames_the_request(hint: Hint, error_type: str) -> None:
    """A 503 whose message speaks of a model is a 503: only few words decide."""
    for status in (None, 400, 403, 404, 422):
        assert classify(CallFailure(status=status, hint=hint)).error.type == error_type
    for status in (408, 429, 500, 503):
        assert classify(CallFailure(status=status, hint=hint)).error == classify(CallFailure(status=status)).error


def test_hints() -> None:
    """The few things that only a message says."""
    assert hint_in("Your credit balance is too low to access the API.") is Hint.CREDIT
    assert hint_in("prompt is too long: 210000 tokens > 200000 maximum") is Hint.TOO_LONG
    assert hint_in("Request too large for gpt-4o on tokens per min (TPM)") is Hint.OVER_LIMIT
    assert hint_in("You have reached your specified API usage limits. You will regain access on …") is Hint.CREDIT
    assert hint_in("This request would exceed your organization's monthly spend limit.") is Hint.CREDIT
    assert hint_in("This request would exceed your rate limit of 30,000 input tokens per minute.") is None
    assert hint_in("Bad input. " + "x" * 200 + "Write about our card without a spend limit") is None
    assert hint_in("API key not valid. Please pass a valid API key.") is Hint.KEY
    assert hint_in("You didn't provide an API key.") is hint_in("Missing Authentication header") is Hint.KEY
    assert hint_in("User location is not supported for the API use.") is Hint.REGION
    assert hint_in("The model `x-1` does not exist") is hint_in("Model Not Exist") is Hint.MODEL
    assert hint_in("Unsupported parameter: 'max_tokens' is not supported with this model.") is None
    assert hint_in("Invalid value for 'temperature': no number") is hint_in("Write about our key partners") is None
    assert hint_in("The model `x-1` has been decommissioned and is no longer supported.") is Hint.MODEL
    assert hint_in("Model x-1 is deprecated") is Hint.MODEL
    assert hint_in("`temperature` is deprecated for this model.") is None
    assert hint_in("This organization has been disabled.") is Hint.ACCOUNT
    assert hint_in("input length and `max_tokens` exceed context limit: 9 + 2 > 10") is Hint.TOO_LONG
    assert hint_in("anything else") is hint_in(None) is hint_in(7) is None


@pytest.mark.parametrize(
    ("failure", "report"),
    [
        (CallFailure(status=429), CallReport.LIMITED),
        (CallFailure(status=500), CallReport.FAILED),
        (CallFailure(status=401), CallReport.REFUSED),
        (CallFailure(status=400), CallReport.NONE),
        (CallFailure(status=403, hint=Hint.FILTERED), CallReport.NONE),
        (CallFailure(fault=Fault.REFUSED), CallReport.NONE),
        (CallFailure(fault=Fault.EMPTY), CallReport.OK),
        (CallFailure(fault=Fault.LIMITED), CallReport.OK),
        (CallFailure(status=429, hint=Hint.OVER_LIMIT), CallReport.OK),
    ],
)
def test_failures_that_count_against_a_gate(failure: CallFailure, report: CallReport) -> None:
    """Only the provider's own failures count against it, not those that the request caused."""
    assert report_of(classify(failure)) is report


def test_types_say_one_thing_each() -> None:
    """A front end can distinguish failures by `type` alone: each has one action and one message."""
    verdicts = {(v.error.type, v.action, v.error.message) for v in (classify(failure) for _, failure in SHAPES)}
    assert len({error_type for error_type, _, _ in verdicts}) == len(verdicts)


def test_every_fault_and_hint_is_in_the_table() -> None:
    """The table leaves out nothing that the code knows."""
    shown = [failure for _, failure in SHAPES]
    assert {failure.fault for failure in shown} >= set(Fault)
    assert {failure.hint for failure in shown} | {Hint.TOO_LONG} >= set(Hint)


def test_the_page_is_up_to_date() -> None:
    """docs/provider-failures.md matches the code; `make docs` writes it."""
    assert (ROOT / "docs" / "provider-failures.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("status", range(400, 500))
def test_only_what_is_about_the_request_ends_a_job(status: int) -> None:
    """Of all 4xx three blame the request; after any other, in a standard or not, the next provider is asked."""
    about_it = status in (400, 413, 422)
    assert (classify(CallFailure(status=status)).action is Action.FAIL) is about_it


@pytest.mark.parametrize("status", [420, 424, 425, 498, 499])
def test_passing_failures_are_tried_again(status: int) -> None:
    """No capacity, or something behind the server that failed: the same call may be answered later."""
    assert classify(CallFailure(status=status)).action is Action.RETRY


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"type": "error", "error": {"message": "Output blocked by content filtering policy"}}),  # Anthropic
        (403, {"error": {"code": 403, "message": 'x/y requires moderation on Z. Your input was flagged for "a".'}}),
        (400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}),  # DeepSeek
        (400, {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}}),  # Zhipu
        (400, {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}),  # Qwen
        (400, {"error": {"message": "Your request was rejected", "code": "moderation_blocked"}}),
    ],
)
def test_a_filter_before_the_answer_is_one(status: int, body: Any) -> None:
    """A filtered answer is classified as that with any status, and does not count against the provider."""
    refusal = classify(reported(body, status=status))
    assert (refusal.error.type, report_of(refusal)) == ("ContentFiltered", CallReport.NONE)


@pytest.mark.parametrize(
    "body",
    [
        {"fault": {"faultstring": "Invalid ApiKey", "detail": {"errorcode": "oauth.v2.InvalidApiKey"}}},
        {"title": "Unauthorized", "status": 400},
    ],
)
def test_a_key_problem_in_a_gateway_s_words(body: Any) -> None:
    """The errors of gateways before a provider, and problem documents, are read too: another provider is asked."""
    assert classify(reported(body, status=400)).error.type == "ProviderKeyRejected"
