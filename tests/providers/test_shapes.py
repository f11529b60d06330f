"""Shapes of answers and failures that llmock cannot make, from our own stand-in on a real socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from services.worker.providers import Action
from tests.support.adapters import BOTH, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour, Failing
from tests.support.llm_bodies import START, choice, delta, event, failed, stop
from tests.support.llm_dialects import text
from tests.support.processes import free_port


def url(llm: LlmServer, name: str) -> str:
    """The base URL of the stand-in for this vendor."""
    return {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]


LIMITS = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."


@pytest.mark.parametrize("name", BOTH)
async def test_the_token_limit_is_a_finish_reason(llm: LlmServer, name: str) -> None:
    """An answer that was cut at the limit says `length` at both vendors."""
    await llm.behave(Behaviour(tokens=9))
    async with open_provider(name, url(llm, name)) as provider:
        seen = await collect(provider, request(name, max_tokens=4))
    assert (seen.text, seen.done.finish_reason) == (text(4), "length")


@pytest.mark.parametrize("name", BOTH)
async def test_too_many_calls_without_a_retry_after(llm: LlmServer, name: str) -> None:
    """A 429 without Retry-After waits for no stated time."""
    await llm.behave(Behaviour(fail=Failing(status=429)))
    async with open_provider(name, url(llm, name)) as provider:
        error = (await collect(provider, request(name))).failed
    assert (error.action, error.error.type, error.retry_after_s) == (Action.WAIT, "RateLimited", None)


@pytest.mark.parametrize("name", BOTH)
async def test_retry_afters_in_other_words(llm: LlmServer, name: str) -> None:
    """Milliseconds, a date by the server's own clock, and an absurd number of days."""
    for headers, retry_after in (
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Wed, 25 Nov 2026 12:00:30 GMT", "date": "Wed, 25 Nov 2026 12:00:00 GMT"}, 30.0),
        ({"retry-after": "8640000"}, 3600.0),
    ):
        await llm.behave(Behaviour(fail=Failing(status=429, headers=headers)))
        async with open_provider(name, url(llm, name)) as provider:
            assert (await collect(provider, request(name))).failed.retry_after_s == retry_after


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("openai", 429, {"error": {"type": "insufficient_quota", "code": "credit_balance_exhausted"}}),
        ("anthropic", 400, {"error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}}),
        ("anthropic", 400, {"error": {"type": "x", "details": {"error_code": "enforced_spend_limit_reached"}}}),
        ("anthropic", 400, {"error": {"type": "invalid_request_error", "message": LIMITS}}),
        ("anthropic", 429, {"error": {"type": "rate_limit_error", "message": "You reached your monthly spend limit."}}),
        ("anthropic", 402, {"error": {"type": "billing_error"}}),
    ],
)
async def test_out_of_credit(llm: LlmServer, name: str, status: int, body: dict[str, Any]) -> None:
    """An empty account is recognised with any status."""
    await llm.behave(Behaviour(fail=Failing(status=status, body=body)))
    async with open_provider(name, url(llm, name)) as provider:
        error = (await collect(provider, request(name))).failed
    assert (error.action, error.error.type) == (Action.FALLBACK, "ProviderOutOfCredit")


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("name", BOTH)
async def test_an_error_of_another_shape(llm: LlmServer, name: str, status: int) -> None:
    """The error of something in between is classified by its status."""
    await llm.behave(Behaviour(fail=Failing(status=status, body={"whatever": [1]})))
    async with open_provider(name, url(llm, name)) as provider:
        expected = Action.FAIL if status == 400 else Action.RETRY
        assert (await collect(provider, request(name))).failed.action == expected


