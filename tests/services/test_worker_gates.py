"""Workers before gates: rate limits free the slots, fallback before the first token, probes, and who waits for whom."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from services.worker.providers import Action, Completion, GenerationRequest, ProviderError
from services.worker.providers.failures.classification import CallFailure, Fault, classify
from services.worker.worker import Worker
from shared.events import EventKind
from shared.job import JobError, JobStatus, PassedOver
from shared.store.job_store import JobStore
from tests.support.checks import RawRedis, leaks
from tests.support.gates import throttled_jobs
from tests.support.store import new_job, submit, unblock_gate
from tests.support.worker import DONE, Scripted, Stream, ended, raises, running_worker, until

LATE_S = 1.0
"""Time from a job's passage through a gate to its call, at most."""
BUSY = JobError(type="RateLimited", message="the provider is busy", retryable=True)
DOWN = JobError(type="ProviderUnavailable", message="the provider does not answer", retryable=True)
NO_KEY = JobError(type="Unauthorized", message="the provider refused our key")


async def _answers(request: GenerationRequest) -> AsyncIterator[str | Completion]:
    yield f"{request.model} "
    yield "answered"
    yield DONE


def _gated(stream: Stream) -> Scripted:
    return Scripted(stream, gated=True)


async def test_a_rate_limit_stops_the_fleet_and_frees_its_slots(store: JobStore, redis_url: str) -> None:
    """Four workers with 200 slots, 200 jobs, a provider that says "come back in an hour": a handful of calls go out, no
    slot is held, and once the hour has passed all jobs complete with their first attempt."""
    calls, passed = list[float](), asyncio.Event()

    async def limited(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        calls.append(time.monotonic())
        if not passed.is_set():
            raise ProviderError(BUSY, Action.WAIT, retry_after_s=3600.0)
        yield f"done {request.attempt}"
        yield DONE

    ids = await submit(store, 200)
    async with AsyncExitStack() as fleet:
        workers = [
            (await fleet.enter_async_context(running_worker(store.settings, {"p": _gated(limited)})))[0]
            for _ in range(4)
        ]
        await until(lambda: throttled_jobs(store, 200))
        await until(lambda: _free(workers, 200))
        early = len(calls)
        passed.set()
        async with RawRedis(redis_url) as raw:
            await unblock_gate(raw, "p:p")
        ids += await submit(store)  # a worker that is woken by it finds the others
        for job_id in ids:
            snapshot = await ended(store, job_id)
            assert (snapshot.status, snapshot.attempt) == (JobStatus.COMPLETED, 1)
    # A slow start: nine at once, and eight a second, doubled each second, until the first refusal was received.
    assert early <= 9 + 8 * (2 ** (calls[early - 1] - calls[0] + LATE_S) - 1) / math.log(2)
    assert len(calls) - early == 201
    assert await leaks(store.settings.redis_url) == []


async def _free(workers: list[Worker], slots: int) -> bool:
    return sum(worker._pool.free for worker in workers) == slots


async def test_jobs_of_available_models_pass_those_that_wait(store: JobStore) -> None:
    """One model is blocked for a minute: jobs that name it wait, all others complete."""
    limited = raises(ProviderError(BUSY, Action.WAIT, retry_after_s=60.0))
    providers = {"blocked": _gated(limited), "free": _gated(_answers)}
    async with running_worker(store.settings, providers, worker_concurrency=2):
        waiting = [new_job(route=("blocked:blocked",)) for _ in range(10)]
        passing = [new_job("low", route=("free:free",)) for _ in range(10)]
        await asyncio.gather(*(store.submit(job) for job in waiting))
        await asyncio.gather(*(store.submit(job) for job in passing))
        for job in passing:
            assert (await ended(store, job.id)).status is JobStatus.COMPLETED
        await until(lambda: throttled_jobs(store, 10))


async def test_a_provider_that_is_down_is_replaced_within_the_attempt(store: JobStore) -> None:
    """Every job completes on the next of the chain; the result says who answered and why the first did not. After some
    failures in a row the first is not even asked."""
    asked = Counter[str]()

    async def down(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        asked["a"] += 1
        raise ProviderError(DOWN, Action.RETRY)
        yield ""

    providers = {"a": _gated(down), "b": _gated(_answers)}
    async with running_worker(store.settings, providers, worker_concurrency=1):
        ids = await submit(store, 20)
        outcomes = [(await ended(store, job_id)) for job_id in ids]
    assert {(job.status, job.attempt) for job in outcomes} == {(JobStatus.COMPLETED, 1)}
    reasons = Counter[str]()
    for job in outcomes:
        assert job.outcome is not None
        assert (job.outcome.provider, job.outcome.result) == ("b", "b answered")
        (passed,) = job.outcome.passed_over
        assert passed == PassedOver(provider="a", model="a", reason=passed.reason)
        reasons[passed.reason] += 1
    assert asked["a"] == reasons["ProviderUnavailable"] == 5
    assert reasons["unavailable"] == 15


async def test_a_refused_key_asks_the_next_and_fails_when_there_is_none(store: JobStore) -> None:
    """With a fallback the job completes; a job that insists on the provider fails at once, in our words."""
    providers = {"a": _gated(raises(ProviderError(NO_KEY, Action.FALLBACK))), "b": _gated(_answers)}
    async with running_worker(store.settings, providers):
        (free,) = await submit(store)
        bound = new_job(route=("a:a",), provider="a", model="a")
        await store.submit(bound)
        assert (await ended(store, free)).status is JobStatus.COMPLETED
        failed = await ended(store, bound.id)
    assert failed.outcome is not None
    assert failed.outcome.error == NO_KEY
    assert (failed.status, failed.attempt) == (JobStatus.FAILED, 1)


async def test_a_stream_that_broke_is_retried_and_never_spliced(store: JobStore) -> None:
    """After the first token no other provider goes on: the attempt is used up, the next starts from nothing, and the
    events ask the reader to clear."""

    async def breaks_once(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield "half a "
        if request.attempt == 1:
            await asyncio.sleep(0.05)
            raise ProviderError(DOWN, Action.RETRY, retry_after_s=0.0)
        yield "whole"
        yield DONE

    async with running_worker(store.settings, {"a": _gated(breaks_once), "b": _gated(_answers)}):
        (job_id,) = await submit(store)
        job = await ended(store, job_id)
    assert job.outcome is not None
    assert (job.outcome.result, job.outcome.provider, job.attempt) == ("half a whole", "a", 2)
    events = (await store.events.read(job_id, None)).events
    kinds = [event.kind for event in events]
    again = kinds.index(EventKind.PROCESSING, kinds.index(EventKind.RETRYING))
    text = [json.loads(event.data)["text"] for event in events[again:] if event.kind is EventKind.DELTA]
    assert "".join(text) == "half a whole"
    assert job.outcome.usage is not None
    assert job.outcome.usage.estimated


async def test_a_silent_provider_is_cut_and_replaced(store: JobStore) -> None:
    """No first token in time: the next provider answers in the same attempt; silence in the middle: a new attempt."""
    closed = Counter[str]()

    async def never_begins(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        try:
            await asyncio.Event().wait()
            yield ""
        finally:
            closed["never"] += 1

    async def stalls_once(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield "some "
        if request.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                closed["stalled"] += 1
        yield "text"
        yield DONE

    providers = {"a": _gated(never_begins), "b": _gated(stalls_once)}
    more = {"first_token_seconds": 0.2, "token_gap_seconds": 0.3}
    async with running_worker(store.settings, providers, **more):
        (job_id,) = await submit(store)
        job = await ended(store, job_id)
    assert job.outcome is not None
    assert (job.outcome.result, job.attempt) == ("some text", 2)
    assert {passed.reason for passed in job.outcome.passed_over} <= {"FirstTokenTimeout", "unavailable"}
    assert closed["stalled"] == 1
    assert closed["never"] >= 1


async def test_a_gate_that_failed_is_probed_and_available_again(store: JobStore, redis_url: str) -> None:
    """The provider comes back: one probe goes first, then all that wait complete."""
    down = True

    async def recovers(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        if down:
            raise ProviderError(DOWN, Action.RETRY, retry_after_s=0.0)
        yield "back"
        yield DONE

    async with running_worker(store.settings, {"a": _gated(recovers)}, gate_failures=2):
        ids = await submit(store, 8, max_attempts=10)
        await until(lambda: _blocked(store))
        down = False
        async with RawRedis(redis_url) as raw:
            await unblock_gate(raw, "a:a")
        for job_id in [*ids, *await submit(store)]:
            assert (await ended(store, job_id)).status is JobStatus.COMPLETED
    assert [gate.blocked_ms for gate in await store.queries.gates()] == [0]


async def _blocked(store: JobStore) -> bool:
    return any(gate.reason == "unavailable" and gate.blocked_ms > 0 for gate in await store.queries.gates())


async def test_requests_of_one_customer_do_not_block_the_gate(store: JobStore) -> None:
    """Calls that were answered, only not with a text, are no failures of the provider: the next job runs at once."""
    refuse = ["nothing"] * 4

    async def answers(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        if refuse:
            refuse.pop()
            raise classify(CallFailure(fault=Fault.LIMITED))
        yield "something"
        yield DONE

    async with running_worker(store.settings, {"p": _gated(answers)}, gate_failures=2):
        for _ in range(4):
            (job_id,) = await submit(store, 1)
            snapshot = await ended(store, job_id)
            assert snapshot.outcome is not None
            assert snapshot.outcome.error is not None
            assert snapshot.outcome.error.type == "TokenLimitTooSmall"
        (job_id,) = await submit(store, 1)
        assert (await ended(store, job_id)).status is JobStatus.COMPLETED
    assert [gate.blocked_ms for gate in await store.queries.gates()] == [0]
