"""Requests of which a server refuses a part: repaired within the attempt, remembered, and shown in the result."""

from __future__ import annotations

from typing import Any

import pytest

from services.worker.providers import GenerationRequest
from services.worker.providers.requests import adjustments
from tests.providers.refusals import NO_DISABLED, OPENAI_PARAM, forbidden, said
from tests.support.adapters import Brief, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour, Call, Failing, Refusal


async def _run(llm: LlmServer, name: str, *refusals: Refusal, jobs: int = 1, **changes: Any) -> tuple[Any, list[Call]]:
    """The last of some jobs, and all calls that they made."""
    await llm.behave(Behaviour(keep_bodies=True, refuses=list(refusals)))
    url = {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]
    asked: GenerationRequest = request(name, **changes)
    async with open_provider(name, url, briefing=lambda _: Brief(max_tokens=300)) as provider:
        for _ in range(jobs):
            seen = await collect(provider, asked)
    return seen, await llm.calls()


async def test_one_repair_and_it_is_remembered(llm: LlmServer) -> None:
    """A refused parameter costs one more call, once for all jobs of a model; every result names it."""
    refusal = Refusal(parameter="temperature", status=400, body=said("'temperature' is not supported"))
    seen, calls = await _run(llm, "openai", refusal, jobs=3, temperature=0.2)
    assert [call.status for call in calls] == [400, 200, 200, 200]
    assert seen.done.metadata == {"ignored": ["temperature"]}
    assert "temperature" not in calls[-1].body


async def test_a_limit_under_its_other_name(llm: LlmServer) -> None:
    """The limit itself stays."""
    seen, calls = await _run(llm, "openai", Refusal(parameter="max_tokens", status=400, body=OPENAI_PARAM))
    assert [call.status for call in calls] == [400, 200]
    assert (calls[-1].body["max_completion_tokens"], "max_tokens" in calls[-1].body) == (300, False)
    assert seen.done.metadata == {"adjusted": ["max_tokens"]}


async def test_servers_that_name_one_after_the_other(llm: LlmServer) -> None:
    """Each repair is of another parameter; fixes learned before the last one count too."""
    refusals = [
        Refusal(parameter="stream_options", status=422, body={"detail": [forbidden("stream_options")]}),
        Refusal(parameter="temperature", status=422, body={"detail": [forbidden("temperature")]}),
    ]
    seen, calls = await _run(llm, "openai", *refusals, jobs=2, temperature=0.2)
    assert [call.status for call in calls] == [422, 422, 200, 200]
    assert seen.done.metadata == {"ignored": ["stream_options", "temperature"]}
    assert seen.done.usage.estimated is False


async def test_a_model_without_a_system_role(llm: LlmServer) -> None:
    """Instructions and prompt go out as one message of the user."""
    refusal = Refusal(parameter="system", status=400, body=said("System role not supported"))
    seen, calls = await _run(llm, "openai", refusal)
    (message,) = calls[-1].body["messages"]
    assert (message["role"], message["content"]) == ("user", "Write for a feed.\n\nWrite a post")
    assert seen.done.metadata == {"adjusted": ["system"]}


async def test_thinking_that_cannot_be_stopped(llm: LlmServer) -> None:
    """A model that refuses `disabled` thinks with little effort, and gets room for it."""
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": NO_DISABLED}}
    refusal = Refusal(parameter="thinking", status=400, body=body)
    seen, calls = await _run(llm, "anthropic", refusal, model="claude-opus-5", max_tokens=100)
    assert calls[0].body["thinking"] == {"type": "disabled"}
    assert (calls[-1].body["output_config"], calls[-1].body["max_tokens"]) == ({"effort": "low"}, 100 + 4096)
    assert seen.done.metadata == {"adjusted": ["thinking"]}


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_refusal_that_stays_fails_the_job(llm: LlmServer, name: str) -> None:
    """A server that refuses everything in any words gets a few calls and no more."""
    await llm.behave(Behaviour(fail=Failing(status=400, body=said("temperature, max_tokens, system role unsupported"))))
    url = {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]
    async with open_provider(name, url, briefing=lambda _: Brief(max_tokens=300)) as provider:
        seen = await collect(provider, request(name, temperature=0.5))
    assert seen.failed.error.type == "RequestRejected"
    assert len(await llm.calls()) <= 5


@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_other_failures_are_not_repaired(llm: LlmServer, status: int) -> None:
    """Only a refusal of the request itself is worth a second call."""
    await llm.behave(Behaviour(fail=Failing(status=status, body=said("temperature is not supported"))))
    async with open_provider("openai", llm.openai_url) as provider:
        await collect(provider, request("openai", temperature=0.5))
    assert len(await llm.calls()) == 1


async def test_learned_fixes_are_bounded(llm: LlmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many models a process meets, it remembers the last few; a new key asks for everything again."""
    monkeypatch.setattr(adjustments, "MODELS_MAX", 8)
    refusal = Refusal(parameter="temperature", status=400, body=said("'temperature' is not supported"))
    await llm.behave(Behaviour(refuses=[refusal]))
    async with open_provider("openai", llm.openai_url) as provider:
        for i in (*range(12), 11, 0):
            await collect(provider, request("openai", model=f"m{i}", temperature=0.5))
        assert len(await llm.calls()) == 12 * 2 + 1 + 2
        provider.rekey("another")
        await collect(provider, request("openai", model="m0", temperature=0.5))
    assert len(await llm.calls()) == 12 * 2 + 1 + 2 + 2
