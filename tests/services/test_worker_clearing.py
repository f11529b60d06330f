"""A worker that makes room for a job that must run alone, when something comes between (I1, I12)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.worker.providers import Completion, GenerationRequest
from services.worker.worker import Worker
from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore
from tests.support.checks import RawRedis, leaks
from tests.support.store import make_due, make_overdue, submit
from tests.support.worker import DONE, Scripted, ended, running_worker, until


async def _long_or_short(request: GenerationRequest) -> AsyncIterator[str | Completion]:
    if request.prompt == "long":
        await asyncio.Event().wait()
    yield DONE


async def _isolated(store: JobStore) -> str:
    """A job that lost three workers, and waits for one that holds nothing."""
    (job_id,) = await submit(store, delay_ms=3_600_000)
    async with RawRedis(store.settings.redis_url) as raw:
        await raw("HSET", store.keys.job(job_id), "losses", 3)
        await make_due(raw, job_id)
    await store.maintenance.promote()
    return job_id


async def _until_clearing(worker: Worker) -> None:
    async def clearing() -> bool:
        return worker._pool.clearing

    await until(clearing)


@pytest.mark.parametrize("between", ["drain", "cancel", "deadline"])
async def test_what_comes_between_costs_no_job(store: JobStore, redis_url: str, between: str) -> None:
    """Asked to stop meanwhile, it releases its job and both run elsewhere; when the job that waits is cancelled or
    overdue, it claims again beside the job that it still holds."""
    quick = StoreSettings(redis_url=redis_url, lease_seconds=1.0)
    (long,) = await submit(store, prompt="long")
    provider = Scripted(_long_or_short)
    async with running_worker(quick, {"p": provider}, worker_concurrency=4) as (worker, stop):
        await provider.called()
        isolated = await _isolated(store)
        await _until_clearing(worker)
        (later,) = await submit(store)
        if between == "drain":
            stop.set()
        else:
            if between == "cancel":
                await store.cancel(isolated)
            else:
                async with RawRedis(redis_url) as raw:
                    await make_overdue(raw, isolated)
                    await raw("ZADD", store.keys.fixed("deadlines"), 1, isolated)
            assert (await ended(store, later)).status is JobStatus.COMPLETED
            assert (await ended(store, isolated)).status.terminal
    async with running_worker(quick, {"p": Scripted(_long_or_short)}, worker_concurrency=4):
        if between == "drain":
            # The long one would hold the slot for good.
            await store.cancel(long)
            assert (await ended(store, isolated)).status is JobStatus.COMPLETED
        assert (await ended(store, later)).status is JobStatus.COMPLETED
        await store.cancel(long)
        assert (await ended(store, long)).status is JobStatus.CANCELLED
    assert await leaks(redis_url) == []
