"""Damage in Redis by an operator, an older release or bad luck costs one job at most, never its neighbours."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.errors import LeaseLost, StoreFull, StoreUnavailable
from shared.job import JobStatus, RetryReason
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.keys import GROUP
from shared.store.transitions import Requeue
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.faulty_transport import FaultyTransport
from tests.support.store import KEYS, all_delayed, claim, claim_one, complete, drain, make_due, make_stale, submit


@pytest.fixture
async def telling(url: str) -> AsyncIterator[JobStore]:
    """A store with organisation events."""
    settings = StoreSettings(redis_url=url, lease_seconds=2.0, organization_events=True)
    async with open_store(settings, client_name="test") as opened:
        yield opened


async def _recover(store: JobStore, consumer: str = "w2") -> int:
    await store.renew(consumer, [])
    return (await store.maintenance.recover(consumer, [])).requeued


async def _suspects(store: JobStore, raw: RawRedis, count: int) -> list[str]:
    """So many jobs that lost two workers."""
    ids = await submit(store, count)
    for _ in range(2):
        await make_stale(raw, *await claim(store, 50, "gone"))
        assert await _recover(store) == count
    return ids


async def test_a_spec_nobody_can_read_costs_its_neighbours_nothing(store: JobStore, raw: RawRedis) -> None:
    """The claim answers the readable jobs; the other one is given back, and fails when its attempts are used up."""
    ids = await submit(store, 3)
    await raw("HSET", KEYS.job(ids[1]), "spec", "{")
    claims = await claim(store)
    assert [held.job_id for held in claims] == [ids[0], ids[2]]
    for held in claims:
        await complete(store, held)
    for _ in range(5):
        await make_due(raw, *await all_delayed(raw))
        await drain(store)
    assert await raw("HGET", KEYS.job(ids[1]), "state") == b"failed"
    stats = await store.queries.stats()
    assert (stats.completed, stats.failed, stats.queued, stats.processing) == (2, 1, 0, 0)


async def test_a_lost_group_gives_no_two_workers_one_lease(store: JobStore, raw: RawRedis) -> None:
    """Jobs that ran when the group was destroyed run again under a new token; the former holder is refused (I4)."""
    old = await claim_one(store, "w1")
    for stream in KEYS.streams:
        await raw("XGROUP", "DESTROY", stream, GROUP)
    claims = [*await claim(store, 1, "w2"), *await claim(store, 1, "w2")]
    (new,) = claims
    assert (new.job_id, new.token != old.token) == (old.job_id, True)
    with pytest.raises(LeaseLost):
        await complete(store, old)
    await complete(store, new)
    assert await breaches(store, raw, [new.job_id]) == []


async def test_a_broken_organisation_log_ends_no_job_twice(telling: JobStore, raw: RawRedis) -> None:
    """The organisation's log is unusable: the job still ends, and its end counts once (I2, I3)."""
    held = await claim_one(telling)
    await raw("DEL", KEYS.organization("org"))
    await raw("SET", KEYS.organization("org"), "x", "EX", 100)
    await complete(telling, held)
    await complete(telling, held)
    stats = await telling.queries.stats()
    assert (stats.completed, stats.processing, stats.queued) == (1, 0, 0)


async def test_a_broken_organisation_log_keeps_no_job_from_its_worker(telling: JobStore, raw: RawRedis) -> None:
    """Submit, claim, requeue and cancel pass without it."""
    await raw("SET", KEYS.organization("org"), "x", "EX", 100)
    ids = await submit(telling, 2)
    held, other = await claim(telling)
    assert (
        await telling.requeue(Requeue(held, RetryReason.ERROR, delay_ms=0, refund=False, error=None))
        == JobStatus.QUEUED
    )
    assert (await telling.cancel(other.job_id, force=True)).state == "cancelled"
    assert (await telling.cancel(held.job_id)).state == "cancelled"
    assert await breaches(telling, raw, ids) == []


@pytest.mark.parametrize(("deltas", "kept"), [(4_000, 4_000), (10_000, 4_095)])
async def test_a_forced_cancel_reads_a_bounded_number_of_deltas(
    store: JobStore, raw: RawRedis, deltas: int, kept: int
) -> None:
    """The partial text is whole for as long as the server can read it in a few milliseconds, else its beginning."""
    held = await claim_one(store)
    fields = [part for n in range(2, deltas + 2) for part in (f"{held.token}.{n}", "dx")]
    await raw("HSET", KEYS.log(held.job_id), *fields)
    assert (await store.cancel(held.job_id, force=True)).state == "cancelled"
    job = await store.status(held.job_id)
    assert job is not None
    assert job.outcome is not None
    assert job.outcome.result == "x" * kept
    assert await breaches(store, raw, [held.job_id]) == []


