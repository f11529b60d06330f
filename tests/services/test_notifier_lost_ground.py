"""Streams whose ground moves: a clock that goes back, a database that is emptied, a notification that is lost; and many
readers of one thing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import msgspec
import pytest

from shared.errors import StoreUnavailable
from shared.events import EventId
from shared.store.job_store import JobStore
from shared.store.keys import GROUP, Keys
from shared.store.reading.event_log import PAGE, EventLog, EventPage
from shared.store.reading.organization_events import ORGANIZATION_LENGTH
from shared.streams.organization_feed import OrganizationFeed
from shared.streams.sources import JobSource, SharedReads
from tests.support.checks import RawRedis
from tests.support.gateway import subscribed
from tests.support.job_life import JobLife
from tests.support.notifier import running_notifier
from tests.support.sse import Stream, beats


async def _set_back(raw: RawRedis, keys: Keys, job_id: str) -> None:
    """The line goes on with ids of a clock that is behind."""
    line = keys.fixed("line")
    await raw("DEL", line)
    await raw("XGROUP", "CREATE", line, GROUP, "0", "MKSTREAM")
    again = (await raw("XADD", line, "*", "j", job_id, "o", "org")).decode()
    await raw("HSET", keys.job(job_id), "entry", f"q{again}")


async def test_a_reader_gets_its_end_from_a_server_whose_clock_went_back(store: JobStore, redis_url: str) -> None:
    """Leases that begin after a fail-over may have smaller ids than those before it: nothing is taken for old news."""
    job = await JobLife(store).submit()
    async with RawRedis(redis_url) as raw, running_notifier(store.settings) as notifier:
        await raw("XADD", store.keys.fixed("line"), "99999999999999-0", "j", "nobody")
        job = await JobLife(store).submit()
        claimed = (await store.claim("worker-1", 9, poll=False, suspect=False)).claims
        job._claim = next(claim for claim in claimed if claim.job_id == job.id)
        job.events.append("processing")
        assert job.claim.token > "q9999"
        async with Stream(notifier.events(job.id)) as stream:
            await job.write("void")
            assert [event.kind for event in await stream.take(3)] == ["queued", "processing", "delta"]
            await job.retry()
            assert [event.kind for event in await stream.take(1)] == ["retrying"]
            await _set_back(raw, store.keys, job.id)
            await job.start()
            assert job.claim.token < "q9"
            assert [event.kind for event in await stream.take(1)] == ["processing"]
            await job.write("good")
            await job.complete(" end")
            assert [event.kind for event in await stream.rest()] == ["delta", "delta", "completed"]


async def test_leases_are_distinguished_by_their_order_in_the_record(store: JobStore) -> None:
    """A notification of a lease that the reader has left is old news, one of a lease it does not know yet is not."""
    job = await (await JobLife(store).submit()).start()
    first = job.claim.token
    await job.retry()
    await job.start()
    source = JobSource(store.jobs_of(None), store.keys, job.id, SharedReads())
    cursor = (await source.read(None, b"")).cursor
    assert cursor.token == job.claim.token
    assert source.seen(f"{first}.9".encode(), cursor)
    assert not source.seen(b"n1-1.1", cursor)
    assert not source.seen(f"{cursor.token}.{cursor.number + 1}".encode(), cursor)
    assert not source.seen(str(cursor).encode(), EventId(first, 1))


@pytest.mark.parametrize("running", [False, True])
async def test_a_stream_whose_job_vanished_ends(store: JobStore, redis_url: str, running: bool) -> None:
    """After FLUSHALL a silent stream reports that the job is gone and closes; a reader that returns gets 404."""
    async with running_notifier(store.settings, notifier_heartbeat_seconds=0.2) as notifier, RawRedis(redis_url) as raw:
        job = await JobLife(store).submit()
        if running:
            await job.start()
        async with Stream(notifier.events(job.id)) as stream:
            await stream.take(len(job.events))
            await beats(stream, 5)  # the events of its first notification have been read again
            await raw("FLUSHALL")
            (last,) = await stream.rest(seconds=8)
        assert (last.kind, last.data) == ("gap", {"jobId": job.id, "status": "gone"})
        async with Stream(notifier.events(job.id), last_event_id=stream.last_id) as again:
            assert again.status == 404


async def test_an_event_without_a_notification_is_found_at_a_heartbeat(store: JobStore, redis_url: str) -> None:
    """A transition whose notification was lost reaches a silent reader within a heartbeat."""
    async with running_notifier(store.settings, notifier_heartbeat_seconds=0.2) as notifier, RawRedis(redis_url) as raw:
        job = await JobLife(store).submit()
        async with Stream(notifier.events(job.id)) as stream:
            await stream.take(1)
            await beats(stream, 5)
            await raw("HSET", store.keys.job(job.id), "state", "cancelled", "outcome", "{}", "entry", "0-0", "last", 1)
            assert [event.kind for event in await stream.rest(seconds=8)] == ["cancelled"]


async def test_a_read_that_failed_is_repeated_soon(
    store: JobStore, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notifications lost while Redis was away for a moment are made up for as soon as it is back, not at the next
    heartbeat."""
    read, failed = EventLog.read, list[int]()

    async def fails_twice(self: EventLog, job_id: str, cursor: EventId | None) -> EventPage:
        if cursor is not None and len(failed) < 2:
            failed.append(1)
            raise StoreUnavailable("away", sent=True)
        return await read(self, job_id, cursor)

    async with running_notifier(store.settings, notifier_heartbeat_seconds=60.0) as notifier:
        job = await JobLife(store).submit()
        async with Stream(notifier.events(job.id)) as stream:
            await stream.take(1)
            await subscribed(redis_url, store.keys.job_channel(job.id))
            monkeypatch.setattr(EventLog, "read", fails_twice)
            await job.start()
            assert [event.kind for event in await stream.take(1)] == ["processing"]
    assert len(failed) == 2


