"""Streams of `/v1/responses` through OpenAI's own SDK: numbers, resumes, lost attempts, ends."""

from __future__ import annotations

import httpx
import openai

from shared.job import JobStatus, Outcome
from shared.store.job_store import JobStore
from shared.store.transitions import Finish
from tests.support.job_life import JobLife
from tests.support.openai_sdk import (
    BEGIN,
    CLOSE,
    ITEM,
    followed,
    kinds,
    last,
    made,
    read,
    request,
    take,
    text_of,
)

RESTART = {"presswork": {"restart": True}}


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
