"""Both adapters against llmock: a whole answer, and every fault that it can make."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.worker.providers import Action
from tests.providers.conftest import LLMock
from tests.support.adapters import BOTH, collect, open_provider, request

FAILS = [
    ({"status": 400}, Action.FAIL, "RequestRejected", None),
    ({"status": 401}, Action.FALLBACK, "ProviderKeyRejected", None),
    ({"status": 402}, Action.FALLBACK, "ProviderOutOfCredit", None),
    ({"status": 403}, Action.FALLBACK, "ProviderForbidden", None),
    ({"status": 404}, Action.FALLBACK, "ModelNotFound", None),
    ({"status": 408}, Action.RETRY, "ProviderTimeout", None),
    ({"status": 413}, Action.FAIL, "RequestTooLarge", None),
    ({"status": 422}, Action.FAIL, "RequestRejected", None),
    ({"status": 429, "retry_after": 2}, Action.WAIT, "RateLimited", 2.0),
    ({"status": 500}, Action.RETRY, "ProviderUnavailable", None),
    ({"status": 502}, Action.RETRY, "ProviderUnavailable", None),
    ({"status": 504, "retry_after": 1}, Action.RETRY, "ProviderTimeout", 1.0),
    ({"status": 529, "retry_after": 4}, Action.WAIT, "ProviderOverloaded", 4.0),
]


@pytest.mark.parametrize("name", BOTH)
async def test_a_whole_answer(llmock: LLMock, name: str) -> None:
    """Text, usage and finish reason are those of the provider, and so is the price where the list holds."""
    llmock.script({"type": "reply", "text": "Meet the new kettle: quiet, quick and blue."})
    async with open_provider(name, llmock.urls[name], priced=True) as provider:
        seen = await collect(provider, request(name))
        assert seen.text == "Meet the new kettle: quiet, quick and blue."
        usage = seen.done.usage
        assert (seen.done.finish_reason, usage.estimated) == ("stop", False)
        assert usage.input_tokens > 0
        assert usage.output_tokens > 0
        assert seen.reported[-1] == usage
        # USD per million tokens in and out, November 2026.
        dollars = {"openai": (0.15, 0.60), "anthropic": (1.0, 5.0)}[name]
        expected = 1000 * (usage.input_tokens * dollars[0] + usage.output_tokens * dollars[1])
        assert provider.cost(request(name).model, usage) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("shape", FAILS, ids=[str(shape[0]["status"]) for shape in FAILS])
async def test_statuses(llmock: LLMock, name: str, shape: tuple[dict[str, Any], Action, str, float | None]) -> None:
    """Every status ends in its documented class, after one call: nothing is retried behind the worker's back."""
    fail, action, error_type, retry_after = shape
    llmock.script({"type": "fail", "times": 1, **fail})
    async with open_provider(name, llmock.urls[name]) as provider:
        error = (await collect(provider, request(name))).failed
        assert (error.action, error.error.type, error.retry_after_s) == (action, error_type, retry_after)
        assert (await collect(provider, request(name))).completion is not None


@pytest.mark.parametrize(
    ("name", "action", "error_type"),
    [("openai", Action.RETRY, "ProviderUnavailable"), ("anthropic", Action.WAIT, "ProviderOverloaded")],
)
async def test_service_unavailable(llmock: LLMock, name: str, action: Action, error_type: str) -> None:
    """A 503 is retried, after the time it names; Anthropic's says `overloaded_error`, and that decides."""
    llmock.script({"type": "fail", "status": 503, "retry_after": 3})
    async with open_provider(name, llmock.urls[name]) as provider:
        error = (await collect(provider, request(name))).failed
        assert (error.action, error.error.type, error.retry_after_s) == (action, error_type, 3.0)


async def test_out_of_credit_is_no_rate_limit(llmock: LLMock) -> None:
    """OpenAI's 429 `insufficient_quota` does not block the gate: waiting fills no account."""
    llmock.script({"type": "fail", "status": 429, "code": "insufficient_quota", "retry_after": 1})
    async with open_provider("openai", llmock.urls["openai"]) as provider:
        error = (await collect(provider, request("openai"))).failed
        assert (error.action, error.error.type) == (Action.FALLBACK, "ProviderOutOfCredit")
        assert error.retry_after_s is None


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    ("kind", "error_type"),
    [("disconnect", "StreamBroken"), ("truncate", "StreamTruncated"), ("malformed", "StreamMalformed")],
)
async def test_broken_streams(llmock: LLMock, name: str, kind: str, error_type: str) -> None:
    """A stream that breaks in the middle fails the attempt; the text before it was passed on."""
    after = {"openai": 4, "anthropic": 6}[name]
    llmock.script({"type": "stream_fault", "kind": kind, "after_chunks": after})
    async with open_provider(name, llmock.urls[name]) as provider:
        seen = await collect(provider, request(name))
        assert (seen.failed.action, seen.failed.error.type) == (Action.RETRY, error_type)
        assert seen.text


@pytest.mark.parametrize("name", BOTH)
async def test_a_delay_is_waited_out(llmock: LLMock, name: str) -> None:
    """A slow answer is an answer."""
    llmock.script({"type": "delay", "seconds": 0.5})
    async with open_provider(name, llmock.urls[name]) as provider:
        assert (await collect(provider, request(name))).text


@pytest.mark.parametrize("name", BOTH)
async def test_a_delay_beyond_the_read_timeout(llmock: LLMock, name: str) -> None:
    """The adapter's last resort ends a call on which nothing comes."""
    llmock.script({"type": "delay", "seconds": 30})
    async with open_provider(name, llmock.urls[name], read_timeout_s=0.3) as provider:
        error = (await collect(provider, request(name))).failed
        assert (error.action, error.error.type) == (Action.RETRY, "ProviderTimeout")


@pytest.mark.parametrize("name", BOTH)
async def test_a_stall_beyond_the_read_timeout(llmock: LLMock, name: str) -> None:
    """The same inside a stream."""
    llmock.script({"type": "stream_fault", "kind": "stall", "after_chunks": 6, "stall_seconds": 30})
    async with open_provider(name, llmock.urls[name], read_timeout_s=0.5) as provider:
        seen = await collect(provider, request(name))
        assert (seen.failed.action, seen.failed.error.type) == (Action.RETRY, "ProviderTimeout")
        assert seen.text


@pytest.mark.parametrize("name", BOTH)
async def test_a_stalled_stream_is_left_at_once(llmock: LLMock, name: str) -> None:
    """Cancelling a call that stalls does not wait for the provider."""
    llmock.script({"type": "stream_fault", "kind": "stall", "after_chunks": 6, "stall_seconds": 30})
    async with open_provider(name, llmock.urls[name]) as provider:
        loop = asyncio.get_running_loop()
        calling = asyncio.create_task(collect(provider, request(name)))
        await asyncio.sleep(0.3)
        start = loop.time()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert loop.time() - start < 10