@pytest.mark.parametrize(
    ("name", "raw", "action", "error_type"),
    [
        ("openai", [choice("Hi"), event({"error": {"message": "x", "type": "server_error"}})], "retry", None),
        ("openai", [choice("Hi"), event({"error": {"message": "x"}})], "retry", "StreamFailed"),
        ("openai", [choice("Hi"), event({"error": "x"})], "retry", "StreamFailed"),
        ("openai", [choice("Hi"), event({"choices": [{"error": {"code": 429}}]}), "data: [DONE]\n\n"], "wait",
         "RateLimited"),
        ("openai", [event({"error": {"code": "rate_limit_exceeded"}})], "wait", "RateLimited"),
        ("openai", [event({"object": "error", "code": 400, "type": "BadRequestError"})], "fail", "RequestRejected"),
        ("openai", [choice("Hi", "content_filter")], "fail", "ContentFiltered"),
        ("openai", [choice(None, "stop", refusal="No.")], "fail", "ContentFiltered"),
        ("openai", [choice(None, "stop")], "retry", "EmptyAnswer"),
        ("openai", [choice(None, "length")], "fallback", "TokenLimitTooSmall"),
        ("openai", [choice("Hi"), "data: [DONE]\n\n"], "retry", "StreamTruncated"),
        ("openai", [], "retry", "StreamTruncated"),
        ("openai", ["<html>no events at all</html>"], "retry", "StreamTruncated"),
        ("openai", ["data: 7\n\n"], "retry", "StreamMalformed"),
        ("openai", [event({"error": {"message": "x", "type": "None", "code": "429"}})], "wait", "RateLimited"),
        ("openai", [json.dumps({"error": {"message": "x", "code": 401}}, indent=1)], "fallback", "ProviderKeyRejected"),
        ("openai", [json.dumps({"object": "error", "code": 400, "message": "x"})], "fail", "RequestRejected"),
        ("openai", [json.dumps({"choices": [{"message": {"content": "Hi"}}]})], "retry", "StreamMalformed"),
        ("openai", [choice("Hi", "tool_calls", tool_calls=[{"function": {"name": "f"}}]).replace("Hi", "")], "retry",
         "EmptyAnswer"),
        ("anthropic", [json.dumps({"type": "error", "error": {"type": "overloaded_error"}})], "wait",
         "ProviderOverloaded"),
        ("openai", ["data: " + "x" * (1 << 20)], "retry", "StreamMalformed"),
        ("anthropic", [START, delta("Hi"), failed("overloaded_error")], "wait", "ProviderOverloaded"),
        ("anthropic", [START, failed("api_error")], "retry", "ProviderUnavailable"),
        ("anthropic", [failed("invalid_request_error")], "fail", "RequestRejected"),
        ("anthropic", [START, delta("Hi"), stop("refusal")], "fail", "ContentFiltered"),
        ("anthropic", [START, stop("end_turn")], "retry", "EmptyAnswer"),
        ("anthropic", [START, stop("max_tokens")], "fallback", "TokenLimitTooSmall"),
        ("anthropic", [START, delta("Hi")], "retry", "StreamTruncated"),
        ("anthropic", [START, 'data: {"type": "content_block_delta", "delta": 7}\n\n'], "retry", "StreamMalformed"),
    ],
)  # fmt: skip
async def test_failures_inside_a_stream(
    llm: LlmServer, name: str, raw: list[str], action: str, error_type: str | None
) -> None:
    """A failure inside a 200 stream ends in its documented class, Anthropic's errors by type, never by status."""
    await llm.behave(Behaviour(raw=raw))
    async with open_provider(name, url(llm, name)) as provider:
        error = (await collect(provider, request(name))).failed
    assert (error.action, error.error.type) == (action, error_type or "ProviderUnavailable")


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("openai", choice("Hi") + "data: oops\n\n"),
        ("anthropic", START + delta("Hi") + failed("overloaded_error")),
    ],
)
async def test_text_before_an_error_is_passed_on(llm: LlmServer, name: str, raw: str) -> None:
    """Text that arrives in one piece with the error after it is not lost: it was paid for, and the job has begun."""
    await llm.behave(Behaviour(raw=[raw]))
    async with open_provider(name, url(llm, name)) as provider:
        seen = await collect(provider, request(name))
    assert seen.failed
    assert seen.text == "Hi"


