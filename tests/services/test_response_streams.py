"""Streams of `/v1/responses` through OpenAI's own SDK: numbers, resumes, lost attempts, lost logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import openai
import pytest

from shared.job import JobStatus, Outcome
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.transitions import Finish
from tests.support.checks import RawRedis
from tests.support.gateway import SUBMIT, body, running_gateway
from tests.support.job_life import JobLife
from tests.support.openai_sdk import kinds, last, open_sdk, read, request, take, text_of
from tests.support.sse import Stream, beats
from tests.support.upstash import TOKEN, running_upstash
from tests.support.worker import DONE, Scripted, running_worker

BEGIN = ["created", "queued", "in_progress"]
ITEM = ["output_item.added", "content_part.added", "output_text.delta"]
CLOSE = ["output_text.done", "content_part.done", "output_item.done"]
RESTART = {"presswork": {"restart": True}}


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that asks for no key."""
    async with running_gateway(redis_url, NOTIFIER_HEARTBEAT_SECONDS="0.2") as running:
        yield running


@pytest.fixture
async def sdk(gateway: httpx.AsyncClient) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK before it."""
    async with open_sdk(str(gateway.base_url)) as client:
        yield client


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


async def test_a_stream_resumes_after_every_event(sdk: openai.AsyncOpenAI, store: JobStore) -> None:
    """Live and after the end, what follows each number is byte for byte what the first reader got."""
    stream = await sdk.responses.create(**request(stream=True, metadata={"a": "b"}))
    (created,) = await take(stream, 1)
    job = JobLife(store)
    job.id = created.response.id  # type: ignore[union-attr]  # it is response.created
    await job.start()
    for text in ("one ", "two ", "thrée"):
        await job.write(text)
    live = [
        await take(await sdk.responses.retrieve(job.id, stream=True, starting_after=number), 7 - number)
        for number in range(7)
    ]
    await job.complete(" four")

    events = await followed(sdk, job)
    delta = "output_text.delta"
    assert kinds(events) == [*BEGIN, *ITEM, delta, delta, delta, *CLOSE, "completed"]
    assert text_of(events) == last(events).output_text == "one two thrée four"
    assert last(events).metadata == {"a": "b"}
    for number, seen in enumerate(live):
        assert [event.to_dict() for event in seen] == [event.to_dict() for event in events[number + 1 : 8]]
    for number in range(len(events)):
        resumed = await followed(sdk, job, number)
        assert [event.to_dict() for event in resumed] == [event.to_dict() for event in events[number + 1 :]]
    assert (await sdk.responses.retrieve(job.id)).to_dict() == last(events).to_dict()


async def test_the_bytes_of_a_stream(gateway: httpx.AsyncClient, sdk: openai.AsyncOpenAI, store: JobStore) -> None:
    """`event` equals `type`, no event has an id, none sets a pause, and the last data is [DONE]."""
    job = await made(sdk, store)
    await job.start()
    await job.complete("all")
    answer = await gateway.get(f"/v1/responses/{job.id}?stream=true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    *blocks, done, nothing = answer.text.split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    for block in blocks:
        event, data = block.split("\n")
        assert data.startswith('data: {"type":"' + event.removeprefix("event: ") + '"')


async def test_an_attempt_that_failed_before_its_text_leaves_no_trace(sdk: openai.AsyncOpenAI, store: JobStore) -> None:
    """Only that the response is in progress is said again."""
    job = await made(sdk, store)
    await job.start()
    await job.retry()
    await job.start()
    await job.write("text")
    await job.complete()
    events = await followed(sdk, job)
    assert kinds(events) == [*BEGIN, "in_progress", *ITEM, *CLOSE, "completed"]
    assert [item.id for item in last(events).output] == [events[4].item.id]


async def test_a_superseded_attempt_ends_the_stream(sdk: openai.AsyncOpenAI, store: JobStore) -> None:
    """With `error`, and no end; the job goes on, retrieve has the whole text once, and a reader that comes back after
    the error gets the attempt that followed."""
    job = await made(sdk, store)
    stream = await sdk.responses.retrieve(job.id, stream=True)
    await job.start()
    await job.write("lost ")
    await job.retry()
    events = await read(stream)
    assert kinds(events) == [*BEGIN, *ITEM, "error"]
    assert events[-1].code == "attempt_superseded"  # type: ignore[union-attr]  # it is the error
    assert job.id in events[-1].message  # type: ignore[union-attr]

    await job.start()
    await job.write("found ")
    await job.complete("text")
    whole = await sdk.responses.retrieve(job.id)
    assert (whole.status, whole.output_text, len(whole.output)) == ("completed", "found text", 1)
    assert kinds(await followed(sdk, job)) == kinds(events)
    rest = await followed(sdk, job, events[-1].sequence_number)
    assert kinds(rest) == ["in_progress", *ITEM, "output_text.delta", *CLOSE, "completed"]
    assert text_of(rest, 1) == "found text"
    assert last(rest).to_dict() == whole.to_dict()


async def test_with_restart_a_new_item_follows(sdk: openai.AsyncOpenAI, store: JobStore) -> None:
    """The lost one is closed as incomplete; the final object holds the last one alone, under the id of the stream's;
    and every cut resumes."""
    job = await made(sdk, store, extra_body=RESTART)
    for text in ("lost ", "again ", "found "):
        await job.start()
        await job.write(text)
        if text != "found ":
            await job.retry()
    await job.complete("text")
    events = await followed(sdk, job)
    lost = [*ITEM, *CLOSE, "in_progress"]
    assert kinds(events) == [*BEGIN, *lost, *lost, *ITEM, "output_text.delta", *CLOSE, "completed"]
    assert [text_of(events, index) for index in range(3)] == ["lost ", "again ", "found text"]
    items = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.status for item in items] == ["incomplete", "incomplete", "completed"]
    assert last(events).output_text == "found text"
    assert [item.id for item in last(events).output] == [items[-1].id]
    assert (await sdk.responses.retrieve(job.id)).to_dict() == last(events).to_dict()
    for number in range(len(events)):
        resumed = await followed(sdk, job, number)
        assert [event.to_dict() for event in resumed] == [event.to_dict() for event in events[number + 1 :]]


async def test_after_the_log_is_gone_the_text_is_one_item(
    sdk: openai.AsyncOpenAI, store: JobStore, redis_url: str
) -> None:
    """A new reader gets a whole stream; one that had the beginning, the text as a new item, then the end."""
    job = await made(sdk, store)
    await job.start()
    await job.write("one ")
    await job.write("two ")
    await job.complete("three")
    async with RawRedis(redis_url) as raw:
        await raw("DEL", store.keys.log(job.id))
    events = await followed(sdk, job)
    assert kinds(events) == [*BEGIN, *ITEM, *CLOSE, "completed"]
    assert text_of(events) == "one two three"
    resumed = await followed(sdk, job, 6)
    assert kinds(resumed) == [*ITEM, *CLOSE, "completed"]
    assert text_of(resumed) == last(resumed).output_text == "one two three"


async def test_a_gap_in_mid_stream_leaves_the_text_for_the_end(
    sdk: openai.AsyncOpenAI, store: JobStore, redis_url: str
) -> None:
    """The item that was open is closed as incomplete, and the whole text follows as another."""
    job = await made(sdk, store)
    stream = await sdk.responses.retrieve(job.id, stream=True)
    await job.start()
    await job.write("one ")
    events = aiter(stream)
    begun = [await anext(events) for _ in range(6)]
    async with RawRedis(redis_url) as raw:
        await raw("DEL", store.keys.log(job.id))
    await job.complete("two")
    rest = [event async for event in events]
    assert kinds([*begun, *rest]) == [*BEGIN, *ITEM, *CLOSE, *ITEM, *CLOSE, "completed"]
    assert text_of(rest) == last(rest).output_text == "one two"


async def test_a_cancel_ends_the_stream(sdk: openai.AsyncOpenAI, store: JobStore) -> None:
    """Its last event has the status `cancelled` and the text so far; a job that never ran has none."""
    for started in (True, False):
        job = await made(sdk, store)
        if started:
            await job.start()
            await job.write("half")
        stream = await sdk.responses.retrieve(job.id, stream=True)
        assert (await sdk.responses.cancel(job.id)).status == "cancelled"
        events = await read(stream)
        assert kinds(events)[-1] == "incomplete"
        assert (last(events).status, last(events).output_text) == ("cancelled", "half" if started else "")
        assert (await sdk.responses.retrieve(job.id)).to_dict() == last(events).to_dict()


async def test_a_failed_response_ends_its_stream_so(sdk: openai.AsyncOpenAI, store: JobStore) -> None:
    """Its text is closed as incomplete, and the end has the error."""
    job = await made(sdk, store)
    await job.start()
    await job.write("half")
    failed = Outcome(error=None, result=None)
    await store.finish(Finish(job.claim, JobStatus.FAILED, failed, number=2, offset=0, run_ms=1))
    events = await followed(sdk, job)
    assert kinds(events) == [*BEGIN, *ITEM, *CLOSE, "failed"]
    assert last(events).error is not None
    assert last(events).output == []


async def test_silence_is_broken_by_comments_that_the_sdk_ignores(
    gateway: httpx.AsyncClient, sdk: openai.AsyncOpenAI, store: JobStore
) -> None:
    """A long wait before the first word keeps the connection, and the stream goes on."""
    job = await made(sdk, store)
    url = f"{str(gateway.base_url).rstrip('/')}/v1/responses/{job.id}?stream=true"
    async with Stream(url) as raw:
        await raw.take(2)
        await beats(raw, 2)
    stream = await sdk.responses.retrieve(job.id, stream=True)
    await asyncio.sleep(0.5)
    await job.start()
    await job.complete("late")
    assert last(await read(stream)).output_text == "late"


async def test_any_job_can_be_read_as_a_response(
    gateway: httpx.AsyncClient, sdk: openai.AsyncOpenAI, store: JobStore
) -> None:
    """One of the guide's call too; the stream of one that is deleted meanwhile ends."""
    job = JobLife(store, organization_id="org-789")
    job.id = (await gateway.post(SUBMIT, json=body())).json()["jobId"]
    assert (await sdk.responses.retrieve(job.id)).status == "queued"
    stream = await sdk.responses.retrieve(job.id, stream=True)
    await store.cancel(job.id)
    await store.delete(job.id)
    assert kinds(await read(stream))[-1] in ("incomplete", "error")


