"""Scripts that fail in the middle, corrupt records, and a server without memory (I1-I3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.errors import LeaseLost, PressworkError, StoreFull, StoreRejected
from shared.job import Claim, JobError, JobStatus, RetryReason
from shared.store.job_store import JobStore
from shared.store.results import CallReport
from shared.store.transitions import Requeue, Reroute
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, block, free, throttle_all
from tests.support.store import (
    all_delayed,
    claim,
    claim_one,
    complete,
    drain,
    lose,
    make_due,
    make_stale,
    new_job,
    submit,
)

ERROR = JobError(type="Timeout", message="too slow", retryable=True)
Write = Callable[[JobStore, Claim], Awaitable[object]]

WRITES: dict[str, tuple[Write, str]] = {
    "append": (lambda store, held: store.append(held, 2, "text"), "log"),
    "finish": (complete, "job"),
    "requeue": (
        lambda s, h: s.requeue(Requeue(h, RetryReason.ERROR, delay_ms=60_000, refund=False, error=ERROR)),
        "job",
    ),
    "reroute": (
        lambda s, h: s.reroute(Reroute(h, "a:a", CallReport.LIMITED, retry_after_ms=60_000, candidates=[], spent=None)),
        "job",
    ),
    "cancel": (lambda store, held: store.cancel(held.job_id, force=True), "job"),
}


async def _corrupt(raw: RawRedis, store: JobStore, kind: str, job_id: str) -> None:
    """Make a job's key one of the wrong type, as a stray command of an operator would."""
    key = store.keys.prefix(kind) + job_id
    await raw("DEL", key)
    await raw("SET", key, "not a hash")


@pytest.mark.parametrize("verb", WRITES)
async def test_a_broken_item_does_not_stop_its_neighbours(store: JobStore, raw: RawRedis, verb: str) -> None:
    """The middle one of three jobs in one batch cannot be written: the others are done, once."""
    write, kind = WRITES[verb]
    ids = await submit(store, 3)
    held = await claim(store)
    await _corrupt(raw, store, kind, held[1].job_id)
    results = await asyncio.gather(*(write(store, one) for one in held), return_exceptions=True)
    assert isinstance(results[1], StoreRejected)
    assert not [result for result in (results[0], results[2]) if isinstance(result, BaseException)]
    await raw("DEL", store.keys.prefix(kind) + held[1].job_id)
    if verb == "append":
        await complete(store, held[1], number=2)
    else:
        await make_stale(raw, held[1])
        await store.maintenance.recover("w2", [])
        ids.remove(held[1].job_id)
    assert await breaches(store, raw, ids) == []


async def test_damage_to_what_recovery_notes_costs_no_job_its_end(store: JobStore, raw: RawRedis) -> None:
    """The keys of the recovering worker and of suspects' losses cannot be read: jobs are recovered, end once, and count
    once."""
    await raw("SET", store.keys.fixed("suspects"), "not a hash")
    await raw("SET", store.keys.fixed("recoverer"), "no such thing")
    await submit(store)
    for _ in range(2):
        await lose(store, raw, *await claim(store))
    (suspect,) = await claim(store)
    assert suspect.suspect
    await complete(store, suspect)
    await complete(store, suspect)
    await raw("DEL", store.keys.fixed("suspects"))
    stats = await store.queries.stats()
    assert (stats.completed, stats.queued, stats.processing) == (1, 0, 0)
    assert await breaches(store, raw, [suspect.job_id]) == []