@pytest.mark.parametrize(
    ("name", "raw", "finish"),
    [
        ("openai", [choice("Hi"), ": a comment\n\n", choice(" you", "stop"), "data: [DONE]\n\n"], "stop"),
        ("openai", [choice("Hi you", "eos")], "stop"),
        ("openai", ["\ufeff" + choice("Hi"), "data:\n\n", "data\n\n", choice(" you", "stop")], "stop"),
        ("openai", [choice("Hi you", "stop"), "data: [DONE] \n\n"], "stop"),
        ("openai", [choice("Hi you", "stop"), event({"error": {"message": "x"}})], "stop"),
        ("openai", [choice("Hi you", "stop") + "data: [DONE]\n\n" + choice(" and another", "length")], "stop"),
        ("openai", [choice("Hi you", "stop"), "data: oops\n\n", "data: [DONE]\n\n"], "stop"),
        ("openai", [choice("Hi", "stop"), choice(" you")], "stop"),
        ("openai", [choice("Hi you").replace("\n", "\r\n"), choice(None, "length").replace("\n", "\r\n")], "length"),
        ("anthropic", [START, event({"type": "ping"}), delta("Hi you"), stop("end_turn")], "stop"),
        ("anthropic", [START, delta("Hi you"), stop("stop_sequence")], "stop"),
        ("anthropic", [START + delta("Hi you") + stop("end_turn") + delta(" and another") + stop("refusal")], "stop"),
        ("anthropic", [START, delta("Hi you"), stop("model_context_window_exceeded")], "length"),
        ("anthropic", [START, event({"type": "new_in_2027", "delta": 7}), delta("Hi you"), stop("end_turn")], "stop"),
    ],
)
async def test_unusual_but_whole_answers(llm: LlmServer, name: str, raw: list[str], finish: str) -> None:
    """Comments, other line ends, unknown events and unknown finish reasons do no harm."""
    await llm.behave(Behaviour(raw=raw))
    async with open_provider(name, url(llm, name)) as provider:
        seen = await collect(provider, request(name))
    assert (seen.text, seen.done.finish_reason) == ("Hi you", finish)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("openai", [choice("Hi you", "stop")]),
        ("anthropic", [START, delta("Hi you"), event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})]),
    ],
)
async def test_a_break_after_the_end_costs_nothing(llm: LlmServer, name: str, raw: list[str]) -> None:
    """An answer that has its finish reason is whole, however its connection ends."""
    await llm.behave(Behaviour(raw=raw, cut="drop"))
    async with open_provider(name, url(llm, name)) as provider:
        assert (await collect(provider, request(name))).done.finish_reason == "stop"


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("openai", [choice("Hi you", "stop")]),
        ("anthropic", [START, delta("Hi you"), event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})]),
    ],
)
async def test_a_server_that_does_not_say_that_it_is_over(
    llm: LlmServer, name: str, raw: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a finish reason the answer is whole: its text comes at once, and its end is not waited for until a time-out
    would throw it away."""
    monkeypatch.setattr("services.worker.providers.replies.stream_reader.END_SECONDS", 0.2)
    await llm.behave(Behaviour(raw=raw, cut="stall"))
    async with open_provider(name, url(llm, name), read_timeout_s=30.0) as provider, asyncio.timeout(30):
        seen = await collect(provider, request(name))
    assert (seen.text, seen.done.finish_reason, seen.whole) == ("Hi you", "stop", True)


async def test_an_answer_without_end(llm: LlmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that writes on and on is left: neither the worker nor Redis has room for it."""
    monkeypatch.setattr("services.worker.providers.replies.stream_reader.TEXT_MAX", 10_000)
    await llm.behave(Behaviour(raw=[choice("x" * 1_000)] * 1_000, cut="stall"))
    async with open_provider("openai", llm.openai_url) as provider:
        seen = await collect(provider, request("openai"))
    assert (seen.failed.error.type, seen.failed.action) == ("StreamMalformed", Action.RETRY)


@pytest.mark.parametrize("name", BOTH)
async def test_no_redirect_is_followed(llm: LlmServer, name: str) -> None:
    """A prompt and a key go where the settings say, and nowhere else."""
    elsewhere = f"{llm.openai_url}/chat/completions"
    await llm.behave(Behaviour(fail=Failing(status=307, headers={"location": elsewhere}, first=1)))
    async with open_provider(name, url(llm, name)) as provider:
        error = (await collect(provider, request(name))).failed
    assert (error.action, error.error.type) == (Action.FALLBACK, "ModelNotFound")
    assert len(await llm.calls()) == 1


@pytest.mark.parametrize("name", BOTH)
async def test_nobody_listens(name: str) -> None:
    """A refused connection is retried."""
    async with open_provider(name, f"http://127.0.0.1:{free_port()}") as provider:
        error = (await collect(provider, request(name))).failed
    assert (error.action, error.error.type) == (Action.RETRY, "ProviderUnreachable")


@pytest.mark.parametrize("name", BOTH)
async def test_a_connection_is_used_again(llm: LlmServer, name: str) -> None:
    """A whole answer leaves its connection for the next call: no handshake per job."""
    async with open_provider(name, url(llm, name)) as provider:
        for _ in range(3):
            await collect(provider, request(name))
    assert (await llm.stats()).connections == 1
