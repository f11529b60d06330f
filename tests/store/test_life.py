"""A job's life in the store: retries, delays, deadlines, idempotency, cancel (I1, I7)."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from shared.errors import IdempotencyConflict, JobNotFound, LeaseLost
from shared.job import JobSnapshot, JobStatus, Outcome, RetryReason, Usage
from shared.store.engine.constants import RELEASES_MAX
from shared.store.job_store import JobStore
from shared.store.results import WakeUp
from shared.store.transitions import Finish, Requeue
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.store import (
    ERROR,
    claim,
    claim_one,
    complete,
    drain,
    error_of,
    fail,
    lose,
    make_due,
    new_job,
    status_of,
    submit,
)


async def test_attempts_end_with_the_last_error(store: JobStore, raw: RawRedis) -> None:
    """A job that fails as often as it may ends as failed, with the error of its last attempt (I7)."""
    (job_id,) = await submit(store, max_attempts=2)
    states = []
    for _ in range(2):
        (held,) = await claim(store)
        states.append(await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR)))
    assert states == [JobStatus.QUEUED, JobStatus.FAILED]
    assert await error_of(store, job_id) == "ProviderUnavailable"
    assert await breaches(store, raw, [job_id]) == []


async def test_a_retried_job_that_writes_nothing_more_leaves_no_log(store: JobStore, raw: RawRedis) -> None:
    """Its log holds the retry of its first lease, and goes with it although the last lease logged nothing (I5)."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR))
    (held,) = await claim(store)
    await complete(store, held)
    assert await breaches(store, raw, [job_id]) == []


async def test_the_prompt_is_kept_only_where_a_retry_needs_it(store: JobStore) -> None:
    """A completed job's record forgets the prompt; that of a failed or cancelled one keeps it."""
    kept = {}
    for status in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED):
        held = await claim_one(store)
        await store.finish(Finish(held, status, Outcome(), number=1, offset=0, run_ms=1))
        snapshot = await store.status(held.job_id)
        assert snapshot is not None
        kept[status] = snapshot.spec.prompt
    assert kept == {JobStatus.COMPLETED: "", JobStatus.FAILED: "x", JobStatus.CANCELLED: "x"}


async def test_releases_are_bounded(store: JobStore) -> None:
    """A job that every worker releases fails in the end, so that every job ends (I7)."""
    (job_id,) = await submit(store)
    for _ in range(RELEASES_MAX):
        (held,) = await claim(store)
        assert held.attempt == 1
        assert await store.requeue(Requeue(held, RetryReason.DRAIN, delay_ms=0, refund=True, error=None)) == "queued"
    (held,) = await claim(store)
    assert await store.requeue(Requeue(held, RetryReason.DRAIN, delay_ms=0, refund=True, error=None)) == "failed"
    assert await error_of(store, job_id) == "GaveUp"


async def test_a_delayed_job_waits_for_its_time(store: JobStore, raw: RawRedis) -> None:
    """Delayed jobs count as queued, are not claimable before they are due, and are promoted high first."""
    low = await submit(store, 1, "low", delay_ms=60_000)
    high = await submit(store, 1, "high", delay_ms=60_000)
    assert await claim(store) == []
    assert (await store.queries.stats()).delayed == 2
    promoted = await store.maintenance.promote()
    assert promoted.promoted == 0
    assert 59_000 < (promoted.next_ms or 0) <= 60_000
    await make_due(raw, *high, *low)
    assert (await store.maintenance.promote(1)).next_ms == 0
    await store.maintenance.promote()
    assert [held.job_id for held in await claim(store)] == [*high, *low]


async def test_a_job_past_its_deadline_is_not_run(store: JobStore, raw: RawRedis) -> None:
    """A claim ends it as DeadlineExceeded; a retry that would come too late ends it with its error."""
    (late,) = await submit(store, deadline_ms=1)
    await raw("HSET", store.keys.job(late), "deadline", 1)
    assert await claim(store) == []
    assert await error_of(store, late) == "DeadlineExceeded"
    (soon,) = await submit(store, deadline_ms=5_000)
    (held,) = await claim(store)
    assert await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=60_000, refund=False, error=ERROR)) == "failed"
    assert await error_of(store, soon) == "ProviderUnavailable"
    assert await breaches(store, raw, [late, soon]) == []


