"""Deleted jobs: nothing is left of them, and nothing brings one back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from shared.errors import JobNotFound, LeaseLost
from shared.job import Claim, JobStatus, Outcome, RetryReason
from shared.store.job_store import JobStore
from shared.store.results import CallReport
from shared.store.transitions import Finish, Requeue, Reroute
from tests.support.checks import RawRedis
from tests.support.store import ERROR, KEYS, claim, claim_one, complete, lose, submit

PLANTED = "a text that is nowhere else"


async def _traces(raw: RawRedis, *texts: str) -> list[str]:
    """Keys whose name or content holds one of these texts, but for what says that a job was deleted."""
    found = []
    await raw("CONFIG", "SET", "rdbcompression", "no")
    for name in await raw("KEYS", "*"):
        content = str(name) + str(await raw("DUMP", name))
        if any(text in content for text in texts) and not name.decode().startswith(KEYS.prefix("deleted")):
            found.append(name.decode())
    return found


def _writes(store: JobStore, held: Claim) -> list[Callable[[], Awaitable[object]]]:
    """Everything that a worker may write to its job."""
    finish = partial(Finish, held, outcome=Outcome(result=PLANTED, error=ERROR), number=2, offset=0, run_ms=1)
    requeue = partial(Requeue, held, RetryReason.ERROR, delay_ms=0, error=ERROR)
    reroute = Reroute(held, "p:m", CallReport.FAILED, retry_after_ms=1, candidates=[], chain=("p:m",))
    return [
        lambda: store.append(held, 3, PLANTED),
        lambda: store.finish(finish(status=JobStatus.COMPLETED)),
        lambda: store.finish(finish(status=JobStatus.CANCELLED)),
        lambda: store.requeue(requeue(refund=True)),
        lambda: store.requeue(requeue(refund=False)),
        lambda: store.reroute(reroute),
    ]


async def _until_nothing_comes_back(store: JobStore, raw: RawRedis, held: Claim) -> None:
    """All that could write to the job is tried: the worker's calls, recovery, promotion, the audit, a cancel."""
    for write in _writes(store, held):
        with pytest.raises(LeaseLost):
            await write()
    assert held.token in (await store.renew(held.consumer, [held])).lost
    await lose(store, raw)
    await store.maintenance.promote()
    await store.maintenance.audit("auditor")
    with pytest.raises(JobNotFound):
        await store.cancel(held.job_id, force=True)
    assert await claim(store) == []
    assert await _traces(raw, held.job_id, PLANTED) == []


async def test_an_ended_job_leaves_nothing(store: JobStore, raw: RawRedis) -> None:
    """Record, log and listing forget it, the counts do not (I3); its neighbours stay."""
    before, job_id, after = [(await submit(store, prompt=prompt))[0] for prompt in ("x", PLANTED, "x")]
    for held in await claim(store):
        await store.append(held, 2, PLANTED if held.job_id == job_id else "x")
        await complete(store, held, PLANTED if held.job_id == job_id else "x", number=2)
    assert await _traces(raw, job_id)
    assert await store.delete(job_id)
    assert await _traces(raw, job_id, PLANTED) == []
    assert await store.status(job_id) is None
    assert [job.id for job in (await store.queries.jobs("org")).jobs] == [after, before]
    assert (await store.queries.stats()).completed == 3


async def test_it_is_deleted_once(store: JobStore, raw: RawRedis) -> None:
    """The second time is answered like the first, for its own organisation and for as long as records are kept."""
    held = await claim_one(store)
    await complete(store, held)
    for organization in ("another", "or"):
        with pytest.raises(JobNotFound):
            await store.delete(held.job_id, organization)
    assert [await store.delete(held.job_id, owner) for owner in ("org", "org", None)] == [True] * 3
    with pytest.raises(JobNotFound):
        await store.delete(held.job_id, "another")
    assert 0 < await raw("PTTL", KEYS.prefix("deleted") + held.job_id) <= store.settings.result_ttl_seconds * 1000


@pytest.mark.parametrize("state", ["queued", "delayed", "processing"])
async def test_a_job_that_lives_is_not_deleted(store: JobStore, raw: RawRedis, state: str) -> None:
    """It is to be ended first; nothing changes until then."""
    (job_id,) = await submit(store, delay_ms=60_000 if state == "delayed" else 0)
    if state == "processing":
        await claim(store)
    before = sorted(await raw("HGETALL", KEYS.job(job_id)))
    assert not await store.delete(job_id)
    assert sorted(await raw("HGETALL", KEYS.job(job_id))) == before
    assert await raw("EXISTS", KEYS.prefix("deleted") + job_id) == 0


async def test_nothing_of_a_running_job_comes_back(store: JobStore, raw: RawRedis) -> None:
    """A worker that knows nothing of the deletion writes on: no record, no log and no listing of it returns."""
    (job_id,) = await submit(store, prompt=PLANTED)
    (held,) = await claim(store)
    await store.append(held, 2, PLANTED)
    await store.cancel(job_id)
    await store.cancel(job_id, force=True)
    assert await store.delete(job_id)
    await _until_nothing_comes_back(store, raw, held)


async def test_an_entry_that_was_left_behind_goes_too(store: JobStore, raw: RawRedis) -> None:
    """An end that broke off before its last writes leaves the lease alive: a deletion takes it away."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    await raw("HSET", KEYS.job(job_id), "state", "completed")
    assert await store.delete(job_id)
    await _until_nothing_comes_back(store, raw, held)


@pytest.mark.parametrize("waits", ["queued", "delayed", "deadline"])
async def test_a_waiting_job_that_was_cancelled_leaves_nothing(store: JobStore, raw: RawRedis, waits: str) -> None:
    """Neither in a queue nor among the deadlines."""
    (job_id,) = await submit(
        store,
        prompt=PLANTED,
        delay_ms=60_000 if waits == "delayed" else 0,
        deadline_ms=90_000,
        own_deadline=waits == "deadline",
    )
    await store.cancel(job_id)
    assert await store.delete(job_id)
    assert await _traces(raw, job_id, PLANTED) == []
    assert await claim(store) == []
