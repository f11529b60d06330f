"""OpenAI's own SDK for Node before the real services: every cut, another vendor behind it, a killed worker, a bad
network."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import pytest

from tests.e2e.conftest import StackMaker
from tests.e2e.test_openai_sdk import LEASE, bad_network
from tests.e2e.test_providers import ANTHROPIC, OPENAI, settings
from tests.support.checks import leaks
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour
from tests.support.node import PACKAGE, Script, needs_node, running_script
from tests.support.open_responses import faults_of_event
from tests.support.openai_sdk import request

pytestmark = [needs_node, pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT: Final = PACKAGE / "tests/openai/responses.js"


def sdk(url: str, act: str, *, retries: int = 5, **asked: Any) -> AbstractAsyncContextManager[Script]:
    """The SDK doing one thing at this address; see the script."""
    return running_script(SCRIPT, act, json.dumps(request(**asked)), PRESSWORK_URL=url, RETRIES=str(retries))


def read(lines: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The events, and the response that was retrieved after them; all of them checked."""
    *events, last = lines
    assert [fault for line in events for fault in faults_of_event(line["event"])] == []
    return [line["event"] for line in events], last["response"]


def text_of(events: list[dict[str, Any]], index: int = 0) -> str:
    """The text that the deltas of one item add up to."""
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    return "".join(event["delta"] for event in deltas if event["output_index"] == index)


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
async def test_a_background_response_survives_every_cut(stack: StackMaker, llm: LlmServer, model: str) -> None:
    """Created in the background, its stream cut after each number and resumed: the texts are equal."""
    async with stack(**settings(llm)) as running:
        await llm.behave(Behaviour(tokens=30, gap_s=0.05, first_token_s=0.1))
        async with sdk(running.gateway.url, "cut", model=model, background=True, stream=True) as script:
            events, whole = read(await script.lines())
        assert len(await llm.calls()) == 1
        assert await leaks(running.server.url) == []

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert len(events) > 12
    assert events[-1]["type"] == "response.completed"
    assert (whole["status"], whole["model"]) == ("completed", model)
    assert text_of(events) == whole["output_text"]


@pytest.mark.parametrize("restart", [False, True])
async def test_a_killed_worker_in_mid_stream(stack: StackMaker, restart: bool) -> None:
    """The stream ends with `error`, or goes on with a new item and completes; the whole text is there once."""
    asked: dict[str, Any] = {"stream": True, "background": True, "presswork": {"restart": restart}}
    async with stack(workers=2, LEASE_SECONDS=LEASE, DEMO_TOKENS_PER_SECOND="10") as running:
        async with sdk(running.gateway.url, "read", **asked) as script:
            await script.lines(8)
            await (await running.busy_worker()).kill()
            events, whole = read(await script.lines())
        assert await leaks(running.server.url) == []

    assert (whole["status"], len(whole["output"])) == ("completed", 1)
    if restart:
        assert events[-1]["type"] == "response.completed"
        assert text_of(events, 1) == events[-1]["response"]["output"][0]["content"][0]["text"] == whole["output_text"]
    else:
        assert (events[-1]["type"], events[-1]["code"]) == ("error", "attempt_superseded")
        assert whole["output_text"].startswith(text_of(events))


async def test_a_cancel_stops_the_call_of_the_provider(stack: StackMaker, llm: LlmServer) -> None:
    """The response ends `cancelled` with the text so far."""
    async with stack(**settings(llm, PROVIDERS=OPENAI)) as running:
        await llm.behave(Behaviour(endless=True, gap_s=0.02))
        async with sdk(running.gateway.url, "cancel", model=OPENAI, background=True, stream=True) as script:
            answers = [line["response"] for line in await script.lines()]
        async with asyncio.timeout(30):
            while (call := (await llm.calls())[0]).end is None:
                await asyncio.sleep(0.02)
    assert call.end == "disconnected"
    assert [answer["status"] for answer in answers] == ["cancelled"] * 2
    assert answers[1]["output_text"]


@pytest.mark.parametrize("background", [False, True])
async def test_three_answers_of_503_and_then_success_are_one_job(stack: StackMaker, background: bool) -> None:
    """The SDK repeats the request by itself, without a key: the job is made, and bought, once."""
    async with (
        stack(DEMO_TOKENS_PER_SECOND="0") as running,
        bad_network(running.gateway.url, failures=3) as url,
        sdk(url, "create", retries=3, background=background) as script,
    ):
        (line,) = await script.lines()
        stats = await running.stats()
    assert line["response"]["status"] == "completed"
    assert (stats["completed"], stats["queued"], stats["processing"]) == (1, 0, 0)