async def test_a_worker_whose_claim_was_lost_gets_no_second_suspect(store: JobStore, raw: RawRedis) -> None:
    """The repeated claim answers the suspect of the first one; the next suspect waits for another worker."""
    ids = await _suspects(store, raw, 2)
    faults = FaultyTransport(store)
    faults.lose("claim")
    with pytest.raises(StoreUnavailable, match="lost"):
        await claim(store, 50, "w1")
    again = await store.claim("w1", 50, poll=True, suspect=True, known=[])
    assert len(again.claims) == 1
    assert {held.job_id for held in [*again.claims, *await claim(store, 50, "w3")]} == set(ids)


async def test_a_high_job_does_not_wait_behind_recovered_ones(store: JobStore, raw: RawRedis) -> None:
    """A worker of one slot among many recovered jobs: a high job is among the next two claimed (I8)."""
    await _suspects(store, raw, 20)
    for _ in range(4):
        (high,) = await submit(store, 1, "high")
        order = []
        for _ in range(2):
            (held,) = await claim(store, 1)
            order.append(held.job_id)
            await complete(store, held)
        assert high in order


async def test_audit_knows_whose_suspect_still_runs(store: JobStore, raw: RawRedis) -> None:
    """A worker runs a suspect for hours and its quiet consumers elsewhere go: when it dies, only the suspect counts."""
    await _suspects(store, raw, 1)
    (neighbour_id,) = await submit(store, 1, "high")
    suspect, neighbour = await claim(store, 50, "w1")
    assert neighbour.job_id == neighbour_id
    await submit(store, 1, "low")
    (low,) = await claim(store, 50, "w1", poll=False)
    await complete(store, low)
    store._calls.scripts._constants = {**store._calls.scripts._constants, "consumer_idle_ms": -1}
    await store.maintenance.audit("w2")
    await make_stale(raw, suspect, neighbour)
    assert await _recover(store) == 2
    assert [await raw("HGET", KEYS.job(one.job_id), "losses") for one in (suspect, neighbour)] == [b"3", b"0"]


async def test_events_stay_whole_after_an_audit_put_a_job_back(store: JobStore, raw: RawRedis) -> None:
    """A dropped lease had logged deltas; the lease after it is numbered by itself, and its retry has no hole before."""
    held = await claim_one(store)
    await store.append(held, 2, "lost")
    await store.append(held, 3, "words")
    await raw("XGROUP", "DELCONSUMER", KEYS.fixed("line"), GROUP, "w1")
    assert (await store.maintenance.audit("w2")).requeued == 1
    (second,) = await claim(store, 1, "w2")
    await store.append(second, 2, "a")
    await store.requeue(Requeue(second, RetryReason.ERROR, delay_ms=0, refund=False, error=None))
    kinds = [str(event.kind) for event in (await store.events.read(held.job_id, None)).events]
    assert kinds == ["queued", "processing", "delta", "retrying"]


async def test_a_forced_cancel_frees_its_worker_of_the_suspect(store: JobStore, raw: RawRedis) -> None:
    """Data about a suspect goes with it: a later loss of its worker counts again."""
    await _suspects(store, raw, 1)
    (suspect,) = await claim(store, 50, "w1")
    await store.cancel(suspect.job_id, force=True)
    await submit(store, 1)
    (neighbour,) = await claim(store, 50, "w1")
    await make_stale(raw, neighbour)
    assert await _recover(store) == 1
    assert await raw("HGET", KEYS.job(neighbour.job_id), "losses") == b"1"


async def test_no_time_to_sleep_is_no_endless_sleep(store: JobStore) -> None:
    """A sleep of 0 ms comes back at once: for the server 0 means without end."""
    assert not (await store.wait_for_work(0)).value


async def test_an_organisation_that_overran_its_log_shows_a_gap(telling: JobStore) -> None:
    """A reader that began with an empty log and then missed more than it holds gets a gap."""
    start = (await telling.organization_events.read("org", None)).cursor
    await submit(telling, 1300)
    page = await telling.organization_events.read("org", start)
    assert page.gap


async def test_what_a_full_server_refuses_as_a_whole_may_be_repeated(store: JobStore, raw: RawRedis) -> None:
    """A worker's background loops live on: its audit comes later."""
    await raw("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(StoreFull):
            await store.maintenance.audit("w1")
    finally:
        await raw("CONFIG", "SET", "maxmemory", 0)
    assert (await store.maintenance.audit("w1")).ran


async def test_a_worker_can_leave_a_full_server(store: JobStore, raw: RawRedis) -> None:
    """It may also hold something everywhere, so that it deletes nothing."""
    held = await claim_one(store)
    for queue in ("requeued", "suspect", "high", "low"):
        await raw("XADD", KEYS.fixed(queue), "*", "j", "nobody")
        await raw("XREADGROUP", "GROUP", GROUP, "w1", "STREAMS", KEYS.fixed(queue), ">")
    await raw("CONFIG", "SET", "maxmemory", 1)
    try:
        await store.maintenance.leave("w1")
    finally:
        await raw("CONFIG", "SET", "maxmemory", 0)
    await complete(store, held)
