"""Workers with different models and keys: a job comes to one that has its model, or to one clear end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest

from services.worker.providers import Completion, GenerationRequest
from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from tests.support.checks import leaks
from tests.support.gates import A, B, block, routing, throttle_all
from tests.support.store import new_job, submit
from tests.support.worker import DONE, Scripted, answers, ended, running_worker, until


@pytest.mark.parametrize("gated", [False, True])
async def test_each_job_runs_where_its_model_is(store: JobStore, gated: bool) -> None:
    """Three workers with a model each and one in common: forty jobs that name one of them, or none, complete with their
    first attempt, each by the model it named. Workers with it are woken: no job waits for the poll once a lease."""
    settings = msgspec.structs.replace(store.settings, lease_seconds=60.0)
    fleet = [("a", "x"), ("b", "x"), ("c", "x")]
    jobs = [new_job(route=(f"{name}:{name}",)) for name in "abcx" * 8] + [new_job() for _ in range(8)]
    async with AsyncExitStack() as stack:
        for names in fleet:
            providers = {name: Scripted(answers, gated=gated) for name in names}
            await stack.enter_async_context(running_worker(settings, providers, worker_concurrency=2))
        await asyncio.gather(*(store.submit(job) for job in jobs))
        found = [await ended(store, job.id) for job in jobs]
    assert {(job.status, job.attempt) for job in found} == {(JobStatus.COMPLETED, 1)}
    for job, snapshot in zip(jobs, found, strict=True):
        assert snapshot.outcome is not None
        assert not job.route or job.route == (f"{snapshot.outcome.provider}:{snapshot.outcome.model}",)
    assert await leaks(store.settings.redis_url) == []


LEASE_S = 1.0


@pytest.fixture
def hasty(store: JobStore) -> StoreSettings:
    """A lease of 1 s: a missing worker is waited for during two leases and 2 s."""
    return msgspec.structs.replace(store.settings, lease_seconds=LEASE_S)


async def test_a_job_waits_for_the_busy_worker_that_has_its_model(store: JobStore, hasty: StoreSettings) -> None:
    """The one that has the model has no free slot for longer than a missing one is waited for: no job fails."""
    hold = asyncio.Event()

    async def holds(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        await hold.wait()
        yield request.prompt
        yield DONE

    async with (
        running_worker(hasty, {"b": Scripted(answers)}),
        running_worker(hasty, {"a": Scripted(holds, gated=True)}, worker_concurrency=1),
    ):
        first, second = new_job(route=("a:a",)), new_job(route=("a:a",))
        await store.submit(first)
        await asyncio.sleep(0.2)
        await store.submit(second)
        await asyncio.sleep(3 * LEASE_S + 2.5)
        hold.set()
        found = [await ended(store, job.id) for job in (first, second)]
    assert {(job.status, job.attempt) for job in found} == {(JobStatus.COMPLETED, 1)}


async def test_a_missing_model_ends_a_job_and_a_coming_one_is_waited_for(store: JobStore, hasty: StoreSettings) -> None:
    """A worker with the model starts a moment later, in a rolling update: it takes the job. For the other no worker
    comes: it ends in our words, without an attempt. A job without a chain runs on any provider."""
    async with running_worker(hasty, {"b": Scripted(answers)}):
        soon, never = new_job(route=("a:a",)), new_job(route=("gone:gone",), max_attempts=5)
        await asyncio.gather(store.submit(soon), store.submit(never))
        (free,) = await submit(store)
        assert (await ended(store, free)).status is JobStatus.COMPLETED

        async def throttled() -> bool:
            return (await store.queries.stats()).throttled == 2

        await until(throttled)
        async with running_worker(hasty, {"a": Scripted(answers, gated=True)}):
            assert (await ended(store, soon.id)).status is JobStatus.COMPLETED
        failed = await ended(store, never.id)
    assert failed.outcome is not None
    assert failed.outcome.error is not None
    assert (failed.outcome.error.type, failed.attempt) == ("ProviderNotConfigured", 0)
    assert failed.outcome.error.message == "no worker has this provider and model"
    assert await leaks(store.settings.redis_url) == []


async def test_each_kind_of_worker_comes_back_for_its_own_gates(store: JobStore) -> None:
    """A worker with other gates that polls soon does not serve one's own jobs: each worker gets the time
    for the jobs that only its kind can run."""
    async with AsyncExitStack() as stack:
        kinds = {
            gate: await stack.enter_async_context(open_store(store.settings, client_name=gate, routing=routing(gate)))
            for gate in (A, B)
        }
        for gate, wait_ms in ((A, 20_000), (B, 30_000)):
            await block(kinds[gate], gate, ms=wait_ms)
            await store.submit(new_job(route=(gate,)))
            await throttle_all(kinds[gate])
        waits = [(await kinds[gate].claim(gate, 1, poll=True, suspect=0)).next_ms for gate in (A, B, A, B)]
        assert None not in waits
