"""Claims whose answer was lost, or that are executed late: each job is delivered to one worker (I3, I6)."""

from __future__ import annotations

import pytest

from shared.errors import StoreUnavailable
from shared.store.job_store import JobStore
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.faulty_transport import FaultyTransport
from tests.support.store import claim, claim_one, make_stale, submit


async def test_a_lost_claim_answers_the_same_jobs_again(store: JobStore, raw: RawRedis) -> None:
    """The jobs of a claim whose answer was lost come with the next one, with the same tokens and attempts."""
    faults = FaultyTransport(store)
    ids = await submit(store, 3)
    (kept,) = await claim(store, 1)
    faults.lose("claim")
    with pytest.raises(StoreUnavailable):
        await claim(store, 5)
    found = await claim(store, 5, known=[kept.token])
    assert sorted([kept.job_id, *(held.job_id for held in found)]) == sorted(ids)
    assert {held.attempt for held in found} == {1}
    assert await breaches(store, raw, ids) == []


async def test_a_lost_claim_answers_no_more_than_is_wanted(store: JobStore, raw: RawRedis) -> None:
    """Its jobs count among those that the next one may take; jobs without a renewal for longer are left to recovery."""
    faults = FaultyTransport(store)
    ids = await submit(store, 6)
    faults.lose("claim")
    with pytest.raises(StoreUnavailable):
        await claim(store, 2)
    found = await claim(store, 3, known=[])
    assert [held.job_id for held in found] == ids[:3]
    await make_stale(raw, found[0])
    assert [held.job_id for held in await claim(store, 3, known=[held.token for held in found[1:]])] == ids[3:]
    assert await breaches(store, raw, ids) == []


async def test_a_claim_that_is_executed_late_is_recovered(store: JobStore, raw: RawRedis) -> None:
    """Jobs of a lost delivery are requeued uncounted once their worker recovers its own entries."""
    assert await claim(store) == []
    faults = FaultyTransport(store)
    ids = await submit(store, 2)
    faults.delay("claim")
    with pytest.raises(StoreUnavailable):
        await claim(store, 5)
    await store.renew("w1", [])
    await faults.deliver()
    lost = await claim(store, 0, known=[])
    await make_stale(raw, *lost)
    recovered = await store.maintenance.recover("w1", [])
    assert recovered.requeued == 2
    again = await claim(store, 5)
    assert [(held.attempt, held.losses) for held in again] == [(1, 0)] * 2
    assert await breaches(store, raw, ids) == []


async def test_a_recovery_that_waited_out_a_stall_takes_nothing(store: JobStore, raw: RawRedis) -> None:
    """The server's clock jumped: all workers only seem silent (I6)."""
    held = await claim_one(store)
    await make_stale(raw, held)
    server_ms, received_at = store._calls.clock._server_time
    store._calls.clock._server_time = (server_ms - 5000, received_at)
    assert (await store.maintenance.recover("w2", [])).requeued == 0
    assert (await store.maintenance.recover("w2", [])).requeued == 1
