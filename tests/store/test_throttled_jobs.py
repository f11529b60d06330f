"""Jobs in the throttle set of a gate: their state, and that none is forgotten there."""

from __future__ import annotations

import asyncio
import json

from shared.events import EventKind
from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, block_by_job, reroute, routing, throttle_all
from tests.support.store import claim, complete, drain, new_job, submit, unblock_gate


async def test_a_job_asked_to_wait_is_throttled_and_keeps_its_attempt(one: JobStore, raw: RawRedis) -> None:
    """Its slot is free, it counts as queued and throttled, the stream has the reason and the time, and it can be
    claimed by no worker while the gate is blocked."""
    job_id = await block_by_job(one)
    stats = await one.queries.stats()
    assert (stats.queued, stats.throttled, stats.processing) == (1, 1, 0)
    snapshot = await one.status(job_id)
    assert snapshot is not None
    assert (snapshot.status, snapshot.attempt) == (JobStatus.QUEUED, 0)
    events = (await one.events.read(job_id, None)).events
    data = json.loads(events[-1].data)
    assert (events[-1].kind, data["reason"], "nextAttemptAt" in data) == (EventKind.RETRYING, "rate_limited", True)
    claimed = await one.claim("w2", 10, poll=True, suspect=True)
    assert claimed.claims == []
    assert claimed.next_ms is not None
    assert 55_000 < claimed.next_ms <= 60_000
    assert await breaches(one, raw, [job_id]) == []


async def test_a_call_that_was_paid_for_uses_an_attempt_up(two: JobStore, raw: RawRedis) -> None:
    """A provider answered without a text: while the other's gate is blocked the job is not throttled with its attempt
    given back, or it could be paid for again and again until its deadline."""
    (job_id,) = await submit(two)
    (held,) = await claim(two)
    await two.report(B, CallReport.LIMITED, retry_after_ms=60_000)
    assert (held.gate, await reroute(two, held, CallReport.OK, B)) == (A, ("stay", A))
    await unblock_gate(raw, B)
    assert await reroute(two, held, CallReport.OK, B) == ("go", B)
    snapshot = await two.status(job_id)
    assert snapshot is not None
    assert snapshot.attempt == 1


async def test_jobs_of_a_blocked_gate_are_throttled_once_and_others_pass(two: JobStore, raw: RawRedis) -> None:
    """A hundred jobs that only the blocked gate may run are moved once; a job for the available one is claimed at
    once."""
    first = await block_by_job(two)
    blocked = [new_job(route=(A,)) for _ in range(100)]
    await asyncio.gather(*(two.submit(job) for job in blocked))
    passing = new_job("low", route=(B,))
    await two.submit(passing)
    claims, more = [], True
    while more:
        claimed = await two.claim("w1", 50, poll=False, suspect=True)
        claims += claimed.claims
        more = claimed.more
    assert [(held.job_id, held.gate) for held in claims] == [(passing.id, B)]
    assert (await two.queries.stats()).throttled == 101
    entries = await raw("HGET", two.keys.job(blocked[0].id), "entry")
    for _ in range(3):
        await two.claim("w1", 50, poll=True, suspect=True)
    assert await raw("HGET", two.keys.job(blocked[0].id), "entry") == entries == f"t{A}".encode()
    assert await breaches(two, raw, [first, passing.id, *(job.id for job in blocked)]) == []


async def test_all_kinds_of_ends_find_throttled_jobs(one: JobStore, raw: RawRedis) -> None:
    """A cancel ends one at once, its deadline another; the rest complete, and nothing is left in any throttle set."""
    ids = [await block_by_job(one), *(await submit(one, 2)), *(await submit(one, deadline_ms=100))]
    assert await claim(one) == []
    assert (await one.cancel(ids[0])).state == "cancelled"
    await asyncio.sleep(0.15)
    assert (await one.maintenance.promote()).promoted == 1
    assert await claim(one) == []
    snapshot = await one.status(ids[3])
    assert snapshot is not None
    assert snapshot.outcome is not None
    assert snapshot.outcome.error is not None
    assert snapshot.outcome.error.type == "DeadlineExceeded"
    assert await breaches(one, raw, ids) == []
    while (await one.queries.stats()).queued:
        await unblock_gate(raw, A)
        await drain(one)
    assert await breaches(one, raw, ids) == []
    assert await raw("KEYS", f"{one.keys.prefix('chain_set')}*") == []


async def test_one_worker_comes_back_for_a_queue_and_not_all(one: JobStore) -> None:
    """The first worker that learns of it sets its timer, the others sleep on; when it leaves, the next one learns of
    it."""
    await block_by_job(one)
    waits = [(await one.claim(name, 5, poll=True, suspect=True)).next_ms for name in ("w1", "w2", "w3")]
    waits += [(await one.maintenance.promote()).queue_ms]
    assert sum(wait is not None for wait in waits) == 1
    await one.maintenance.leave("w1")
    assert (await one.claim("w2", 5, poll=True, suspect=True)).next_ms is not None


async def test_a_queue_whose_gate_nobody_names_any_more_is_emptied(one: JobStore, url: str) -> None:
    """The model was taken out of the settings: its jobs run on the chain of today."""
    job_id = await block_by_job(one)
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(B)) as store:
        (held,) = await claim(store)
        assert (held.job_id, held.gate) == (job_id, B)


async def test_damage_to_gates_and_queues_costs_no_job(one: JobStore, raw: RawRedis) -> None:
    """A gate that is no gate, a throttle set that is none, one that lost its mark: claims go on, the audit repairs."""
    job_id = await block_by_job(one)
    await raw("HSET", one.keys.fixed("gates"), A, "nonsense")
    (held,) = await claim(one)
    assert held.job_id == job_id
    await complete(one, held)
    await raw("SET", one.keys.prefix("chain_set") + A, "text")
    await raw("HSET", one.keys.fixed("gates"), A, "0 0 0 0 0 0 0 0 1 0 0")
    (other,) = await submit(one)
    claims = await claim(one)
    if not claims:
        # Throttled behind a set that cannot be read: the write was refused, so the entry is met again.
        await raw("DEL", one.keys.prefix("chain_set") + A)
        await raw("HDEL", one.keys.fixed("gates"), A)
        claims = await claim(one, known=[])
    assert [found.job_id for found in claims] == [other]


async def test_the_audit_puts_a_job_back_into_all_its_queues(two: JobStore, raw: RawRedis) -> None:
    """One of two gates lost a job that waits for both: it is there again, and was not requeued."""
    await block(two, A, B)
    (job_id,) = await submit(two, route=(A, B))
    await throttle_all(two)
    await raw("ZREM", two.keys.prefix("throttled") + f"{B} org", job_id)
    assert (await two.maintenance.audit("w")).requeued == 0
    assert await breaches(two, raw, [job_id]) == []
