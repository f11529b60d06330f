"""OpenAI's Python SDK before a gateway of ours, unchanged but for its address. Every response and every event that it
gets must be as the schemas of `open_responses.py` have them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from services.worker.providers import GenerationRequest, Item
from shared.store.job_store import JobStore
from tests.support.gateway import body
from tests.support.job_life import JobLife
from tests.support.open_responses import faults_of, faults_of_event
from tests.support.worker import DONE

BEGIN = ["created", "queued", "in_progress"]
ITEM = ["output_item.added", "content_part.added", "output_text.delta"]
CLOSE = ["output_text.done", "content_part.done", "output_item.done"]
"""Types of events: of the beginning, of an item's beginning, of its end."""


@asynccontextmanager
async def open_sdk(url: str, *, key: str = "any", retries: int = 5) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK's client of the gateway at this address; `retries`: how often it repeats a request by itself, as it
    must on a busy machine."""
    http = openai.DefaultAsyncHttpxClient(event_hooks={"response": [_check_answer]})
    base = f"{url.rstrip('/')}/v1"
    async with openai.AsyncOpenAI(api_key=key, base_url=base, max_retries=retries, http_client=http) as client:
        yield client


async def _check_answer(answer: httpx2.Response) -> None:
    """Check the body of a response object."""
    if answer.headers.get("content-type") != "application/json":
        return
    found = msgspec.json.decode(await answer.aread())
    if answer.status_code == 200 and found.get("object") == "response" and "deleted" not in found:
        assert faults_of(found) == []


def _checked(event: ResponseStreamEvent) -> ResponseStreamEvent:
    assert faults_of_event(event.to_dict()) == []
    return event


async def read(stream: openai.AsyncStream[ResponseStreamEvent]) -> list[ResponseStreamEvent]:
    """All events of a stream."""
    return [_checked(event) async for event in stream]


async def take(stream: openai.AsyncStream[ResponseStreamEvent], count: int) -> list[ResponseStreamEvent]:
    """Its first events; then the connection is cut."""
    found: list[ResponseStreamEvent] = []
    async with contextlib.aclosing(aiter(stream)) as events:  # type: ignore[type-var]  # it is a generator
        async for event in events:
            found.append(_checked(event))
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


class Heard:
    """A provider that answers "Hello", or whatever it `says`, and remembers the requests."""

    def __init__(self) -> None:
        self.says = "Hello"
        self.requests: list[GenerationRequest] = []

    async def __call__(self, asked: GenerationRequest) -> AsyncIterator[Item]:
        """See `Provider.stream`."""
        self.requests.append(asked)
        yield self.says[:3]
        yield self.says[3:]
        yield DONE


async def refused(call: Any, status: int, code: str, param: str | None = None) -> openai.APIStatusError:
    """The SDK's error of a call that must be refused so."""
    with pytest.raises(openai.APIStatusError) as raised:
        await call
    error = raised.value
    assert (error.status_code, error.code, error.param) == (status, code, param), error.body
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert error.response.headers["content-type"] == "application/json"
    return error


async def made(sdk: openai.AsyncOpenAI, store: JobStore, **changes: Any) -> JobLife:
    """A job of the background, led by the test."""
    response = await sdk.responses.create(**request(background=True, **changes))
    assert response.status == "queued"
    job = JobLife(store)
    job.id = response.id
    return job


async def followed(sdk: openai.AsyncOpenAI, job: JobLife, after: int | None = None) -> list[Any]:
    """Everything that a reader gets of a job from an event on, checked: numbers without holes, and `event` is the
    type."""
    asked: dict[str, Any] = {} if after is None else {"starting_after": after}
    async with asyncio.timeout(20):
        events = await read(await sdk.responses.retrieve(job.id, stream=True, **asked))
    first = 0 if after is None else after + 1
    assert [event.sequence_number for event in events] == list(range(first, first + len(events)))
    return events
