"""OpenAI's Python SDK before a gateway of ours, unchanged but for its address."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
from openai.types.responses import Response, ResponseStreamEvent

from tests.support.gateway import body

REQUIRED = {
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id",
    "instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p",
    "presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage", "max_output_tokens",
    "max_tool_calls", "store", "background", "service_tier", "metadata", "safety_identifier", "prompt_cache_key",
}  # fmt: skip
"""Fields that every response object of Open Responses has (`ResponseResource` of its schema, 2026-04-24)."""


@asynccontextmanager
async def open_sdk(url: str, *, key: str = "any", retries: int = 0) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK's client of the gateway at this address; `retries`: how often it repeats a request by itself."""
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{url.rstrip('/')}/v1", max_retries=retries) as client:
        yield client


async def read(stream: openai.AsyncStream[ResponseStreamEvent]) -> list[ResponseStreamEvent]:
    """All events of a stream."""
    return [event async for event in stream]


async def take(stream: openai.AsyncStream[ResponseStreamEvent], count: int) -> list[ResponseStreamEvent]:
    """Its first events; then the connection is cut."""
    found: list[ResponseStreamEvent] = []
    async with contextlib.aclosing(aiter(stream)) as events:  # type: ignore[type-var]  # it is a generator
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    await stream.close()
    return found


def text_of(events: list[ResponseStreamEvent], index: int | None = None) -> str:
    """The text that the deltas add up to; `index`: those of one item alone."""
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    return "".join(event.delta for event in deltas if index in (None, event.output_index))


def last(events: list[ResponseStreamEvent]) -> Response:
    """The response in the last event."""
    response: Response = events[-1].response  # type: ignore[union-attr]  # the last event of every stream has one
    return response


def kinds(events: list[ResponseStreamEvent]) -> list[str]:
    """The types of events, `response.` left out."""
    return [event.type.removeprefix("response.") for event in events]


def request(**changes: Any) -> dict[str, Any]:
    """A good request for a response."""
    return {"model": "demo:demo", "input": body()["prompt"], **changes}
