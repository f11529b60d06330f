"""Streams of `/v1/responses` without their events: silence, lost logs, no deltas, another gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import openai

from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from tests.support.checks import RawRedis
from tests.support.gateway import SUBMIT, body, running_gateway
from tests.support.job_life import JobLife
from tests.support.openai_sdk import (
    BEGIN,
    CLOSE,
    ITEM,
    followed,
    kinds,
    last,
    made,
    open_sdk,
    read,
    request,
    text_of,
)
from tests.support.sse import Stream, beats
from tests.support.upstash import TOKEN, running_upstash
from tests.support.worker import DONE, Scripted, running_worker


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