async def test_an_idempotency_key_makes_one_job(store: JobStore, raw: RawRedis) -> None:
    """100 submits at once with one key make one job; another body conflicts; other organisations are not concerned."""
    jobs = [new_job(idempotency_key="key", fingerprint="a") for _ in range(100)]
    answers = await asyncio.gather(*(store.submit(job) for job in jobs))
    assert len({answer.job_id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1
    with pytest.raises(IdempotencyConflict):
        await store.submit(new_job(idempotency_key="key", fingerprint="b"))
    other = await store.submit(new_job(idempotency_key="key", fingerprint="b", organization="other"))
    assert other.created
    assert await breaches(store, raw, [answers[0].job_id, other.job_id]) == []


async def test_an_idempotency_key_lives_as_long_as_its_job(store: JobStore, raw: RawRedis) -> None:
    """Once the record is gone the key makes a new job."""
    first = await store.submit(new_job(idempotency_key="key", fingerprint="a"))
    await drain(store)
    assert (await store.submit(new_job(idempotency_key="key", fingerprint="a"))).job_id == first.job_id
    await raw("DEL", store.keys.job(first.job_id))
    assert (await store.submit(new_job(idempotency_key="key", fingerprint="a"))).created


async def test_a_failed_job_is_retried_by_one_new_job(store: JobStore) -> None:
    """Asked twice, the retry of a failed job is the same new job; one that is gone is not retried."""
    failed = await fail(store, await claim_one(store))
    first = await store.submit_retry_of(failed, new_job())
    again = await store.submit_retry_of(failed, new_job())
    assert (again.job_id, again.created) == (first.job_id, False)
    await store.delete(failed.id)
    with pytest.raises(JobNotFound):
        await store.submit_retry_of(failed, new_job())


async def test_cancel_ends_waiting_and_delayed_jobs_at_once(store: JobStore, raw: RawRedis) -> None:
    """Neither is claimed afterwards, and both keep no entry."""
    ids = [*await submit(store), *await submit(store, delay_ms=60_000)]
    for job_id in ids:
        assert (await store.cancel(job_id)).state == "cancelled"
        assert (await store.cancel(job_id)).state == "ended"
    assert await claim(store) == []
    assert await breaches(store, raw, ids) == []


async def test_a_cancel_request_survives_the_worker(store: JobStore, raw: RawRedis) -> None:
    """The renewal repeats it; when the worker is lost or gives the job back, the job ends as cancelled."""
    ids = await submit(store, 2)
    lost, back = await claim(store)
    for held in (lost, back):
        assert (await store.cancel(held.job_id)).state == "requested"
    assert (await store.renew("w1", [lost, back])).cancelled == set(ids)
    assert await store.requeue(Requeue(back, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR)) == "cancelled"
    await lose(store, raw, lost)
    assert await status_of(store, lost.job_id) is JobStatus.CANCELLED
    assert await breaches(store, raw, ids) == []


async def test_wake_ups_reach_workers_that_can_do_the_work(store: JobStore) -> None:
    """A submit sets the marker `job`, a near due time `look`, and a claim that leaves work behind sets it again."""
    await submit(store, 1)
    assert await store.wait_for_work(1000) is WakeUp.JOB
    await submit(store, 1, delay_ms=500)
    assert await store.wait_for_work(1000) is WakeUp.POLL
    await submit(store, 3)
    assert await store.wait_for_work(1000) is WakeUp.JOB
    assert len(await claim(store, 1)) == 1
    assert await store.wait_for_work(1000) is WakeUp.JOB
    assert len(await claim(store, 16)) == 3
    assert await store.wait_for_work(50) is WakeUp.NONE


async def test_the_listing_pages_through_an_organisations_jobs(store: JobStore) -> None:
    """Newest first, by status, in pages that miss and repeat nothing although new jobs come in between."""
    ids = await submit(store, 7, organization="a")
    await submit(store, 3, organization="b")
    (held,) = await claim(store, 1)
    await complete(store, held)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.queries.jobs("a", cursor=cursor, limit=3)
        seen += [job.id for job in page.jobs]
        await submit(store, 1, organization="a")
        cursor = page.cursor
        if cursor is None or len(seen) >= 7:
            break
    assert seen == ids[::-1]
    completed = await store.queries.jobs("a", status=JobStatus.COMPLETED)
    assert [job.id for job in completed.jobs] == [held.job_id]
    with pytest.raises(ValueError, match="cursor"):
        await store.queries.jobs("a", cursor="bm90IGEgY3Vyc29y")


async def test_the_listing_remembers_the_newest_of_a_day(store: JobStore, raw: RawRedis) -> None:
    """An organisation that submits without end fills one list of bounded length, which goes by itself."""
    store._calls.scripts._constants = {**store._calls.scripts._constants, "index_length": 3}
    ids = await submit(store, 5)
    assert [job.id for job in (await store.queries.jobs("org")).jobs] == ids[:1:-1]
    (index,) = await raw("KEYS", "*index:org:*")
    assert await raw("PTTL", index) > 0


async def test_the_listing_reads_no_large_texts(store: JobStore, raw: RawRedis) -> None:
    """Of 30 results of a megabyte a page moves a few kilobytes, and shows all of them but the text; so does a filter
    that finds one of them, and a job that was cancelled by force with a long text."""

    async def sent() -> int:
        info = (await raw("INFO", "stats")).decode()
        return int(next(line for line in info.splitlines() if line.startswith("total_net_output_bytes")).split(":")[1])

    ids = await submit(store, 30, organization="a")
    for held in await claim(store, 30):
        forced = held.job_id == ids[7]
        if forced:
            await store.append(held, 2, "y" * 100_000)
            await store.cancel(held.job_id, force=True)
        usage = Usage(input_tokens=1, output_tokens=2)
        outcome = Outcome(result="x" * 1_000_000, provider="p", usage=usage, metadata={"demo": True})
        with contextlib.suppress(LeaseLost):
            await store.finish(Finish(held, JobStatus.COMPLETED, outcome, number=1, offset=0, run_ms=1))
    before = await sent()
    page = await store.queries.jobs("a")
    (cancelled,) = (await store.queries.jobs("a", status=JobStatus.CANCELLED)).jobs
    assert await sent() - before < 200_000
    assert [job.id for job in page.jobs] == ids[::-1]
    for job in [*page.jobs, cancelled]:
        assert isinstance(job, JobSnapshot)
        assert job.outcome is not None
        assert (job.outcome.result, job.outcome.usage) == (None, usage)
    whole = await store.status(ids[0])
    assert whole is not None
    assert whole.outcome == outcome
    # Older releases wrote no brief outcome: then there is none to show.
    await raw("HDEL", store.keys.job(ids[0]), "brief")
    before = await sent()
    oldest = (await store.queries.jobs("a")).jobs[-1]
    assert await sent() - before < 200_000
    assert isinstance(oldest, JobSnapshot)
    assert (oldest.id, oldest.status, oldest.outcome) == (ids[0], "completed", None)
