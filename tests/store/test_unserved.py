"""Throttled jobs of gates that no live worker has: they are waited for as long as one may take to come, then end."""

from __future__ import annotations

from shared.job import JobStatus
from shared.store.job_store import JobStore
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, throttle_all
from tests.support.store import KEYS, claim, error_of, status_of, submit

SERVED_MS = 2 * 2_000 + 2_000
"""With a lease of 2 s."""


async def _seen(raw: RawRedis, ms_ago: int, *, empty: bool) -> None:
    """Note that a worker with gate B was last seen so long ago."""
    seconds, micros = await raw("TIME")
    served_until = int(seconds) * 1000 + int(micros) // 1000 - ms_ago
    await raw("HSET", KEYS.fixed("gates"), B, f"0 0 0 0 1 0 0 0 0 0 0 {int(empty)} {served_until}")


async def test_a_job_waits_for_a_worker_that_just_left(one: JobStore, raw: RawRedis) -> None:
    """In a rolling update the last worker with a model has gone when a job comes: the next one is waited for."""
    await _seen(raw, 100, empty=True)
    (job_id,) = await submit(one, route=(B,))
    assert await claim(one) == []
    promoted = await one.maintenance.promote()
    assert await status_of(one, job_id) is JobStatus.QUEUED
    assert 0 < (promoted.queue_ms or SERVED_MS) <= SERVED_MS
    assert await breaches(one, raw, [job_id]) == []


async def test_a_fleet_that_was_away_is_waited_for(one: JobStore, raw: RawRedis) -> None:
    """All workers were stopped for an hour: the first that comes back ends none of the others' jobs. When no worker
    came for them in time they end, and a job that has another gate waits for that one."""
    await block(one, A)
    ids = [*await submit(one, 2, route=(B,)), *await submit(one, route=(B, A))]
    await throttle_all(one)
    await _seen(raw, 3_600_000, empty=False)
    await one.maintenance.promote()
    assert {await status_of(one, job_id) for job_id in ids} == {JobStatus.QUEUED}
    await _seen(raw, 100, empty=False)
    await one.maintenance.promote()
    assert [await error_of(one, job_id) for job_id in ids[:2]] == ["ProviderNotConfigured"] * 2
    assert await raw("HGET", KEYS.job(ids[2]), "entry") == f"t{A}".encode()
    assert await breaches(one, raw, ids) == []
