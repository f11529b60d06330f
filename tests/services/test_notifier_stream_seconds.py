"""Streams that are closed on purpose, for platforms that cut every answer after a time."""

from __future__ import annotations

import asyncio

from shared.store.job_store import JobStore
from tests.support.job_life import JobLife
from tests.support.notifier import RunningNotifier, running_notifier
from tests.support.sse import TERMINAL, Event, Stream

WORDS = [f"word-{number} " for number in range(25)]


async def _read(notifier: RunningNotifier, job_id: str, retries: list[int]) -> list[Event]:
    """Every event of the job, with the cursor and the pauses of EventSource."""
    events: list[Event] = []
    last_id = None
    while not events or events[-1].kind not in TERMINAL:
        async with Stream(notifier.events(job_id), last_event_id=last_id) as stream:
            assert stream.status == 200
            events += await stream.rest()
        last_id = stream.last_id or None
        retries.append(stream.retry_ms or 0)
        await asyncio.sleep((stream.retry_ms or 0) / 1000)
    return events


async def test_closed_again_and_again_a_reader_sees_every_event_once_in_order(store: JobStore) -> None:
    """A job over streams of 0.3 s each: nothing lost, nothing twice, the text is whole (I10)."""
    job = await JobLife(store).submit()
    retries: list[int] = []
    async with running_notifier(store.settings, notifier_stream_seconds=0.3) as notifier, asyncio.timeout(100):
        reading = asyncio.create_task(_read(notifier, job.id, retries))
        await job.start()
        for word in WORDS:
            await job.write(word)
            await asyncio.sleep(0.08)
        await job.complete("end")
        events = await reading
    assert [event.kind for event in events] == job.events
    assert len({event.id for event in events}) == len(events)
    assert "".join(event.data["text"] for event in events if event.kind == "delta") == "".join(WORDS) + "end"
    assert len(retries) >= 3
    assert all(50 <= pause <= 250 for pause in retries[:-1])


async def test_a_silent_stream_is_closed_in_time_too(store: JobStore) -> None:
    """Nothing happens and no heartbeat is due: the stream still ends when it has lasted long enough, not before."""
    job = await JobLife(store).submit()
    loop = asyncio.get_running_loop()
    async with running_notifier(store.settings, notifier_stream_seconds=0.5) as notifier:
        began = loop.time()
        async with Stream(notifier.events(job.id)) as stream:
            assert [event.kind for event in await stream.rest(seconds=30)] == ["queued"]
    assert 0.45 <= loop.time() - began < 30


async def test_without_the_setting_a_stream_lasts_as_long_as_its_job(store: JobStore) -> None:
    """The default closes nothing: heartbeats go on while the job waits."""
    job = await JobLife(store).submit()
    async with (
        running_notifier(store.settings, notifier_heartbeat_seconds=0.1) as notifier,
        Stream(notifier.events(job.id)) as stream,
    ):
        await stream.take(1)
        reading = asyncio.create_task(stream.next())
        async with asyncio.timeout(30):
            while stream.heartbeats < 5:
                await asyncio.sleep(0.02)
        assert not reading.done()
        await job.start()
        event = await reading
    assert event is not None
    assert event.kind == "processing"
