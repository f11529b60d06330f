"""Streams while something breaks: Redis, the reader, the notifier itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from shared.server import connections
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from shared.streams import sse
from tests.support.checks import RawRedis
from tests.support.job_life import JobLife
from tests.support.notifier import RunningNotifier, running_notifier
from tests.support.processes import ServiceProcess
from tests.support.sse import Stream, beats, follow


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that a test may stop; it keeps its data over a restart."""
    server = EmbeddedServer(tmp_path / "data", options=("--appendfsync", "always"))
    server.start()
    yield server
    server.stop()


async def _until_connections(notifier: RunningNotifier, count: int) -> None:
    async with asyncio.timeout(30):
        while await notifier.connections() != count:
            await asyncio.sleep(0.02)


async def _subscribers(raw: RawRedis, channel: str) -> int:
    return int((await raw("PUBSUB", "NUMSUB", channel))[1])


async def test_redis_asleep_at_connect_means_come_again(own_server: EmbeddedServer) -> None:
    """A 200 that ends in time with a `retry:` of 1 to 5 s: any other status would stop EventSource for good."""
    settings = StoreSettings(redis_url=own_server.url)
    async with open_store(settings, client_name="test") as store, running_notifier(settings) as notifier:
        job = await JobLife(store).submit()
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            async with Stream(notifier.events(job.id)) as stream:
                assert await stream.rest() == []
            took = time.monotonic() - began
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        assert stream.status == 200
        assert took < 30
        assert stream.retry_ms is not None
        assert 1000 <= stream.retry_ms <= 5000
        async with Stream(notifier.events(job.id)) as again:
            assert [event.kind for event in await again.take(1)] == ["queued"]


async def test_a_stream_outlives_a_restart_of_redis(own_server: EmbeddedServer) -> None:
    """While Redis is away heartbeats go on; when it is back the same connection gets the events since."""
    settings = StoreSettings(redis_url=own_server.url)
    async with (
        open_store(settings, client_name="test") as store,
        running_notifier(settings, notifier_heartbeat_seconds=0.1) as notifier,
    ):
        job = await (await JobLife(store).submit()).start()
        async with Stream(notifier.events(job.id)) as stream:
            seen = await stream.take(2)
            own_server.kill()
            await beats(stream, 3)
            own_server.start()
            await job.write("one ")
            seen += await stream.take(1, seconds=20)
            await job.complete("two")
            seen += await stream.rest(seconds=20)
    assert [event.kind for event in seen] == job.events


async def test_an_event_of_the_outage_is_not_missed(own_server: EmbeddedServer) -> None:
    """Events published while the subscriber is disconnected are read after its new subscription."""
    settings = StoreSettings(redis_url=own_server.url)
    async with open_store(settings, client_name="test") as store, running_notifier(settings) as notifier:
        job = await (await JobLife(store).submit()).start()
        async with Stream(notifier.events(job.id)) as stream:
            await stream.take(2)
            async with RawRedis(own_server.url) as raw:
                await raw("CLIENT", "KILL", "TYPE", "pubsub")
                await job.write("one ")
            assert [event.kind for event in await stream.take(1, seconds=20)] == ["delta"]


async def test_a_silent_stream_beats_without_an_id(store: JobStore) -> None:
    """Heartbeats are comments: they keep the stream open and move no cursor."""
    job = await JobLife(store).submit()
    async with (
        running_notifier(store.settings, notifier_heartbeat_seconds=0.05) as notifier,
        Stream(notifier.events(job.id)) as stream,
    ):
        await stream.take(1)
        await beats(stream, 3)
        assert stream.last_id == "0-0.1"


