"""Reading a job's events: every event once and in order, or an explicit gap (I10)."""

from __future__ import annotations

import json

import pytest

from shared.errors import JobNotFound
from shared.events import EventId, EventKind, parse_event_id
from shared.job import JobError, JobStatus, Outcome, RetryReason
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.reading import event_log
from shared.store.transitions import Finish, Requeue
from tests.support.checks import RawRedis
from tests.support.store import claim, complete, submit

ERROR = JobError(type="Timeout", message="too slow", retryable=True)


async def _eventful(store: JobStore) -> str:
    """A job with two leases: deltas, a retry, deltas, a tail, completed."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    await store.append(held, 2, "first ")
    await store.append(held, 3, "try ")
    await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR))
    (held,) = await claim(store)
    await store.append(held, 2, "second ")
    await store.finish(Finish(held, JobStatus.COMPLETED, Outcome(result="second try"), number=2, offset=7, run_ms=1))
    return job_id


async def test_a_cursor_at_every_event_reads_the_rest_once(store: JobStore) -> None:
    """Two leases, a retry and a tail: from each event on exactly the later ones come; at the end nothing does."""
    job_id = await _eventful(store)
    whole = (await store.events.read(job_id, None)).events
    assert [event.kind for event in whole] == [
        "queued", "processing", "delta", "delta", "retrying", "processing", "delta", "delta", "completed",
    ]  # fmt: skip
    assert len({str(event.id) for event in whole}) == len(whole)
    for place, event in enumerate(whole):
        page = await store.events.read(job_id, event.id)
        assert page.events == whole[place + 1 :]
        assert (page.ended, page.gap) == (True, False)


async def test_a_late_reader_sees_every_attempt(store: JobStore) -> None:
    """Three attempts failed and the fourth runs: each has its events, and the numbers of its own."""
    (job_id,) = await submit(store, max_attempts=4)
    for _ in range(3):
        (held,) = await claim(store)
        await store.append(held, 2, "text ")
        await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR))
    await claim(store)
    events = (await store.events.read(job_id, None)).events
    kinds = ["queued", *["processing", "delta", "retrying"] * 3, "processing"]
    assert [event.kind for event in events] == kinds
    numbers = [event.id.number for event in events if event.id is not None]
    assert numbers == [1, *[1, 2, 3] * 3, 1]


async def test_a_long_log_is_read_page_by_page(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a job that has ended too: the last page alone says that nothing follows."""
    job_id = await _eventful(store)
    whole = (await store.events.read(job_id, None)).events
    monkeypatch.setattr(event_log, "PAGE", 2)
    pages = [await store.events.read(job_id, None)]
    while not pages[-1].ended:
        pages.append(await store.events.read(job_id, pages[-1].cursor))
    assert [event for page in pages for event in page.events] == whole
    assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
    assert len(pages) > 2


async def test_a_reader_that_comes_back_after_each_step_misses_nothing(store: JobStore) -> None:
    """Read after every write from the last cursor: the pages add up to the whole."""
    (job_id,) = await submit(store)
    seen, cursor = [], None

    async def poll() -> None:
        nonlocal cursor
        page = await store.events.read(job_id, cursor)
        seen.extend(page.events)
        cursor = page.cursor

    await poll()
    (held,) = await claim(store)
    for number in range(2, 300):
        await store.append(held, number, f"{number} ")
        if number % 7 == 0:
            await poll()
    await complete(store, held, "".join(f"{number} " for number in range(2, 300)), number=299)
    await poll()
    assert seen == (await store.events.read(job_id, None)).events


