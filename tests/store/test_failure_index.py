"""The index of failed jobs: every way to fail leads into it, and it stays within its bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.job import Claim, JobError, RetryReason
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.reading.ended_jobs import EndedAs, EndedFilter, EndedJob
from shared.store.transitions import Requeue
from tests.support.checks import RawRedis, leaks
from tests.support.store import ERROR, KEYS, claim, complete, fail, lose, make_overdue, new_job, submit

Failing = Callable[[JobStore, RawRedis, Claim], Awaitable[object]]


async def _lost_for_good(store: JobStore, raw: RawRedis, held: Claim) -> None:
    await raw("HSET", KEYS.job(held.job_id), "losses", 3)
    await lose(store, raw, held)


async def _overdue(store: JobStore, raw: RawRedis, held: Claim) -> None:
    await store.requeue(Requeue(held, RetryReason.DRAIN, delay_ms=0, refund=True))
    await make_overdue(raw, held.job_id)
    await claim(store)


FAILING: dict[str, Failing] = {
    "ProviderUnavailable": lambda s, _, held: fail(s, held, ERROR),
    "Timeout": lambda s, _, held: s.requeue(
        Requeue(held, RetryReason.ERROR, delay_ms=0, refund=False, error=JobError(type="Timeout", message="slow"))
    ),
    "WorkerLost": _lost_for_good,
    "DeadlineExceeded": _overdue,
}


@asynccontextmanager
async def _opened(url: str, **settings: Any) -> AsyncIterator[JobStore]:
    wanted = StoreSettings(redis_url=url, lease_seconds=2.0, **settings)
    async with open_store(wanted, client_name="test") as opened:
        yield opened


async def _found(
    store: JobStore, organization: str | None = "org", kind: EndedAs = EndedAs.FAILED, **wanted: Any
) -> list[EndedJob]:
    found, cursor = await store.ended_jobs.page(
        kind, organization, EndedFilter(**wanted), before=None, limit=1000, searched_max=1000
    )
    assert cursor is None
    return found


async def _fail(store: JobStore, count: int, **more: Any) -> list[str]:
    ids = []
    for _ in range(count):
        ids += await submit(store, **more)
        (held,) = await claim(store, 1)
        await fail(store, held)
    return ids


@pytest.mark.parametrize("error", FAILING)
async def test_every_failed_job_is_in_both_indexes(store: JobStore, raw: RawRedis, error: str) -> None:
    """Under one id, with what it can be found by; a job that completed is in none."""
    (job_id,) = await submit(store, max_attempts=1, project_id='p"1\\', user_id="auth0|u")
    (held,) = await claim(store)
    await FAILING[error](store, raw, held)
    (entry,) = await _found(store)
    assert await _found(store, None) == [entry]
    assert (entry.job_id, entry.error_type, entry.organization_id) == (job_id, error, "org")
    assert (entry.project_id, entry.user_id) == ('p"1\\', "auth0|u")
    await submit(store)
    (other,) = await claim(store)
    await complete(store, other)
    assert await _found(store, None) == [entry]
    assert await leaks(store.settings.redis_url) == []


async def test_failed_jobs_are_found_by_what_they_have(store: JobStore) -> None:
    """By organisation, error, project, user and time; ids of any characters."""
    await _fail(store, 2)
    (other,) = await _fail(store, 1, organization="a b*|1", project_id="q", user_id="v")
    everything = await _found(store, None)
    assert [job.job_id for job in await _found(store, "a b*|1")] == [other]
    assert [job.organization_id for job in everything] == ["a b*|1", "org", "org"]
    for wanted in ({"project_id": "q"}, {"user_id": "v"}, {"from_ms": everything[0].at_ms}):
        assert other in [job.job_id for job in await _found(store, None, **wanted)]
    assert len(await _found(store, None, error_type="ProviderUnavailable")) == 3
    assert await _found(store, None, error_type="Timeout") == []
    assert await _found(store, None, to_ms=everything[-1].at_ms - 1) == []


async def test_an_organisation_keeps_its_newest_failures(url: str, raw: RawRedis) -> None:
    """Up to a number: older ones leave both indexes, are counted, and end as any other job; others keep theirs."""
    async with _opened(url, failed_jobs_max=3) as store:
        kept = await _fail(store, 1, organization="bob")
        ids = await _fail(store, 5)
        assert [job.job_id for job in await _found(store)] == ids[:1:-1]
        assert [job.job_id for job in await _found(store, None)] == [*ids[:1:-1], *kept]
        assert (await store.ended_jobs.dropped("org"), await store.ended_jobs.dropped(None)) == (2, 2)
        assert await store.ended_jobs.dropped("bob") == 0
        day, fortnight = 86_400_000, 14 * 86_400_000
        assert day - 60_000 < await raw("PTTL", KEYS.job(ids[0])) <= day
        assert fortnight - 60_000 < await raw("PTTL", KEYS.job(ids[-1])) <= fortnight


async def test_failures_are_bounded_in_bytes(url: str, raw: RawRedis) -> None:
    """Prompts count; what is retried, deleted or discarded makes room."""
    async with _opened(url, failed_bytes_max=40_000) as store:
        ids = await _fail(store, 6, prompt="x" * 10_000)
        kept = [job.job_id for job in await _found(store)]
        assert kept == ids[:2:-1]
        (used,) = await raw("HMGET", KEYS.prefix("failure_totals") + "org", "bytes")
        assert 30_000 < int(used) <= 40_000

        failed = await store.status(kept[0])
        assert failed is not None
        await store.submit_retry_of(failed, new_job())
        await store.delete(kept[1])
        await store.tasks.discard([EndedJob(id="", job_id=kept[2], organization_id="org")], "")
        assert await _found(store) == []
        assert await raw("HMGET", KEYS.prefix("failure_totals") + "org", "bytes") == [b"0"]


async def test_old_failures_leave_with_the_next_one(url: str, raw: RawRedis) -> None:
    """Their records are gone by then; those of an organisation that fails no more are not shown either."""
    async with _opened(url, failed_ttl_seconds=1.0, result_ttl_seconds=1.0) as store:
        await _fail(store, 2)
        while await raw("EXISTS", KEYS.prefix("failures") + "org"):
            pass
        assert await _found(store, None) == []
        (last,) = await _fail(store, 1)
        assert [job.job_id for job in await _found(store, None)] == [last]
        assert await store.ended_jobs.dropped("org") == 0


async def test_cancelled_jobs_are_indexed_too(store: JobStore) -> None:
    """Apart from failed ones, for as long as their records live."""
    waiting, running = await submit(store, 2)
    await claim(store, 1)
    for job_id in (waiting, running):
        await store.cancel(job_id, force=True)
    assert {job.job_id for job in await _found(store, kind=EndedAs.CANCELLED)} == {waiting, running}
    assert len(await _found(store, None, EndedAs.CANCELLED)) == 2
    assert await _found(store, None) == []


async def test_a_damaged_index_keeps_no_job_from_its_end(store: JobStore, raw: RawRedis) -> None:
    """The job has failed; the other index has no entry without its like."""
    await raw("SET", KEYS.prefix("failures") + "org", "x")
    (job_id,) = await _fail(store, 1)
    snapshot = await store.status(job_id)
    assert snapshot is not None
    assert snapshot.status == "failed"
    assert await _found(store, None) == []


async def test_an_idempotency_key_answers_a_failed_job_for_a_while(url: str, raw: RawRedis) -> None:
    """As long as results are kept, although the record of a failed job lives on."""
    async with _opened(url, result_ttl_seconds=60.0) as store:
        (failed,) = await _fail(store, 1, idempotency_key="key", fingerprint="a")
        again = await store.submit(new_job(idempotency_key="key", fingerprint="a"))
        assert (again.job_id, again.status) == (failed, "failed")
        ended = int((await raw("HMGET", KEYS.job(failed), "ended"))[0])
        await raw("HSET", KEYS.job(failed), "ended", ended - 61_000)
        assert (await store.submit(new_job(idempotency_key="key", fingerprint="a"))).created
