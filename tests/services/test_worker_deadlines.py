"""Real workers and deadlines: at most a lease and 2 s late, for any reason that keeps a job from its start (I12)."""

from __future__ import annotations

import asyncio

import pytest

from services.worker.providers import Action, ProviderError
from shared.job import JobError, JobSnapshot, JobStatus
from shared.store.job_store import JobStore
from tests.support.checks import leaks
from tests.support.store import error_of, new_job, submit
from tests.support.worker import Scripted, ended, raises, running_worker, until, waits_for_ever

BUSY = JobError(type="RateLimited", message="the provider is busy", retryable=True)
LATE_S = 2.0


def _blocked() -> Scripted:
    """A provider that asks to be left alone for an hour."""
    return Scripted(raises(ProviderError(BUSY, Action.WAIT, retry_after_s=3600.0)), gated=True)


def _lateness(job: JobSnapshot) -> float:
    assert job.ended_ms is not None
    return (job.ended_ms - job.deadline_ms) / 1000


async def test_no_gate_is_worth_waiting_for_after_the_deadline(store: JobStore) -> None:
    """The only provider is blocked for an hour: jobs of this chain and of that end in time, all 200 of them at once."""
    async with running_worker(store.settings, {"p": _blocked(), "q": _blocked()}):
        jobs = [new_job(deadline_ms=1500, route=route) for route in ((), ("p:p",), ("q:q", "p:p"), ("q:q",)) * 50]
        await asyncio.gather(*(store.submit(job) for job in jobs))
        found = [await ended(store, job.id) for job in jobs]
    assert {await error_of(store, job.id) for job in jobs} == {"DeadlineExceeded"}
    assert max(map(_lateness, found)) <= store.settings.lease_seconds + LATE_S


@pytest.mark.parametrize("own", [True, False])
async def test_busy_slots_keep_no_job_from_its_deadline(store: JobStore, own: bool) -> None:
    """Every slot is held for longer: jobs that wait end in time, with a deadline of their own or the fleet's; the job
    that runs goes on."""
    provider = Scripted(waits_for_ever)
    async with running_worker(store.settings, {"p": provider}, worker_concurrency=1):
        (running,) = await submit(store, 1)
        await provider.called()
        ids = [
            job for queue in ("high", "low") for job in await submit(store, 2, queue, deadline_ms=500, own_deadline=own)
        ]
        found = [await ended(store, job_id) for job_id in ids]
        assert max(map(_lateness, found)) <= store.settings.lease_seconds + LATE_S
        assert {await error_of(store, job_id) for job_id in ids} == {"DeadlineExceeded"}
        assert (await store.cancel(running)).state == "requested"
        assert (await ended(store, running)).status is JobStatus.CANCELLED
    assert await leaks(store.settings.redis_url) == []


async def test_a_deadline_survives_the_worker_that_knew_of_it(store: JobStore) -> None:
    """The worker that throttled the job is to return for it, and dies: another one ends it in time."""
    async with running_worker(store.settings, {"p": _blocked()}) as (_, stop):
        first = new_job(deadline_ms=3000)
        await store.submit(first)

        async def throttled() -> bool:
            return (await store.queries.stats()).throttled == 1

        await until(throttled)
        async with running_worker(store.settings, {"p": _blocked()}):
            stop.set()
            assert _lateness(await ended(store, first.id)) <= store.settings.lease_seconds + LATE_S
