"""Writes that a server refuses for a moment, under real workers: no healthy job is taken (I6)."""

from __future__ import annotations

import asyncio

from services.worker.worker import Worker
from shared.settings import StoreSettings
from shared.store.job_store import open_store
from shared.store.keys import GROUP, Keys
from tests.support.checks import RawRedis
from tests.support.store import submit
from tests.support.worker import Scripted, running_worker, until, waits_for_ever

KEYS = Keys()
LEASE_MS = 1000
STALE_MS = LEASE_MS * 5 // 4


async def _oldest_idle_ms(raw: RawRedis) -> int:
    rows = await raw("XPENDING", KEYS.fixed("line"), GROUP, "-", "+", 100)
    return max(int(row[2]) for row in rows)


async def _recovers_for_all(raw: RawRedis, worker: Worker) -> None:
    """This worker is the one that recovers, for the next two seconds."""
    seconds, micros = await raw("TIME")
    term = LEASE_MS * 2 // 3
    ends = int(seconds) * 1000 + int(micros) // 1000 + term
    await raw("SET", KEYS.fixed("recoverer"), f"{worker.name} {ends}", "PX", term)


async def _refuse_for_a_lease(raw: RawRedis, looking: Worker) -> None:
    """Writes are refused from a renewal on until the lease is about to be stale: then all are free to try."""

    async def renewed() -> bool:
        return await _oldest_idle_ms(raw) < 60

    await _recovers_for_all(raw, looking)
    await until(renewed)
    await raw("CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        while await _oldest_idle_ms(raw) < STALE_MS - 100:
            await asyncio.sleep(0.005)
    finally:
        await raw("CONFIG", "SET", "min-replicas-to-write", 0)


async def test_jobs_whose_renewals_were_refused_stay_with_their_worker(redis_url: str) -> None:
    """The renewals of one worker are refused for a whole lease; a worker that watches was refused too, and waits."""
    settings = StoreSettings(redis_url=redis_url, lease_seconds=LEASE_MS / 1000)
    slow = Scripted(waits_for_ever)
    async with (
        open_store(settings, client_name="test") as store,
        RawRedis(redis_url) as raw,
        running_worker(settings, {"p": slow}),
    ):
        ids = await submit(store, 10)
        await slow.called(10)
        entries = [await raw("HGET", KEYS.job(job_id), "entry") for job_id in ids]
        async with running_worker(settings, {"p": slow}) as (looking, _):
            await asyncio.sleep(2.5 * LEASE_MS / 1000)
            await _refuse_for_a_lease(raw, looking)
            await asyncio.sleep(LEASE_MS / 1000)
            assert [await raw("HGET", KEYS.job(job_id), "entry") for job_id in ids] == entries
