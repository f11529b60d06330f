"""Deadlines of waiting jobs: each ends by its time, wherever it waits and however many there are (I1, I12)."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest

from shared.job import RetryReason
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport
from shared.store.transitions import Requeue, Reroute
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, routing, throttle_all
from tests.support.store import KEYS, claim, complete, error_of, make_overdue, new_job, repeated, status_of, submit


async def _promote_all(store: JobStore, *, heads: bool = False) -> int:
    """As a worker's loop does: call after call until nothing more is due now. How many calls."""
    calls = 1
    while (await repeated(partial(store.maintenance.promote, heads=heads))).next_ms == 0:
        calls += 1
    return calls


async def test_all_that_end_at_once_end_in_time(two: JobStore, raw: RawRedis) -> None:
    """Hundreds of throttled jobs of many chains are overdue at the same moment: bounded calls end all of them."""
    await block(two, A, B)
    ids = await submit(two, 300)
    for route in ((A,), (B,), (A, B), (B, A)):
        ids += await submit(two, 25, route=route, deadline_ms=3_600_000)
    await throttle_all(two)
    await make_overdue(raw, *ids)
    # One call ends 64 at most; how long that takes is for the machine to say.
    assert 400 / 64 <= await _promote_all(two) <= 400 / 32
    assert Counter([await error_of(two, job_id) for job_id in ids]) == {"DeadlineExceeded": 400}
    assert await breaches(two, raw, ids) == []


async def test_a_job_that_nobody_was_given_ends_by_its_own_deadline(store: JobStore, raw: RawRedis) -> None:
    """New, released, retried, delayed and lost ones wait behind busy slots: their callers' deadlines are written
    down. One that runs is left to its worker, one that has ended costs nothing more."""
    ids = await submit(store, 6, deadline_ms=3_600_000)
    held = await claim(store, 4)
    await store.requeue(Requeue(held[0], RetryReason.DRAIN, delay_ms=0, refund=True, error=None))
    await store.requeue(Requeue(held[1], RetryReason.ERROR, delay_ms=1, refund=False, error=None))
    await complete(store, held[2])
    ids += await submit(store, 1, delay_ms=20, deadline_ms=3_600_000)
    unhurried = await submit(store, 1, deadline_ms=7_200_000)
    await asyncio.sleep(0.05)
    await store.maintenance.promote()
    assert (await store.maintenance.timed_work()).overdue_ms is not None
    await make_overdue(raw, *ids)
    assert (await store.maintenance.timed_work()).overdue_ms == 0
    await _promote_all(store)
    ended = [job_id for job_id in ids if job_id not in (held[2].job_id, held[3].job_id)]
    assert [await error_of(store, job_id) for job_id in ended] == ["DeadlineExceeded"] * 5
    assert await status_of(store, held[3].job_id) == "processing"
    assert await status_of(store, unhurried[0]) == "queued"
    assert await breaches(store, raw, [*ids, *unhurried]) == []
    await complete(store, held[3])
    left = {member.decode() for member in await raw("ZRANGE", KEYS.fixed("deadlines"), 0, -1)}
    assert left == {held[3].job_id, *unhurried}


async def test_deadlines_nobody_set_are_met_in_line_and_backlogs(store: JobStore, raw: RawRedis) -> None:
    """The fleet's default is short and all slots are busy: such jobs cost no command more, and still end."""
    ids = []
    for priority in ("high", "normal", "low"):
        ids += await submit(store, 2, priority, deadline_ms=100, own_deadline=False)
    later = await submit(store, 1, deadline_ms=60_000, own_deadline=False)
    assert await raw("EXISTS", KEYS.fixed("deadlines")) == 0
    await asyncio.sleep(0.15)
    promoted = await store.maintenance.promote(heads=True)
    assert promoted.promoted == 6
    assert promoted.heads_ms is not None
    assert 50_000 < promoted.heads_ms <= 60_000
    assert [await error_of(store, job_id) for job_id in ids] == ["DeadlineExceeded"] * 6
    assert await breaches(store, raw, [*ids, *later]) == []


@pytest.mark.parametrize("url", ["valkey"], indirect=True)
async def test_the_worker_that_throttles_a_job_returns_for_its_deadline(url: str) -> None:
    """The gate is blocked for an hour: the claim, the reroute and the promotion still name the time to return."""
    async with open_store(
        StoreSettings(redis_url=url, lease_seconds=10.0), client_name="t", routing=routing(A)
    ) as store:
        await submit(store, 1, deadline_ms=8_000)
        (held,) = await claim(store)
        found = await store.reroute(
            Reroute(held, A, CallReport.LIMITED, retry_after_ms=3_600_000, candidates=(), spent=None)
        )
        assert found.wait_ms <= 8_000
        await store.submit(new_job(deadline_ms=6_000))
        claimed = await store.claim("w1", 5, poll=True, suspect=True)
        assert claimed.next_ms is not None
        assert claimed.next_ms <= 6_000
        assert (await store.wait_for_work(1)).value
        promoted = await store.maintenance.promote()
        assert promoted.next_ms is not None
        assert promoted.next_ms <= 6_000


async def test_a_retry_that_is_due_near_its_deadline_is_not_overlooked(store: JobStore, raw: RawRedis) -> None:
    """Its deadline was written nowhere, and among requeued jobs it is behind others with more time."""
    (job_id,) = await submit(store, deadline_ms=3_500, own_deadline=False)
    (held,) = await claim(store)
    await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=1, refund=False, error=None))
    await asyncio.sleep(0.01)
    assert (await store.maintenance.promote()).promoted == 1
    await make_overdue(raw, job_id)
    await _promote_all(store)
    assert await error_of(store, job_id) == "DeadlineExceeded"
