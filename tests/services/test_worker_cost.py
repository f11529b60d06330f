"""Costs of jobs: all attempts in the result and in the sums, estimated where no provider reported, once whatever
dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from services.worker.providers import Action, BilledUsage, Completion, GenerationRequest, ProviderError
from shared.job import JobError, JobSnapshot, JobStatus, Usage
from shared.settings import StoreSettings
from shared.store.job_store import JobStore
from shared.store.keys import Keys
from tests.support.checks import RawRedis
from tests.support.store import claim, make_stale, submit, usage_rows
from tests.support.worker import DONE, Scripted, ended, running_worker, until

TODAY = int(time.time() // 86_400)
LONG = "x" * 400


async def sums(store: JobStore) -> tuple[int, int]:
    """Jobs and nano-USD of the organisation of all tests, yesterday to tomorrow."""
    rows = await usage_rows(store, "org", TODAY - 1, TODAY + 1)
    return sum(row.jobs for row in rows), sum(row.cost_nano_usd for row in rows)


def nano(*jobs: JobSnapshot) -> int:
    """The cost in the results."""
    return sum(round((job.outcome.cost_usd or 0) * 1e9) for job in jobs if job.outcome)


async def test_a_retried_job_costs_what_all_its_attempts_cost(store: JobStore) -> None:
    """The text that was thrown away was paid for too: it is in the result, marked as estimated, and in the sums."""

    async def breaks_once(request: GenerationRequest) -> AsyncIterator[str | Usage | Completion]:
        if request.attempt == 1:
            yield Usage(input_tokens=7, output_tokens=0)
            yield LONG
            raise ProviderError(JobError(type="Broken", message="", retryable=True), Action.RETRY, retry_after_s=0.0)
        yield "fine"
        yield DONE

    async with running_worker(store.settings, {"p": Scripted(breaks_once)}):
        (job_id,) = await submit(store)
        job = await ended(store, job_id)
    assert job.outcome is not None
    assert job.outcome.usage == Usage(input_tokens=8, output_tokens=102, estimated=True)
    assert await sums(store) == (1, nano(job))
    assert nano(job) == round(107 * 10_000_000 / 3) + 10_000_000


async def test_a_job_that_fails_in_the_end_still_cost_its_attempts(store: JobStore) -> None:
    """Finance sees the wasted money."""

    async def breaks(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield LONG
        raise ProviderError(JobError(type="Broken", message="", retryable=True), Action.RETRY, retry_after_s=0.0)

    async with running_worker(store.settings, {"p": Scripted(breaks)}):
        (job_id,) = await submit(store, max_attempts=2)
        job = await ended(store, job_id)
    assert job.status is JobStatus.FAILED
    assert job.outcome is not None
    assert job.outcome.usage == Usage(input_tokens=2, output_tokens=200, estimated=True)
    assert await sums(store) == (1, nano(job))


async def test_a_cancelled_job_keeps_its_text_and_costs_an_estimate(store: JobStore) -> None:
    """The text so far is the result; the provider's stream is closed long before a renewal would find out."""
    taken, closed = asyncio.Event(), asyncio.Event()

    async def waits(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        try:
            yield LONG
            taken.set()
            await asyncio.Event().wait()
            yield DONE
        finally:
            closed.set()

    patient = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=60.0)
    async with running_worker(patient, {"p": Scripted(waits)}):
        (job_id,) = await submit(store)
        async with asyncio.timeout(30):
            await taken.wait()
        assert (await store.cancel(job_id)).state == "requested"
        async with asyncio.timeout(30):
            await closed.wait()
        job = await ended(store, job_id)
    assert (job.status, job.outcome is not None) == (JobStatus.CANCELLED, True)
    assert job.outcome is not None
    assert (job.outcome.result, job.outcome.finish_reason) == (LONG, "cancelled")
    assert job.outcome.usage == Usage(input_tokens=1, output_tokens=100, estimated=True)
    assert await sums(store) == (1, nano(job))


async def test_a_lost_workers_text_is_counted_by_the_next(store: JobStore, redis_url: str) -> None:
    """The worker died in mid-stream: its logged text is estimated, in the result, the sums and the metric of waste;
    the new attempt starts from nothing."""

    async def answers(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield "fine"
        yield DONE

    (job_id,) = await submit(store)
    (held,) = await claim(store, 1, "dead")
    for number, text in enumerate((LONG, "y" * 40), 2):
        await store.append(held, number, text)
    async with RawRedis(redis_url) as raw:
        await make_stale(raw, held)
    # The first call of a process only learns the time.
    await store.maintenance.recover("finder", [])
    assert (await store.maintenance.recover("finder", [])).requeued + (await store.queries.stats()).queued >= 1
    async with running_worker(store.settings, {"p": Scripted(answers)}) as (worker, _):
        job = await ended(store, job_id)
        waste = worker._metrics.calls.wasted.labels("worker_lost")

        async def counted() -> bool:  # once the worker knows that the end is written, which we may see first
            return bool(waste._value.get() == 111)

        await until(counted)
    assert job.outcome is not None
    assert job.outcome.result == "fine"
    assert job.outcome.usage == Usage(input_tokens=2, output_tokens=112, estimated=True)
    assert await sums(store) == (1, nano(job))


async def test_an_unknown_price_is_none_and_not_nothing(store: JobStore) -> None:
    """A model that no price list knows: no cost but the tokens, and the sums say how many jobs lack it."""

    async def answers(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield "fine"
        yield DONE

    provider = Scripted(answers)
    provider.price = None
    async with running_worker(store.settings, {"p": provider}):
        (job_id,) = await submit(store)
        job = await ended(store, job_id)
    assert job.outcome is not None
    assert (job.outcome.cost_usd, job.outcome.usage) == (None, DONE.usage)
    (row,) = await usage_rows(store, "org", TODAY - 1, TODAY + 1)
    assert (row.jobs, row.unknown_cost_jobs, row.cost_nano_usd) == (1, 1, 0)


async def test_what_only_a_price_needs_stays_inside(store: JobStore, redis_url: str) -> None:
    """A call is charged by all that its provider counted; the result and its JSON have the counts that are promised."""
    used = BilledUsage(input_tokens=3, output_tokens=2, cached_tokens=1, cache_write_tokens=2)

    async def answers(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield "fine"
        yield Completion(usage=used, finish_reason="stop")

    class Charging(Scripted):
        def cost(self, _: str, usage: Usage) -> int | None:
            return 7 if usage is used else 0

    async with running_worker(store.settings, {"p": Charging(answers)}):
        (job_id,) = await submit(store)
        job = await ended(store, job_id)
    assert job.outcome is not None
    assert (job.outcome.usage, job.outcome.cost_usd) == (Usage(input_tokens=3, output_tokens=2, cached_tokens=1), 7e-9)
    async with RawRedis(redis_url) as raw:
        record = await raw("HGETALL", Keys().job(job_id))
    assert "usage" in repr(record)
    assert "cacheWrite" not in repr(record)
