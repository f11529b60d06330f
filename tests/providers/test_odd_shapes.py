"""Answers and errors in the shapes that compatible servers make of the two dialects, from our stand-in on a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.worker.providers import Action
from tests.providers.odd_streams import block, call, half, part
from tests.support.adapters import BOTH
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour, Failing
from tests.support.llm_bodies import START, choice, delta, event, stop

EMOJI = "\U0001f680"
HIGH, LOW = r"\ud83d", r"\ude80"
GEMINI_KEY = {
    "code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT",
    "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
}  # fmt: skip
GEMINI_RATE = {
    "code": 429, "message": "You exceeded your current quota.\nPlease retry in 34.07s.", "status": "RESOURCE_EXHAUSTED",
    "details": [{"violations": []}, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}],
}  # fmt: skip


MESSAGE = {"role": "assistant", "content": "Hi you"}
WHOLE: dict[str, dict[str, Any]] = {
    "openai": {
        "object": "chat.completion", "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    },
    "anthropic": {
        "type": "message", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi you"}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 7, "output_tokens": 3},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", None])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", BOTH)
async def test_a_whole_answer_although_a_stream_was_asked_for(
    llm: LlmServer, name: str, indent: int | None, kind: str | None
) -> None:
    """One piece of JSON is an answer, with any head, with blank lines in it, and cut anywhere."""
    body = "\ufeff" * (kind is None) + "\n\n" + json.dumps(WHOLE[name], indent=indent).replace("\n", "\n\n")
    raw = [body[start : start + 40] for start in range(0, len(body), 40)]
    seen = await call(llm, name, Behaviour(raw=raw, content_type=kind))
    assert (seen.text, seen.done.finish_reason) == ("Hi you", "stop")
    assert (seen.done.usage.input_tokens, seen.done.usage.output_tokens) == (7, 3)


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        ([{"error": GEMINI_KEY}], "ProviderKeyRejected"),
        ({"errors": [{"message": "rate limit", "code": 429}]}, "RateLimited"),
        ({"detail": "Invalid API key"}, "ProviderKeyRejected"),
        ({"message": "no", "code": 503}, "ProviderUnavailable"),
        ({"choices": None, "base_resp": {"status_code": 1004, "status_msg": "invalid api key"}}, "ProviderKeyRejected"),
        ({"error": "overload", "error_type": "overloaded"}, "ProviderOverloaded"),
        ({"fine": True}, "StreamMalformed"),
    ],
)
@pytest.mark.parametrize("framed", [True, False])
async def test_errors_of_any_shape_under_a_200(llm: LlmServer, body: Any, error_type: str, framed: bool) -> None:
    """As an event or as the whole body, an error is read by its own words."""
    seen = await call(llm, "openai", Behaviour(raw=[event(body) if framed else json.dumps(body)]))
    expected = "StreamTruncated" if framed and error_type == "StreamMalformed" else error_type
    assert seen.failed.error.type == expected


@pytest.mark.parametrize("status", [400, 403, 404])
@pytest.mark.parametrize(
    "body",
    [
        [{"error": GEMINI_KEY}],
        {"error": GEMINI_KEY},
        {"error": {"type": "invalid_request_error", "message": "Incorrect API key provided: sk-1."}},
        {"error": "invalid api key"},
        {"errors": [{"message": "Authentication error: invalid token"}]},
        {"detail": "Invalid API key"},
        {"message": "Your API key has expired"},
        {"code": "InvalidApiKey", "message": "…"},
    ],
)
@pytest.mark.parametrize("name", BOTH)
async def test_a_key_problem_behind_another_status(llm: LlmServer, name: str, body: Any, status: int) -> None:
    """It is ours and not the customer's: the next provider is asked."""
    seen = await call(llm, name, Behaviour(fail=Failing(status=status, body=body)))
    assert (seen.failed.action, seen.failed.error.type) == (Action.FALLBACK, "ProviderKeyRejected")


