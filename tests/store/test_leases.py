"""Leases: their time without renewal, the answer to a former holder, and renewals in bulk (I4, I6)."""

from __future__ import annotations

import pytest

from shared.errors import LeaseLost
from shared.store.engine.constants import LOSSES_MAX
from shared.store.job_store import JobStore
from shared.store.keys import GROUP
from tests.support.checks import RawRedis
from tests.support.store import KEYS, STALE_MS, claim, claim_one, complete, error_of, lose, make_stale, submit


async def test_a_lease_is_left_to_its_worker_a_little_longer(store: JobStore, raw: RawRedis) -> None:
    """Renewed late by less than a quarter of a lease it holds; recovery returns the time of its next check (I6)."""
    held = await claim_one(store)
    await store.renew("finder", [])
    for idle_ms, requeued in ((2_100, 0), (2_600, 1)):
        await raw("XCLAIM", KEYS.fixed("line"), GROUP, "w1", 0, held.token[1:], "IDLE", idle_ms, "JUSTID")
        found = await store.maintenance.recover("finder", [])
        assert found.requeued == requeued
        assert requeued or 0 < (found.next_ms or 0) <= 400


async def test_a_worker_that_returns_learns_that_its_job_was_taken(store: JobStore, raw: RawRedis) -> None:
    """The job ended as WorkerLost under its last lease: the worker's completion is no repetition of that (I2, I4)."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    await store.append(held, 2, "words")
    await raw("HSET", KEYS.job(job_id), "losses", LOSSES_MAX)
    await lose(store, raw, held)
    with pytest.raises(LeaseLost):
        await complete(store, held)
    assert await error_of(store, job_id) == "WorkerLost"
    events = (await store.events.read(job_id, None)).events
    assert [event.kind for event in events] == ["queued", "processing", "delta", "failed"]
    assert len({event.id for event in events}) == 4


async def test_hundreds_of_leases_are_renewed_in_one_call(store: JobStore, raw: RawRedis) -> None:
    """All of them, and the cancel requests of all of them are reported, in every page of the call."""
    await submit(store, 1_100)
    held = [one for _ in range(2) for one in await claim(store, 1_000)]
    wanted = {held[place].job_id for place in (0, 600, 1_099)}
    for job_id in wanted:
        await store.cancel(job_id)
    renewed = await store.renew("w1", held)
    assert not renewed.lost
    assert renewed.cancelled == wanted
    await make_stale(raw, *held[:3], *held[-3:])
    await store.renew("w1", held)
    assert not await raw("XPENDING", KEYS.fixed("line"), GROUP, "IDLE", STALE_MS, "-", "+", 10)