async def test_a_hundred_readers_of_an_organisation_cost_one_read(store: JobStore, redis_url: str) -> None:
    """Each event is read from Redis about once for all of its readers, and all of them get all of it, in order."""
    settings = msgspec.structs.replace(store.settings, organization_events=True)
    async with AsyncExitStack() as exits:
        notifier = await exits.enter_async_context(running_notifier(settings))
        raw = await exits.enter_async_context(RawRedis(redis_url))
        url = f"{notifier.url}/api/ai/job-events?organizationId=org-1"
        streams = [await exits.enter_async_context(Stream(url)) for _ in range(100)]
        await subscribed(redis_url, store.keys.organization_channel("org-1"))
        for stream in streams:
            while not stream.last_id:
                stream._unparsed += await stream._piece()
                stream._dispatch(stream._unparsed.decode().replace("\n\n", "\n"))
        before = await _calls(raw)
        events = [(f"{1000 + n}-0", "queued") for n in range(50)]
        for number, (entry_id, kind) in enumerate(events):
            key = store.keys.organization("org-1")
            await raw("XADD", key, entry_id, "job", f"j{number}", "kind", kind, "event", "0-0.1")
            await raw("PUBLISH", store.keys.organization_channel("org-1"), f"j{number}")
        taken = await asyncio.gather(*(stream.take(50) for stream in streams))
        spent = await _calls(raw) - before
    assert all([event.data["jobId"] for event in got] == [f"j{n}" for n in range(50)] for got in taken)
    assert spent <= 2 * 50  # as each reader alone would: 15,000


_ADD = "for n = 1, 600 do redis.call('XADD', KEYS[1], '*', 'job', 'j', 'kind', 'queued', 'event', '0-0.1') end"


async def test_a_feed_keeps_no_more_than_its_log(store: JobStore, redis_url: str) -> None:
    """However many events go by, the memory of an organisation's readers is bounded, and each event is sent once."""
    feed = OrganizationFeed(store.organization_events, "org-1")
    cursor = (await feed.after(None)).cursor
    async with RawRedis(redis_url) as raw:
        for _ in range(3):
            await raw("EVAL", _ADD, 1, store.keys.organization("org-1"))
            news = await feed.after(cursor)
            assert news.kinds == {"queued": 600}
            cursor = news.cursor
    assert len(feed._kept) == ORGANIZATION_LENGTH


async def _calls(raw: RawRedis) -> int:
    """Number of reads of organisations' logs."""
    lines = (await raw("INFO", "commandstats")).decode().splitlines()
    calls = dict(line.removeprefix("cmdstat_").split(":calls=") for line in lines if line.startswith("cmdstat_"))
    return sum(int(calls[name].split(",")[0]) for name in ("xrange", "xrevrange", "xlen") if name in calls)


async def test_a_long_log_comes_in_pages_and_whole(store: JobStore, redis_url: str) -> None:
    """A job that was refused 3,000 times is read in a few commands a page, each event once and in order."""
    job = await JobLife(store).submit()
    leases = 3000
    past = ",".join(f"a{1000 + n}-0 rate_limited 1 1000 2" for n in range(leases))
    logged = [part for n in range(leases) for part in (f"a{1000 + n}-0.2", 'r{"reason":"rate_limited","attempt":1}')]
    async with RawRedis(redis_url) as raw, running_notifier(store.settings) as notifier:
        await raw("HSET", store.keys.job(job.id), "past", past)
        for start in range(0, len(logged), 1000):
            await raw("HSET", store.keys.log(job.id), *logged[start : start + 1000])
        await raw("EXPIRE", store.keys.log(job.id), 100)
        page = await store.events.read(job.id, None)
        assert (len(page.events), page.more, page.ended) == (PAGE + 1, True, False)
        async with Stream(notifier.events(job.id)) as stream:
            events = await stream.take(1 + 2 * leases, seconds=20)
    assert [event.kind for event in events] == ["queued", *(["processing", "retrying"] * leases)]
    assert len({event.id for event in events}) == len(events)