async def test_a_reader_too_slow_is_cut_and_can_resume(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads nothing loses its connection instead of filling memory, and later gets every event once. The
    stream does it, long before the server and the kernel."""
    monkeypatch.setattr(connections, "READ_SECONDS", 3600)
    monkeypatch.setattr(sse, "UNACKNOWLEDGED_MS", 3_600_000)
    job = await (await JobLife(store).submit()).start()
    await asyncio.gather(*[job.write(f"{number:06d} " + "x" * 2000) for number in range(1000)])
    async with running_notifier(store.settings, notifier_send_seconds=0.3) as notifier:
        async with Stream(notifier.events(job.id), receive_buffer=4096) as stream:
            seen = await stream.take(3)
            await _until_connections(notifier, 0)
            with pytest.raises(ConnectionError):
                seen += await stream.rest()
        await job.complete("end")
        url = f"{notifier.events(job.id)}&lastEventId={seen[-1].id}"
        seen += await follow(url)
    assert [event.kind for event in seen] == job.events
    assert len({event.id for event in seen}) == len(seen)


async def test_a_reader_that_leaves_is_forgotten(store: JobStore, redis_url: str) -> None:
    """When the last reader of a job goes, its stream and the subscription go too."""
    job = await JobLife(store).submit()
    channel = store.keys.job_channel(job.id)
    async with running_notifier(store.settings) as notifier, RawRedis(redis_url) as raw:
        async with Stream(notifier.events(job.id)) as stream:
            await stream.take(1)
            await _until_connections(notifier, 1)
            async with asyncio.timeout(30):
                while await _subscribers(raw, channel) != 1:
                    await asyncio.sleep(0.01)
        await _until_connections(notifier, 0)
        async with asyncio.timeout(30):
            while await _subscribers(raw, channel) != 0:
                await asyncio.sleep(0.01)


async def test_three_hundred_readers_of_one_job(store: JobStore, redis_url: str) -> None:
    """All see the same events in the same order; one subscription and one read per notification serve them all."""
    job = await (await JobLife(store).submit()).start()
    async with running_notifier(store.settings) as notifier, RawRedis(redis_url) as raw:
        readers = [asyncio.create_task(follow(notifier.events(job.id))) for _ in range(300)]
        await _until_connections(notifier, 300)
        async with asyncio.timeout(30):
            while await _subscribers(raw, store.keys.job_channel(job.id)) == 0:
                await asyncio.sleep(0.01)
        assert await _subscribers(raw, store.keys.job_channel(job.id)) == 1
        await raw("CONFIG", "RESETSTAT")
        for word in ("one ", "two ", "three "):
            await job.write(word)
        await job.complete("four")
        all_seen = await asyncio.gather(*readers)
        reads = (await raw("INFO", "commandstats")).decode().partition("cmdstat_hmget:calls=")[2].partition(",")[0]
        await _until_connections(notifier, 0)
    assert [event.kind for event in all_seen[0]] == job.events
    assert all(seen == all_seen[0] for seen in all_seen)
    assert int(reads) < 100


async def test_sigterm_ends_all_streams_and_another_instance_goes_on(
    store: JobStore, redis_url: str, tmp_path: Path
) -> None:
    """At once every stream has ended, with a `retry:`; nothing is lost or doubled on the next instance."""
    jobs = [await (await JobLife(store).submit()).start() for _ in range(20)]
    environment = {"REDIS_URL": redis_url}

    async with (
        ServiceProcess("notifier", environment, tmp_path / "first.log") as first,
        ServiceProcess("notifier", environment, tmp_path / "second.log") as second,
        AsyncExitStack() as stack,
    ):
        streams = []
        for job in jobs:
            url = f"{first.url}/api/ai/job-events?jobId={job.id}"
            streams.append(await stack.enter_async_context(Stream(url)))
            await job.write("one ")
        before = [await stream.take(3) for stream in streams]
        first.signal(signal.SIGTERM)
        # Nothing else would end a stream: its job runs on.
        ends = await asyncio.gather(*[stream.rest() for stream in streams])
        assert all(stream.retry_ms is not None and 1000 <= stream.retry_ms <= 5000 for stream in streams)
        assert await first.wait() == 0
        for job, stream, seen, more in zip(jobs, streams, before, ends, strict=True):
            await job.complete("two")
            url = f"{second.url}/api/ai/job-events?jobId={job.id}&lastEventId={stream.last_id}"
            assert [event.kind for event in seen + more + await follow(url)] == job.events