async def test_a_submit_that_fails_half_way_leaves_nothing(store: JobStore, raw: RawRedis) -> None:
    """The index of one organisation is unusable: its job is refused without a trace, its neighbours are queued."""
    jobs = [new_job(organization=name) for name in ("a", "b", "c")]
    (seconds, _) = await raw("TIME")
    await raw("SET", store.keys.index("b", int(seconds) // 86_400), "not a list")
    results = await asyncio.gather(*(store.submit(job) for job in jobs), return_exceptions=True)
    assert isinstance(results[1], StoreRejected)
    await raw("DEL", store.keys.index("b", int(seconds) // 86_400))
    assert await store.status(jobs[1].id) is None
    assert await breaches(store, raw, [jobs[0].id, jobs[2].id]) == []


async def test_a_corrupt_record_is_met_and_dropped_by_claim_and_recover(store: JobStore, raw: RawRedis) -> None:
    """A waiting job whose record is no hash costs its neighbours nothing; its entry goes with the first recovery."""
    ids = await submit(store, 3)
    await _corrupt(raw, store, "job", ids[1])
    held = await claim(store)
    assert [one.job_id for one in held] == [ids[0], ids[2]]
    (pending,) = [
        row[0].decode()
        for row in await raw("XPENDING", store.keys.fixed("line"), "workers", "-", "+", 10)
        if f"q{row[0].decode()}" not in {one.token for one in held}
    ]
    await raw("XCLAIM", store.keys.fixed("line"), "workers", "w1", 0, pending, "IDLE", 60_000, "JUSTID")
    await store.maintenance.recover("w2", [one.token for one in held])
    await raw("DEL", store.keys.job(ids[1]))
    assert await breaches(store, raw, [ids[0], ids[2]]) == []


async def test_an_entry_without_a_record_is_dropped_wherever_it_is_met(store: JobStore, raw: RawRedis) -> None:
    """Claim and recover acknowledge and delete entries whose record is gone."""
    ids = await submit(store, 2)
    await raw("DEL", store.keys.job(ids[0]))
    (held,) = await claim(store)
    await raw("DEL", store.keys.job(ids[1]))
    await make_stale(raw, held)
    await store.maintenance.recover("w2", [])
    assert await breaches(store, raw, []) == []


@pytest.mark.parametrize("place", ["stream", "due", "queue"])
async def test_a_place_that_names_a_job_which_is_elsewhere_is_cleared(one: JobStore, raw: RawRedis, place: str) -> None:
    """A second entry, due time or place in a queue starts no second run: it goes when it is met (I4)."""
    running = (await claim_one(one)).job_id
    if place == "stream":
        await raw("XADD", one.keys.fixed("line"), "*", "j", running, "o", "org")
    elif place == "due":
        await raw("ZADD", one.keys.prefix("delayed") + "org", 1, running)
        await raw("ZADD", one.keys.fixed("due"), 1, "org")
        assert (await one.maintenance.promote()).promoted == 0
    else:
        await submit(one)
        await block(one, A)
        await throttle_all(one)
        await raw("ZADD", one.keys.prefix("throttled") + "* org", 1, running)
        await free(raw, A)
    assert running not in {held.job_id for held in await claim(one, 5, "w2")}
    assert await raw("HGET", one.keys.job(running), "state") == b"processing"
    assert await raw("XLEN", one.keys.fixed("line")) == (2 if place == "queue" else 1)  # running ones
    assert await raw("EXISTS", one.keys.fixed("due"), one.keys.prefix("throttled") + "* org") == 0


async def _fill(raw: RawRedis) -> None:
    """Leave no memory: the limit is below the used memory."""
    await raw("CONFIG", "SET", "maxmemory", 1)


async def test_a_full_server_lets_running_jobs_end(store: JobStore, raw: RawRedis) -> None:
    """At maxmemory only submit is refused, without a trace; all other transitions pass, and all goes on with space."""
    ids = await submit(store, 8)
    await submit(store, 1, delay_ms=60_000, organization="later")
    (delayed,) = await all_delayed(raw)
    ids.append(delayed)
    await make_due(raw, delayed)
    held = await claim(store, 6)
    await _fill(raw)
    with pytest.raises(StoreFull):
        await store.submit(new_job())
    await store.append(held[0], 2, "text" * 100)
    await complete(store, held[0], "text" * 100, number=2)
    await store.requeue(Requeue(held[1], RetryReason.ERROR, delay_ms=60_000, refund=False, error=ERROR))
    await store.requeue(Requeue(held[2], RetryReason.DRAIN, delay_ms=0, refund=True, error=None))
    await store.cancel(held[3].job_id)
    assert (await store.cancel(held[3].job_id, force=True)).state == "cancelled"
    assert (await store.cancel(ids[7])).state == "cancelled"
    assert (await store.renew("w1", [held[4]])).lost == frozenset()
    await make_stale(raw, held[5])
    assert (await store.maintenance.recover("w2", [held[4].token])).requeued == 1
    assert (await store.maintenance.promote()).promoted == 1
    assert len(await claim(store, 5, "w2")) == 4
    assert await breaches(store, raw, ids) == []
    await raw("CONFIG", "SET", "maxmemory", 0)
    await store.submit(job := new_job())
    assert await breaches(store, raw, [*ids, job.id]) == []


async def test_a_lost_group_and_a_flushed_server_are_survived(store: JobStore, raw: RawRedis) -> None:
    """Jobs whose group was destroyed are delivered again; after FLUSHALL the store works as on a new server."""
    ids = await submit(store, 2)
    held = await claim(store, 1)
    await raw("XGROUP", "DESTROY", store.keys.fixed("line"), "workers")
    with pytest.raises(LeaseLost):
        await complete(store, held[0])
    # A running job gets a token of its own first, and comes with the next claim.
    assert {one.job_id for _ in range(2) for one in await claim(store, 5, "w2")} == set(ids)
    assert await breaches(store, raw, ids) == []
    await raw("FLUSHALL")
    (job_id,) = await submit(store)
    assert await drain(store) == 1
    assert await breaches(store, raw, [job_id]) == []


@pytest.mark.parametrize("ending", [JobStatus.COMPLETED, JobStatus.CANCELLED])
async def test_a_cancel_and_a_completion_at_once_end_the_job_once(
    store: JobStore, raw: RawRedis, ending: JobStatus
) -> None:
    """The first one wins, the other is informed (I2)."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    if ending is JobStatus.COMPLETED:
        await complete(store, held)
        assert (await store.cancel(job_id, force=True)).status is JobStatus.COMPLETED
    else:
        await store.cancel(job_id, force=True)
        with pytest.raises(PressworkError):
            await complete(store, held)
    snapshot = await store.status(job_id)
    assert snapshot is not None
    assert snapshot.status is ending
    assert await breaches(store, raw, [job_id]) == []
