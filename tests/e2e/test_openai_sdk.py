"""OpenAI's own SDK before the real services: every cut, another vendor behind it, a killed worker, a bad network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.conftest import StackMaker
from tests.e2e.test_providers import ANTHROPIC, OPENAI, settings
from tests.support.checks import leaks
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour
from tests.support.openai_sdk import kinds, last, open_sdk, read, request, take, text_of
from tests.support.plain import NO_TLS
from tests.support.processes import free_port
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(300)
LEASE = "2"


async def until(sdk: openai.AsyncOpenAI, response_id: str, *statuses: str) -> Any:
    """The response once it has one of these statuses, as a client of the background polls for it."""
    async with asyncio.timeout(60):
        while (response := await sdk.responses.retrieve(response_id)).status not in statuses:
            await asyncio.sleep(0.05)
    return response


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
async def test_a_background_response_survives_every_cut(stack: StackMaker, llm: LlmServer, model: str) -> None:
    """Created in the background, its stream cut after each number and resumed: the texts are equal, with either vendor
    behind the same call."""
    async with stack(**settings(llm)) as running, open_sdk(running.gateway.url) as sdk:
        await llm.behave(Behaviour(tokens=30, gap_s=0.05, first_token_s=0.1, keep_bodies=True))
        asked = request(model=model, instructions="Sound warm.", background=True, stream=True)
        events = await take(await sdk.responses.create(**asked), 1)
        response_id = last(events).id
        while kinds(events)[-1] not in ("completed", "error"):
            after = events[-1].sequence_number
            events += await take(await sdk.responses.retrieve(response_id, stream=True, starting_after=after), 1)
        whole = await sdk.responses.retrieve(response_id)
        assert await leaks(running.server.url) == []
        (call,) = await llm.calls()

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (whole.status, whole.model) == ("completed", model)
    assert text_of(events) == last(events).output_text == whole.output_text
    assert len(kinds(events)) > 12
    instructions = call.body["system"] if model is ANTHROPIC else call.body["messages"][0]["content"]
    assert instructions.endswith("\nSound warm.")


@pytest.mark.parametrize("restart", [False, True])
async def test_a_killed_worker_in_mid_stream(stack: StackMaker, restart: bool) -> None:
    """The stream ends with `error`, or goes on with a new item and completes; the whole text is there once."""
    async with (
        stack(workers=2, LEASE_SECONDS=LEASE, DEMO_TOKENS_PER_SECOND="10") as running,
        open_sdk(running.gateway.url) as sdk,
    ):
        asked = request(stream=True, background=True, extra_body={"presswork": {"restart": restart}})
        stream = aiter(await sdk.responses.create(**asked))
        events = [await anext(stream) for _ in range(8)]
        await (await running.busy_worker()).kill()
        async with asyncio.timeout(120):
            events += [event async for event in stream]
        whole = await until(sdk, last(events[:1]).id, "completed", "failed")
        assert await leaks(running.server.url) == []

    assert whole.status == "completed"
    assert len(whole.output) == 1
    if restart:
        assert kinds(events)[-1] == "completed"
        assert text_of(events, 1) == last(events).output_text == whole.output_text
    else:
        assert kinds(events)[-1] == "error"
        assert whole.output_text.startswith(text_of(events))


async def test_a_cancel_stops_the_call_of_the_provider(stack: StackMaker, llm: LlmServer) -> None:
    """The response ends `cancelled` with the text so far."""
    async with stack(**settings(llm, PROVIDERS=OPENAI)) as running, open_sdk(running.gateway.url) as sdk:
        await llm.behave(Behaviour(tokens=3000, gap_s=0.02))
        stream = await sdk.responses.create(**request(model=OPENAI, background=True, stream=True))
        begun = await take(stream, 8)
        ended = await sdk.responses.cancel(last(begun[:1]).id)
        assert (ended.status, bool(ended.output_text)) == ("cancelled", True)
        async with asyncio.timeout(30):
            while (call := (await llm.calls())[0]).end is None:
                await asyncio.sleep(0.02)
    assert call.end == "disconnected"


@asynccontextmanager
async def bad_network(url: str, failures: int) -> AsyncIterator[str]:
    """A proxy that passes requests on, and answers the first so many with 503 although they arrived."""
    left = failures

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            content = await reader.readexactly(int(headers.get("content-length") or headers.get("Content-Length") or 0))
            method, path, _ = first.split(" ")
            passed = {name: value for name, value in headers.items() if name.lower() not in ("host", "connection")}
            async with httpx.AsyncClient(verify=NO_TLS, timeout=60) as client:
                answer = await client.request(method, url + path, headers=passed, content=content)
            status, text = answer.status_code, answer.content
            if left > 0:
                left, status, text = left - 1, 503, b"{}"
            start = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n"
            writer.write(f"{start}content-length: {len(text)}\r\n\r\n".encode() + text)
            await writer.drain()
        finally:
            writer.close()

    port = free_port()
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("background", [False, True])
async def test_three_answers_of_503_and_then_success_are_one_job(stack: StackMaker, background: bool) -> None:
    """The SDK repeats the request by itself, without a key: the job is made, and bought, once."""
    async with (
        stack(DEMO_TOKENS_PER_SECOND="0") as running,
        bad_network(running.gateway.url, failures=3) as url,
        open_sdk(url, retries=3) as sdk,
    ):
        response = await sdk.responses.create(**request(background=background))
        await until(sdk, response.id, "completed")
        stats = await running.stats()
    assert (stats["completed"], stats["queued"], stats["processing"]) == (1, 0, 0)


async def test_the_cases_of_open_responses(stack: StackMaker) -> None:
    """Plain, streamed, with a system prompt, and over several turns: the compliance cases for text."""
    hello = {"role": "user", "content": "Say hello in exactly 3 words."}
    turns = [
        {"role": "user", "content": "My name is Alice."},
        {"role": "assistant", "content": "Hello Alice! Nice to meet you. How can I help you today?"},
        {"role": "user", "content": "What is my name?"},
    ]
    async with stack(DEMO_TOKENS_PER_SECOND="0") as running, open_sdk(running.gateway.url) as sdk:
        for messages in ([hello], [{"role": "system", "content": "You are a pirate."}, hello], turns):
            asked = request(input=[{"type": "message", **message} for message in messages])
            response = await sdk.responses.create(**asked)
            assert (response.status, len(response.output), bool(response.output_text)) == ("completed", 1, True)
            events = await read(await sdk.responses.create(**asked, stream=True))
            assert last(events).status == "completed"
            assert text_of(events) == last(events).output_text


async def test_the_models_of_the_fleet(stack: StackMaker, llm: LlmServer) -> None:
    """They are those of PROVIDERS, and each answers under its name."""

    async def names(running: Stack) -> list[str]:
        async with open_sdk(running.gateway.url) as sdk:
            found = [model.id async for model in sdk.models.list()]
            answers = [await sdk.responses.create(**request(model=name)) for name in found]
        assert [answer.model for answer in answers] == found
        return found

    async with stack(**settings(llm)) as running:
        await llm.behave(Behaviour(tokens=4))
        assert await names(running) == [OPENAI, ANTHROPIC]
