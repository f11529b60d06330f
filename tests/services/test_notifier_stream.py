"""A job's stream over real HTTP: order, resuming, gaps and ends."""

from __future__ import annotations

import pytest

from shared.store.job_store import JobStore
from tests.support.checks import RawRedis
from tests.support.job_life import JobLife
from tests.support.notifier import running_notifier
from tests.support.sse import Event, Stream


async def _whole_life(store: JobStore) -> JobLife:
    """A finished job that was retried once: nine events."""
    job = await (await JobLife(store).submit()).start()
    await job.write("lost ")
    await job.retry()
    await job.start()
    for word in ("one ", "two ", "three "):
        await job.write(word)
    await job.complete("four")
    return job


def _text(events: list[Event]) -> str:
    """The deltas since the last `processing`."""
    text = ""
    for event in events:
        text = "" if event.kind == "processing" else text + event.data["text"] if event.kind == "delta" else text
    return text


async def test_a_job_is_seen_live_from_queued_to_completed(store: JobStore) -> None:
    """Every step reaches an open stream as it happens, the deltas add up, then the server closes."""
    job = await JobLife(store).submit()
    async with running_notifier(store.settings) as notifier, Stream(notifier.events(job.id)) as stream:
        seen = await stream.take(1)
        await job.start()
        seen += await stream.take(1)
        for word in ("one ", "two "):
            await job.write(word)
            seen += await stream.take(1)
        await job.complete("three")
        seen += await stream.rest()
    assert [event.kind for event in seen] == ["queued", "processing", "delta", "delta", "delta", "completed"]
    assert {event.data["jobId"] for event in seen} == {job.id}
    assert _text(seen) == seen[-1].data["result"] == "one two three"
    assert stream.retry_ms == 2000


async def test_headers_keep_proxies_from_buffering(store: JobStore) -> None:
    """The answer is an event stream that no proxy may cache, change or hold back."""
    job = await JobLife(store).submit()
    async with running_notifier(store.settings) as notifier, Stream(notifier.events(job.id)) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-cache, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"


async def test_a_finished_job_is_replayed_at_once(store: JobStore) -> None:
    """A late reader gets the same events, with the same ids, and the end of the stream."""
    job = await _whole_life(store)
    async with running_notifier(store.settings) as notifier:
        async with Stream(notifier.events(job.id)) as stream:
            events = await stream.rest()
        async with Stream(notifier.events(job.id)) as again:
            assert await again.rest() == events
    assert [event.kind for event in events] == job.events
    assert _text(events) == job.text
    assert len({event.id for event in events}) == len(events)


async def test_cut_after_any_event_the_rest_follows_once(store: JobStore) -> None:
    """However many events came before the cut, Last-Event-ID brings exactly the others, in order (I10)."""
    job = await _whole_life(store)
    async with running_notifier(store.settings) as notifier:
        async with Stream(notifier.events(job.id)) as stream:
            whole = await stream.rest()
        for count in range(1, len(whole)):
            async with Stream(notifier.events(job.id)) as first:
                before = await first.take(count)
            async with Stream(notifier.events(job.id), last_event_id=first.last_id) as second:
                assert before + await second.rest() == whole
    assert [event.kind for event in whole] == job.events


async def test_a_new_connection_for_every_event_of_a_running_job(store: JobStore) -> None:
    """A reader that is cut after each single event of a living job still sees each once, in order (I10)."""
    job = await JobLife(store).submit()
    seen: list[Event] = []
    async with running_notifier(store.settings) as notifier:

        async def one_more() -> None:
            resume = seen[-1].id if seen else None
            async with Stream(notifier.events(job.id), last_event_id=resume) as stream:
                seen.extend(await stream.take(1))

        await one_more()
        for step in (job.start, lambda: job.write("one "), lambda: job.write("two "), job.retry, job.start):
            await step()
            await one_more()
        await job.write("three ")
        await one_more()
        await job.complete("four")
        await one_more()
        await one_more()
    assert [event.kind for event in seen] == job.events
    assert _text(seen) == job.text


async def test_after_the_end_there_is_nothing_more(store: JobStore) -> None:
    """A browser that comes back with the id of the end gets 204, which stops it for good."""
    job = await _whole_life(store)
    async with running_notifier(store.settings) as notifier:
        async with Stream(notifier.events(job.id)) as stream:
            await stream.rest()
        async with Stream(notifier.events(job.id), last_event_id=stream.last_id) as after:
            assert after.status == 204


async def test_the_cursor_may_be_in_the_query_and_the_header_wins(store: JobStore) -> None:
    """A first connection can resume through `lastEventId`; the header that EventSource sends later is newer."""
    job = await _whole_life(store)
    async with running_notifier(store.settings) as notifier:
        async with Stream(notifier.events(job.id)) as stream:
            whole = await stream.rest()
        url = f"{notifier.events(job.id)}&lastEventId={whole[1].id}"
        async with Stream(url) as queried:
            assert await queried.rest() == whole[2:]
        async with Stream(url, last_event_id=whole[4].id) as both:
            assert await both.rest() == whole[5:]


async def test_a_running_job_whose_log_is_gone_answers_a_gap(store: JobStore, redis_url: str) -> None:
    """When the log lost the events after the cursor, the reader gets a gap with the state of things, then goes on
    live."""
    job = await (await JobLife(store).submit()).start()
    await job.write("one ")
    async with running_notifier(store.settings) as notifier:
        async with Stream(notifier.events(job.id)) as stream:
            await stream.take(3)
        async with RawRedis(redis_url) as raw:
            await raw("DEL", store.keys.log(job.id))
        async with Stream(notifier.events(job.id), last_event_id=stream.last_id) as resumed:
            (gap,) = await resumed.take(1)
            assert (gap.kind, gap.data["status"]) == ("gap", "processing")
            await job.complete("two")
            assert [event.kind for event in await resumed.rest()][-1] == "completed"


async def test_a_finished_job_whose_log_expired_answers_gap_and_end(store: JobStore, redis_url: str) -> None:
    """15 minutes after the end the deltas are gone; the end itself is not."""
    job = await _whole_life(store)
    async with running_notifier(store.settings) as notifier:
        async with Stream(notifier.events(job.id)) as stream:
            await stream.take(6)
        async with RawRedis(redis_url) as raw:
            assert await raw("DEL", store.keys.log(job.id)) == 1
        async with Stream(notifier.events(job.id), last_event_id=stream.last_id) as resumed:
            events = await resumed.rest()
    assert [event.kind for event in events] == ["gap", "completed"]
    assert events[-1].data["result"] == job.text


async def test_an_id_of_another_job_is_a_gap(store: JobStore) -> None:
    """A well-formed id that this job never had is not an error but a gap."""
    job = await (await JobLife(store).submit()).start()
    async with (
        running_notifier(store.settings) as notifier,
        Stream(notifier.events(job.id), last_event_id="n1737465123456-0.7") as stream,
    ):
        assert stream.status == 200
        assert [event.kind for event in await stream.take(1)] == ["gap"]


@pytest.mark.parametrize("retried", [False, True])
async def test_the_cancel_of_a_waiting_job_ends_its_stream(store: JobStore, retried: bool) -> None:
    """Also after an earlier lease, whose ids are higher than that of the cancel."""
    job = await JobLife(store).submit()
    if retried:
        await job.start()
        await job.retry()
    async with running_notifier(store.settings) as notifier, Stream(notifier.events(job.id)) as stream:
        await stream.take(len(job.events))
        await store.cancel(job.id)
        assert [event.kind for event in await stream.rest()] == ["cancelled"]