@pytest.mark.parametrize("foreign", ["n1-1.1", "n1-1.7", "0-0.2", "0-0.9"])
async def test_a_foreign_cursor_is_a_gap(store: JobStore, foreign: str) -> None:
    """A well-formed id that this job never had gives a gap with the present state, then the log goes on."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    await store.append(held, 2, "some text")
    page = await store.events.read(job_id, parse_event_id(foreign))
    assert [event.kind for event in page.events] == [EventKind.GAP]
    assert json.loads(page.events[0].data) == {
        "jobId": job_id, "status": "processing", "attempt": 1, "text": "some text",
    }  # fmt: skip
    await store.append(held, 3, " more")
    after = await store.events.read(job_id, page.cursor)
    assert [json.loads(event.data)["text"] for event in after.events] == [" more"]


async def test_a_log_that_is_gone_is_a_gap_for_who_was_in_the_middle(store: JobStore, raw: RawRedis) -> None:
    """15 minutes after the end: a reader with an old cursor gets gap and end, a new one the end alone."""
    job_id = await _eventful(store)
    middle = (await store.events.read(job_id, None)).events[3]
    await raw("DEL", store.keys.log(job_id))
    page = await store.events.read(job_id, middle.id)
    assert [event.kind for event in page.events] == [EventKind.GAP, EventKind.COMPLETED]
    fresh = await store.events.read(job_id, None)
    assert [event.kind for event in fresh.events] == [EventKind.COMPLETED]


async def test_a_number_that_an_ended_lease_never_had_is_a_gap(store: JobStore) -> None:
    """A fail-over lost the end of a lease that a reader had seen: the reader gets it, and not only the later events."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    await store.append(held, 2, "some text")
    await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR))
    assert not (await store.events.read(job_id, EventId(held.token, 3))).gap
    assert (await store.events.read(job_id, EventId(held.token, 4))).gap


@pytest.mark.parametrize("ended", [False, True])
async def test_a_hole_in_the_log_is_a_gap(store: JobStore, raw: RawRedis, ended: bool) -> None:
    """A fail-over lost the second of three deltas: no reader gets a text with a hole."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    for number in (2, 3, 4):
        await store.append(held, number, f"<{number}>")
    if ended:
        await store.finish(Finish(held, JobStatus.COMPLETED, Outcome(result="<2><3><4>"), number=4, offset=9, run_ms=1))
    await raw("HDEL", store.keys.log(job_id), f"{held.token}.3")
    page = await store.events.read(job_id, EventId(held.token, 1))
    assert page.gap
    assert page.cursor == EventId(held.token, 5 if ended else 4)


async def test_deltas_are_read_without_the_record(store: JobStore) -> None:
    """The short way serves the notified events when all are deltas, and nothing else."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    for number in (2, 3):
        await store.append(held, number, f"<{number}>")
    start, notified = EventId(held.token, 1), EventId(held.token, 3)
    page = await store.events.deltas(job_id, start, notified, "org")
    assert page is not None
    assert [json.loads(event.data)["text"] for event in page.events] == ["<2>", "<3>"]
    assert await store.events.deltas(job_id, start, EventId(held.token, 4), "org") is None
    assert await store.events.deltas(job_id, EventId("0-0", 1), notified, "org") is None


async def test_an_unknown_job_has_no_events(store: JobStore) -> None:
    """It is distinguished from a job without news."""
    with pytest.raises(JobNotFound):
        await store.events.read("ai-job-1700000000000-0aaaaaaaa", None)


async def test_an_organisation_sees_states_and_no_texts(url: str, raw: RawRedis) -> None:
    """With the setting on, one organisation's life-cycle events can be followed and resumed; a lost cursor is a gap.
    The log goes by itself."""
    settings = StoreSettings(redis_url=url, organization_events=True)
    async with open_store(settings, client_name="test") as store:
        begin = (await store.organization_events.read("org", None)).cursor
        (job_id,) = await submit(store)
        await submit(store, organization="other")
        held = next(one for one in await claim(store) if one.job_id == job_id)
        await store.append(held, 2, "secret text")
        await complete(store, held, number=2)
        page = await store.organization_events.read("org", begin)
        assert [(event.job_id, event.kind) for event in page.events] == [
            (job_id, "queued"), (job_id, "processing"), (job_id, "completed"),
        ]  # fmt: skip
        rest = await store.organization_events.read("org", page.events[0].id)
        assert rest.events == page.events[1:]
        assert (await store.organization_events.read("org", "1-1")).gap
        assert 0 < await raw("PTTL", store.keys.organization("org")) <= 86_400_000


async def test_no_number_is_used_twice_after_events_were_lost(store: JobStore, raw: RawRedis) -> None:
    """A fail-over lost some of a log: the next event has a number after the last that is there, not after as many as
    are there (I10)."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    for number in range(2, 9):
        await store.append(held, number, str(number))
    await raw("HDEL", store.keys.log(job_id), *(f"{held.token}.{number}" for number in range(2, 5)))
    await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR))
    flat = await raw("HGETALL", store.keys.log(job_id))
    numbers = {int(field.rpartition(b".")[2]): value[:1] for field, value in zip(flat[::2], flat[1::2], strict=True)}
    assert numbers == {5: b"d", 6: b"d", 7: b"d", 8: b"d", 9: b"r"}
