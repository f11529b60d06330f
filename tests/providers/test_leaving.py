"""A stream without a reader is closed at once, in every state."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.adapters import BOTH, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour

# A stream that is not closed at once goes on for a minute.
SLOW = {
    "before the first token": (0, Behaviour(first_token_s=60)),
    "between tokens": (3, Behaviour(tokens=1200, gap_s=0.05)),
    "in a stall": (2, Behaviour(cut="stall", cut_after=2)),
}


async def _left(llm: LlmServer) -> None:
    """Wait until the stand-in has seen its only client go."""
    async with asyncio.timeout(30):
        while (await llm.stats()).open:
            await asyncio.sleep(0.01)
    (call,) = await llm.calls()
    assert call.end == "disconnected"


async def _opened(llm: LlmServer, tokens: int = 0) -> None:
    """Wait until a stream is open and so many tokens were sent in the last one."""
    async with asyncio.timeout(30):
        while not (await llm.stats()).open or (await llm.calls())[-1].tokens < tokens:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("tokens", "behaviour"), SLOW.values(), ids=SLOW.keys())
@pytest.mark.parametrize("name", BOTH)
async def test_cancelling(llm: LlmServer, name: str, tokens: int, behaviour: Behaviour) -> None:
    """The provider sees a cancelled call end at once: unread text is not paid for."""
    await llm.behave(behaviour)
    async with open_provider(name, {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]) as provider:
        calling = asyncio.create_task(collect(provider, request(name)))
        await _opened(llm, tokens)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await _left(llm)


@pytest.mark.parametrize("name", BOTH)
async def test_closing_the_generator(llm: LlmServer, name: str) -> None:
    """So does one whose generator is closed between two pieces."""
    await llm.behave(SLOW["between tokens"][1])
    async with open_provider(name, {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]) as provider:
        stream = provider.stream(request(name))
        async for item in stream:
            if isinstance(item, str):
                break
        await stream.aclose()  # type: ignore[attr-defined]  # the protocol says iterator, both are generators
        await _left(llm)


@pytest.mark.parametrize("name", BOTH)
async def test_a_call_beside_a_cancelled_one(llm: LlmServer, name: str) -> None:
    """Cancelling one call leaves the others of the same client alone."""
    await llm.behave(Behaviour(tokens=50, gap_s=0.02))
    async with open_provider(name, {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]) as provider:
        calls = [asyncio.create_task(collect(provider, request(name))) for _ in range(10)]
        await _opened(llm)
        for call in calls[::2]:
            call.cancel()
        await asyncio.wait(calls)
        assert all(call.result().done.finish_reason == "stop" for call in calls[1::2])
        assert all(call.cancelled() for call in calls[::2])


@pytest.mark.parametrize(
    ("name", "ping"), [("openai", ": ping\n\n"), ("openai", "data: \n\n"), ("anthropic", 'data: {"type": "ping"}\n\n')]
)
async def test_pings_are_silence(llm: LlmServer, name: str, ping: str) -> None:
    """A server that only keeps its connection alive says nothing, so the limits of silence end its call."""
    await llm.behave(Behaviour(raw=[ping] * 6_000, first_token_s=0.01, gap_s=0.01))
    async with open_provider(name, {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]) as provider:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(aiter(provider.stream(request(name)))), 0.5)
        await _left(llm)