@pytest.mark.parametrize(
    ("status", "body", "sent"),
    [
        (429, [{"error": GEMINI_RATE}], ({}, 34.07)),
        (429, {"error": {**GEMINI_RATE, "details": []}}, ({}, 34.07)),
        (429, {"error": {"message": "Rate limit reached. Please try again in 1m3.5s."}}, ({}, 63.5)),
        (503, {"error": {"message": "Retry in 20s"}}, ({}, 20.0)),
        (429, {"error": GEMINI_RATE}, ({"retry-after": "2"}, 2.0)),
        (429, {}, ({"retry-after": "34.07s"}, 34.07)),
        (429, {}, ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360.0)),
        (429, {}, ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "0",
                    "x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "90"}, 1.0)),
        (429, {}, ({"x-ratelimit-reset": "1795608030000", "date": "Wed, 25 Nov 2026 12:00:00 GMT"}, 30.0)),
        (503, {}, ({"x-ratelimit-reset-requests": "1s"}, None)),
        (400, {"error": {"message": "Write: please try again in 20s"}}, ({}, None)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", BOTH)
async def test_retry_afters_in_bodies_and_resets(
    llm: LlmServer, name: str, status: int, body: Any, sent: tuple[dict[str, str], float | None]
) -> None:
    """A time to wait counts wherever a provider puts it, its headers first."""
    headers, retry_after = sent
    seen = await call(llm, name, Behaviour(fail=Failing(status=status, body=body or {"x": 1}, headers=headers)))
    assert seen.failed.retry_after_s == retry_after


TEXT = [{"type": "text", "text": "Hi "}, {"type": "text", "text": "you"}]


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("openai", [part(TEXT), part([], "stop")]),
        ("openai", [part(TEXT[:1]), part({"type": "text", "text": "you"}, "stop")]),
        ("openai", [part("Hi "), part(["you", {"type": "image_url", "image_url": {"url": "x"}}], "stop")]),
        ("openai", [part(7), part(None), part([None, 3, [[[[[["no"]]]]]], {"text": {"value": 1}}]),
                    part("Hi you", "stop")]),
        ("openai", [part("Hi", index=0), part("No", index=1), part(" you", "stop", index=0),
                    part("No", "length", index=1)]),
        ("openai", [event({"choices": []}), event({"choices": [{"index": 0}]}), part("Hi you"),
                    event({"choices": [{"delta": {"role": "assistant"}, "finish_reason": "stop"}]})]),
        ("openai", [part("Hi you"), event({"choices": [None, {"delta": [], "finish_reason": "stop"}]})]),
        ("openai", [part("Hi you"), event({"object": "chat.completion", "choices": [
            {"message": {"content": "Hi you"}, "finish_reason": "stop"}]})]),
        ("openai", [choice("Hi").replace("\n\n", "\n"), choice(" you", "stop").replace("\n\n", "\n"), "data: [DONE]"]),
        ("openai", [choice("Hi you"), choice(None, "stop").rstrip()]),
        ("openai", [choice("Hi you").replace("\n", "\r"), choice(None, "stop").replace("\n", "\r")]),
        ("openai", [choice("Hi you").replace("data: ", "data:"), choice(None, "stop"), "data:[DONE]\n\n"]),
        ("openai", [choice("Hi you", "stop"), 'data: "[DONE]"\n\n', event({"error": "late"})]),
        ("openai", ["event: chunk\nid: 1\n" + choice("Hi you"), "retry: 3\n: hm\n" + choice(None, "stop")]),
        ("openai", [event({"type": "response.output_text.delta", "delta": "Hi you"}),
                    event({"type": "response.completed", "response": {"status": "completed"}})]),
        ("anthropic", [START, block(type="text", text="Hi"), delta(" you"), stop("end_turn")]),
        ("anthropic", [START, block(type="tool_use", name="x", input={}), block(type="new", text=None),
                       delta("Hi you"), stop("end_turn")]),
        ("anthropic", [START, delta("Hi you"), stop("end_turn")[:-1].replace("\n\n", "\n")]),
        ("anthropic", [event(WHOLE["anthropic"])]),
    ],
)  # fmt: skip
async def test_texts_of_any_shape(llm: LlmServer, name: str, raw: list[str]) -> None:
    """Parts, several choices, other frames: no piece of the text is lost, and none comes twice."""
    seen = await call(llm, name, Behaviour(raw=raw))
    assert (seen.text, seen.done.finish_reason) == ("Hi you", "stop")


@pytest.mark.parametrize(
    "raw",
    [
        [choice(None, refusal="I "), choice(None, "stop", refusal="won't.")],
        [part([{"type": "refusal", "refusal": "I won't."}], "stop")],
        [event({"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]})],
    ],
)
async def test_a_refusal_is_no_text(llm: LlmServer, raw: list[str]) -> None:
    """The text of a model that declines is not published."""
    seen = await call(llm, "openai", Behaviour(raw=raw))
    assert (seen.text, seen.failed.error.type) == ("", "ContentFiltered")


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([HIGH, LOW], EMOJI),
        (["a" + HIGH, LOW + "b"], f"a{EMOJI}b"),
        ([HIGH + LOW], EMOJI),
        ([HIGH, "x"], "\ufffdx"),
        ([HIGH, HIGH, LOW], f"\ufffd{EMOJI}"),
        (["a" + LOW], "a\ufffd"),
        (["a" + HIGH], "a\ufffd"),
        ([r"\ud83d", r"\udcc2"], "\U0001f4c2"),
    ],
)
@pytest.mark.parametrize("name", BOTH)
async def test_half_a_character(llm: LlmServer, name: str, pieces: list[str], text: str) -> None:
    """Two halves of a character in two pieces are one; a half that stays alone costs itself."""
    raw = [half(piece, name) for piece in pieces]
    raw = [*raw, choice(None, "stop")] if name == "openai" else [START, *raw, stop("end_turn")]
    assert (await call(llm, name, Behaviour(raw=raw))).text == text


@pytest.mark.parametrize(
    ("data", "error_type"),
    [
        ('{"message": "slow down", "code": 429}', "RateLimited"),
        ('{"type": "error", "error": {"type": "overloaded_error"}}', "ProviderOverloaded"),
        ("something broke", "StreamFailed"),
        ('{"code": "Throttling.RateQuota", "message": "…"}', "RateLimited"),
    ],
)
@pytest.mark.parametrize("name", BOTH)
async def test_an_event_that_is_called_error(llm: LlmServer, name: str, data: str, error_type: str) -> None:
    """Its name makes it an error even if its data does not."""
    seen = await call(llm, name, Behaviour(raw=[f"id: 1\nevent: error\ndata: {data}\n\n"]))
    assert seen.failed.error.type == error_type


async def test_a_text_about_errors_is_a_text(llm: LlmServer) -> None:
    """Text in the data names no event."""
    written = "event: error\ndata: errors"
    seen = await call(llm, "openai", Behaviour(raw=["event: message\n" + choice(written, "stop")]))
    assert seen.text == written
