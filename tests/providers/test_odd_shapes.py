"""Answers and errors in the shapes that compatible servers make of the two dialects, from our stand-in on a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.worker.providers import Action
from tests.support.adapters import BOTH, Collected, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour, Failing
from tests.support.llm_bodies import START, choice, delta, event, stop, usage

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


async def call(llm: LlmServer, name: str, behaviour: Behaviour, **more: Any) -> Collected:
    """One call that the stand-in answers so."""
    await llm.behave(behaviour)
    url = {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]
    async with open_provider(name, url, **more) as provider:
        return await collect(provider, request(name))


def part(content: Any, finish: str | None = None, **more: Any) -> str:
    """A chunk whose content is of any kind."""
    return event({"choices": [{"delta": {"content": content}, "finish_reason": finish, **more}]})


def block(**content: Any) -> str:
    """The start of a block of a message."""
    return event({"type": "content_block_start", "index": 0, "content_block": content})


def half(escaped: str, name: str = "openai") -> str:
    """A piece of text that is this JSON escape."""
    return (choice("@") if name == "openai" else delta("@")).replace("@", escaped)


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


BAD = ["12", 1.5, None, -3, 1 << 62, {"n": 1}, [3], True, "x" * 1_000]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", BOTH)
async def test_a_bad_usage_costs_the_usage(llm: LlmServer, name: str, bad: Any) -> None:
    """One field that is no number of tokens is estimated; the text and the other fields stay."""
    if name == "openai":
        raw = [choice("Hi you", "stop"), usage(70, bad, cached_tokens=bad)]
    else:
        start = event({"type": "message_start", "message": {"usage": {"input_tokens": 70, "output_tokens": bad}}})
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": bad}}
        raw = [start, delta("Hi you"), event(end), event({"type": "message_stop"})]
    seen = await call(llm, name, Behaviour(raw=raw))
    found = seen.done.usage
    assert (seen.text, found.input_tokens, found.output_tokens, found.estimated) == ("Hi you", 70, 2, True)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", BOTH)
async def test_a_usage_that_is_none(llm: LlmServer, name: str, bad: Any) -> None:
    """Neither is the text lost when the whole usage is something else."""
    raw = [choice("Hi you", "stop"), event({"choices": [], "usage": bad})]
    if name == "anthropic":
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": bad}
        raw = [event({"type": "message_start", "message": {"usage": bad}}), delta("Hi you"), event(end)]
        raw.append(event({"type": "message_stop"}))
    seen = await call(llm, name, Behaviour(raw=raw))
    assert (seen.text, seen.done.usage.estimated) == ("Hi you", True)


@pytest.mark.parametrize(
    ("counts", "made", "thought"),
    [
        ({"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 14}, 9, 7),
        ({"completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 14}, 9, 7),
        ({"completion_tokens": 2, "total_tokens": 14}, 9, 7),
        ({"completion_tokens": 2, "total_tokens": 1 << 30}, 2, 0),
        ({"completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": "x"}, "total_tokens": 7}, 2, 0),
        ({"completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 99}, "total_tokens": 7}, 2, 2),
    ],
)
async def test_thoughts_are_part_of_what_was_made(llm: LlmServer, counts: Any, made: int, thought: int) -> None:
    """Also where a server leaves them out of its count of the output, and in its total alone."""
    report = event({"choices": [], "usage": {"prompt_tokens": 5, **counts}})
    found = (await call(llm, "openai", Behaviour(raw=[choice("Hi you", "stop"), report]))).done.usage
    assert (found.output_tokens, found.reasoning_tokens or 0, found.estimated) == (made, thought, False)


async def test_no_more_is_cached_than_was_asked(llm: LlmServer) -> None:
    """A part that is greater than its whole is shown as it is priced: cut."""
    raw = [choice("Hi you", "stop"), usage(5, 2, cached_tokens=99)]
    found = (await call(llm, "openai", Behaviour(raw=raw))).done.usage
    assert (found.input_tokens, found.cached_tokens, found.estimated) == (5, 5, False)


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
