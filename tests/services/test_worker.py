"""A worker on a real server, with providers that behave badly in every way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.worker.consumer import CLAIM_MOST
from services.worker.providers import Action, Completion, GenerationRequest, ProviderError
from shared.events import EventKind
from shared.job import JobError, JobStatus
from shared.settings import StoreSettings
from shared.store.embedded import EmbeddedServer
from shared.store.job_store import JobStore
from shared.store.replies import Claimed
from tests.support.checks import RawRedis, leaks
from tests.support.store import new_job, submit
from tests.support.worker import DONE, Scripted, ended, running_worker, until

BUSY = JobError(type="ProviderUnavailable", message="the provider is busy", retryable=True)


async def _answers(request: GenerationRequest) -> AsyncIterator[str | Completion]:
    yield "Hello "
    yield request.prompt
    yield DONE


async def _waits(_: GenerationRequest) -> AsyncIterator[str | Completion]:
    yield "The beginning "
    await asyncio.Event().wait()
    yield DONE


async def _processing(store: JobStore, count: int) -> None:
    async def reached() -> bool:
        return (await store.stats()).processing == count

    await until(reached)


async def test_a_job_runs_and_its_events_add_up(store: JobStore) -> None:
    """queued, processing, deltas, completed; the outcome has text, usage, cost and who answered."""
    async with running_worker(store.settings, {"p": Scripted(_answers)}):
        (job_id,) = await submit(store)
        snapshot = await ended(store, job_id)
        assert snapshot.outcome is not None
        assert (snapshot.status, snapshot.outcome.result) == (JobStatus.COMPLETED, "Hello x")
        assert (snapshot.outcome.provider, snapshot.outcome.cost_usd) == ("p", 0.01)
        events = (await store.events.read(job_id, None)).events
        deltas = [json.loads(event.data)["text"] for event in events if event.kind is EventKind.DELTA]
        assert "".join(deltas) == "Hello x"
        assert [events[0].kind, events[1].kind, events[-1].kind] == ["queued", "processing", "completed"]


async def test_many_free_slots_are_filled_in_several_claims(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """No claim takes more jobs than can be begun in one turn of the event loop; all slots are filled all the same."""
    limits = []
    claim = JobStore.claim

    async def noting(self: JobStore, consumer: str, limit: int, **more: Any) -> Claimed:
        limits.append(limit)
        return await claim(self, consumer, limit, **more)

    monkeypatch.setattr(JobStore, "claim", noting)
    await submit(store, 200)
    async with running_worker(store.settings, {"p": Scripted(_waits)}, worker_concurrency=200):
        await _processing(store, 200)
    assert max(limits) == CLAIM_MOST


async def test_a_retryable_failure_is_tried_again_after_its_wait(store: JobStore) -> None:
    """The provider's wish is kept; the second attempt completes; the stream says why."""

    async def fails_once(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        if request.attempt == 1:
            raise ProviderError(BUSY, Action.WAIT, retry_after_s=0.2)
        yield "done"
        yield DONE

    async with running_worker(store.settings, {"p": Scripted(fails_once)}):
        (job_id,) = await submit(store)
        snapshot = await ended(store, job_id)
    assert (snapshot.status, snapshot.attempt) == (JobStatus.COMPLETED, 2)
    events = (await store.events.read(job_id, None)).events
    retry = next(json.loads(event.data) for event in events if event.kind is EventKind.RETRYING)
    assert (retry["reason"], "nextAttemptAt" in retry) == ("rate_limited", True)


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (ProviderError(JobError(type="InvalidRequest", message="refused"), Action.FAIL), "InvalidRequest"),
        (ProviderError(BUSY, Action.RETRY, retry_after_s=0.0), "ProviderUnavailable"),
    ],
)
async def test_failures_end_the_job_with_their_error(store: JobStore, raised: ProviderError, error: str) -> None:
    """A permanent error at once, a retryable one after the last attempt."""

    async def fails(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield "some text"
        raise raised

    async with running_worker(store.settings, {"p": Scripted(fails)}):
        (job_id,) = await submit(store, max_attempts=2)
        snapshot = await ended(store, job_id)
    assert snapshot.outcome is not None
    assert snapshot.outcome.error is not None
    assert (snapshot.status, snapshot.outcome.error.type) == (JobStatus.FAILED, error)
    assert snapshot.attempt == (2 if raised.error.retryable else 1)


async def test_a_truncated_stream_is_a_failure(store: JobStore) -> None:
    """A stream that ends without a completion must not pass for a result."""

    async def stops(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield "half a sen"

    async with running_worker(store.settings, {"p": Scripted(stops)}):
        (job_id,) = await submit(store, max_attempts=1)
        snapshot = await ended(store, job_id)
    assert snapshot.outcome is not None
    assert snapshot.outcome.error is not None
    assert snapshot.outcome.error.type == "StreamTruncated"


async def test_an_attempt_that_takes_too_long_is_cut(store: JobStore) -> None:
    """`timeoutSeconds` bounds the attempt; the job's deadline bounds it too and is final."""
    async with running_worker(store.settings, {"p": Scripted(_waits)}):
        (slow,) = await submit(store, max_attempts=1, timeout_seconds=0.2)
        (late,) = await submit(store, deadline_ms=300)
        errors = []
        for job_id in (slow, late):
            snapshot = await ended(store, job_id)
            assert snapshot.outcome is not None
            assert snapshot.outcome.error is not None
            errors.append(snapshot.outcome.error.type)
    assert errors == ["Timeout", "DeadlineExceeded"]


async def test_an_idle_worker_looks_at_no_runs(store: JobStore) -> None:
    """The timer that looks at all runs stops with the last run and starts again with the next."""
    async with running_worker(store.settings, {"p": Scripted(_waits)}) as (worker, _):
        for _ in range(2):
            (job_id,) = await submit(store, max_attempts=1, timeout_seconds=0.2)
            assert (await ended(store, job_id)).status is JobStatus.FAILED

            async def rests() -> bool:
                return worker._pool._looking is None

            await until(rests, 1.0)


async def test_a_cancel_reaches_the_running_provider(store: JobStore) -> None:
    """The stream is closed at once; the job ends as cancelled with its partial text and an estimated usage."""
    closed = asyncio.Event()

    async def waits(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        try:
            yield "The beginning "
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with running_worker(store.settings, {"p": Scripted(waits)}):
        (job_id,) = await submit(store)
        await _processing(store, 1)
        assert (await store.cancel(job_id)).state == "requested"
        snapshot = await ended(store, job_id, seconds=1.0)
        assert closed.is_set()
    assert snapshot.outcome is not None
    assert (snapshot.status, snapshot.outcome.result) == (JobStatus.CANCELLED, "The beginning ")
    assert snapshot.outcome.usage is not None
    assert snapshot.outcome.usage.estimated


async def test_a_drain_hands_back_without_using_up_an_attempt(store: JobStore, redis_url: str) -> None:
    """A worker told to stop gives its running job back at once; the next one starts it as attempt 1."""
    async with running_worker(store.settings, {"p": Scripted(_waits)}) as (_, stop):
        (job_id,) = await submit(store)
        await _processing(store, 1)
        stop.set()

        async def waiting() -> bool:
            return (await store.stats()).queued == 1

        await until(waiting, 2.0)
    async with running_worker(store.settings, {"p": Scripted(_answers)}):
        snapshot = await ended(store, job_id)
    assert (snapshot.status, snapshot.attempt) == (JobStatus.COMPLETED, 1)
    assert await leaks(redis_url) == []


async def test_a_worker_whose_lease_was_taken_stops_paying(store: JobStore) -> None:
    """When another one ended the job, the renewal tells, and the provider's stream is closed."""
    closed = asyncio.Event()

    async def waits(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        try:
            await asyncio.Event().wait()
            yield DONE
        finally:
            closed.set()

    quick = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=1.0)
    async with running_worker(quick, {"p": Scripted(waits)}):
        (job_id,) = await submit(store)
        await _processing(store, 1)
        await store.cancel(job_id, force=True)
        async with asyncio.timeout(2.0):
            await closed.wait()


async def test_jobs_end_although_redis_was_away_when_they_should(server: EmbeddedServer, store: JobStore) -> None:
    """The server sleeps while texts are done: no end is lost, none is written twice."""
    gate = asyncio.Event()

    async def waits(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        await gate.wait()
        yield "text"
        yield DONE

    async with running_worker(store.settings, {"p": Scripted(waits)}):
        ids = await submit(store, 20)
        await _processing(store, 20)
        server.pause()
        try:
            gate.set()
            await asyncio.sleep(2.2)
        finally:
            server.resume()
        for job_id in ids:
            assert (await ended(store, job_id)).status is JobStatus.COMPLETED
        assert (await store.stats()).completed == 20


async def test_a_worker_lives_through_a_full_server(store: JobStore, redis_url: str) -> None:
    """Redis has no memory left: a worker that starts then still runs and retries what waits, and goes on afterwards."""

    async def fails_once(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        if request.attempt == 1:
            raise ProviderError(BUSY, Action.RETRY, retry_after_s=0.05)
        yield "done"
        yield DONE

    # The groups are there, as on every server that has worked before: making them needs memory.
    await store.claim("earlier", 1, look=True, suspect=True)
    ids = await submit(store, 5)
    async with RawRedis(redis_url) as raw:
        await raw("CONFIG", "SET", "maxmemory", 1)
        async with running_worker(store.settings, {"p": Scripted(fails_once)}):
            for job_id in ids:
                assert (await ended(store, job_id)).status is JobStatus.COMPLETED
            await raw("CONFIG", "SET", "maxmemory", 0)
            (later,) = await submit(store)
            assert (await ended(store, later)).status is JobStatus.COMPLETED


async def test_a_claim_in_flight_at_the_drain_is_not_left_to_its_lease(store: JobStore) -> None:
    """Told to stop between the server's delivery and its answer, the worker hands back what was delivered, at once."""
    delivered, answer = asyncio.Event(), asyncio.Event()
    patient = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=60.0)
    async with running_worker(patient, {"p": Scripted(_waits)}) as (worker, stop):
        scripts = worker._store._scripts
        send = scripts._transport.execute

        async def slow(*command: bytes | str | float) -> object:
            reply = await send(*command)
            claimed = reply[1] if isinstance(reply, list) and len(reply) == 2 else None
            if isinstance(claimed, list) and len(claimed) > 4 and len(claimed[4]) == 13:
                delivered.set()
                await answer.wait()
            return reply

        scripts._transport.execute = slow  # type: ignore[method-assign]  # a slow network
        await submit(store)
        async with asyncio.timeout(5):
            await delivered.wait()
        stop.set()
        await asyncio.sleep(0.05)
        answer.set()
    stats = await store.stats()
    assert (stats.queued, stats.processing) == (1, 0)


async def test_one_suspect_at_a_time_but_all_of_them_in_the_end(store: JobStore) -> None:
    """Ten jobs that lost a worker run one after the other in one worker, without waiting for a time-out in between."""
    running = most = 0

    async def counts(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        yield DONE

    ids = await submit(store, 10)
    claimed = await store.claim("dead", 50, look=True, suspect=True)
    assert len(claimed.claims) == 10
    recovered = 0
    async with asyncio.timeout(10):
        while recovered < 10:
            found = await store.upkeep.recover("finder", [])
            recovered += found.requeued
            await asyncio.sleep((found.next_ms or 0) / 1000)
    patient = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=60.0)
    async with running_worker(patient, {"p": Scripted(counts)}):
        for job_id in ids:
            await ended(store, job_id, seconds=5.0)
    assert most == 1


async def test_a_job_for_a_provider_that_this_worker_lacks_is_left_to_another_one(store: JobStore) -> None:
    """A worker of another release may have it; nobody else's provider answers instead; it fails in the end."""
    async with running_worker(store.settings, {"p": Scripted(_answers)}):
        job = new_job(provider="nobody", model="nothing", route=("nobody:nothing",), max_attempts=1)
        await store.submit(job)
        snapshot = await ended(store, job.id)
    assert snapshot.outcome is not None
    assert snapshot.outcome.error is not None
    assert (snapshot.outcome.error.type, snapshot.attempt) == ("ProviderNotConfigured", 1)