async def test_over_rest_the_text_comes_as_one_delta(redis_url: str) -> None:
    """The pay-per-command profile logs no deltas: plain and streamed responses have the whole text."""
    async with (
        running_upstash(redis_url) as upstash,
        running_gateway("", UPSTASH_REDIS_REST_URL=upstash.url, UPSTASH_REDIS_REST_TOKEN=TOKEN) as gateway,
        open_sdk(str(gateway.base_url)) as sdk,
        running_worker(StoreSettings(redis_url=redis_url, frugal=True), {"demo": Scripted(_hello)}),
    ):
        plain = await sdk.responses.create(**request(), extra_headers={"x-stainless-retry-count": "0"})
        again = await sdk.responses.create(**request(), extra_headers={"x-stainless-retry-count": "1"})
        events = await read(await sdk.responses.create(**request(stream=True)))
    assert plain.output_text == "Hello"
    assert again.id == plain.id
    assert kinds(events) == [*BEGIN, *ITEM, *CLOSE, "completed"]
    assert last(events).output_text == "Hello"


async def _hello(_: object) -> AsyncIterator[Any]:
    yield "Hel"
    yield "lo"
    yield DONE


async def test_a_gateway_that_stops_ends_its_streams_without_an_end(redis_url: str) -> None:
    """The reader sees that nothing ended, and goes on elsewhere."""
    settings = StoreSettings(redis_url=redis_url, lease_seconds=2.0)
    async with open_store(settings, client_name="test") as store:
        async with AsyncExitStack() as readers:
            async with running_gateway(redis_url) as gateway:
                sdk = await readers.enter_async_context(open_sdk(str(gateway.base_url)))
                job = await made(sdk, store)
                stream = aiter(await sdk.responses.retrieve(job.id, stream=True))
                begun = [await anext(stream) for _ in range(2)]
            assert await anext(stream, None) is None
        async with running_gateway(redis_url) as gateway, open_sdk(str(gateway.base_url)) as sdk:
            await job.start()
            await job.complete("text")
            rest = await followed(sdk, job, begun[-1].sequence_number)
    assert last(rest).output_text == "text"
