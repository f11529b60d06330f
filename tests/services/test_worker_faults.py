"""A worker that is stopped, loses its lease or its server, or gets a job that kills workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from services.worker.providers import Action, Completion, GenerationRequest, ProviderError
from shared.job import JobError, JobStatus
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore
from tests.support.checks import RawRedis, leaks
from tests.support.store import make_due, submit
from tests.support.worker import (
    DONE,
    Scripted,
    answers,
    ended,
    running_worker,
    until,
    waits_for_ever,
    waits_until_closed,
)

BUSY = JobError(type="ProviderUnavailable", message="the provider is busy", retryable=True)


def _patient(store: JobStore) -> StoreSettings:
    """Leases of a minute: an earlier event does not wait for one to end."""
    return StoreSettings(redis_url=store.settings.redis_url, lease_seconds=60.0)


async def test_a_drain_releases_without_using_up_an_attempt(store: JobStore, redis_url: str) -> None:
    """A worker that is stopped releases its running job long before its lease ends; the next starts it as attempt 1."""
    provider = Scripted(waits_for_ever)
    async with running_worker(_patient(store), {"p": provider}) as (_, stop):
        (job_id,) = await submit(store)
        await provider.called()
        stop.set()

        async def waiting() -> bool:
            return (await store.queries.stats()).queued == 1

        await until(waiting)
    async with running_worker(store.settings, {"p": Scripted(answers)}):
        snapshot = await ended(store, job_id)
    assert (snapshot.status, snapshot.attempt) == (JobStatus.COMPLETED, 1)
    assert await leaks(redis_url) == []


async def test_a_drain_is_over_when_the_last_job_has_ended(store: JobStore) -> None:
    """A worker that may take long to leave does not take longer than its jobs do."""
    release = asyncio.Event()

    async def waits(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        await release.wait()
        yield DONE

    provider = Scripted(waits)
    async with running_worker(_patient(store), {"p": provider}, drain_seconds=100.0) as (_, stop):
        await submit(store)
        await provider.called()
        stop.set()
        release.set()
        told = time.monotonic()
    assert time.monotonic() - told < 50.0


async def test_a_worker_whose_lease_was_taken_stops_paying(store: JobStore) -> None:
    """When another one ended the job, the renewal reports it, and the provider's stream is closed."""
    closed = asyncio.Event()
    quick = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=1.0)
    provider = Scripted(waits_until_closed(closed))
    async with running_worker(quick, {"p": provider}):
        (job_id,) = await submit(store)
        await provider.called()
        await store.cancel(job_id, force=True)
        async with asyncio.timeout(30):
            await closed.wait()


async def test_jobs_end_although_redis_was_away_when_they_should(server: EmbeddedServer, store: JobStore) -> None:
    """The server sleeps while texts are done: no end is lost or left to its lease, none is written twice."""
    gate = asyncio.Event()

    async def waits(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        await gate.wait()
        yield "text"
        yield DONE

    provider = Scripted(waits)
    async with running_worker(store.settings, {"p": provider}):
        ids = await submit(store, 20)
        await provider.called(20)
        server.pause()
        try:
            gate.set()
            await asyncio.sleep(2.2)
        finally:
            server.resume()
        for job_id in ids:
            seen = await ended(store, job_id)
            assert (seen.status, seen.attempt) == (JobStatus.COMPLETED, 1)
        assert (await store.queries.stats()).completed == 20


async def test_a_worker_lives_through_a_full_server(store: JobStore, redis_url: str) -> None:
    """Redis has no memory left: a worker that starts then still runs and retries waiting jobs, and goes on
    afterwards."""

    async def fails_once(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        if request.attempt == 1:
            raise ProviderError(BUSY, Action.RETRY, retry_after_s=0.05)
        yield "done"
        yield DONE

    # The groups are there, as on every server that has worked before: making them needs memory.
    await store.claim("earlier", 1, poll=True, suspect=True)
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
    """Stopped between the server's delivery and its answer, the worker releases the delivered jobs at once."""
    delivered, answer = asyncio.Event(), asyncio.Event()
    async with running_worker(_patient(store), {"p": Scripted(waits_for_ever)}) as (worker, stop):
        scripts = worker._store._calls.scripts
        send = scripts._transport.execute

        async def slow(*command: bytes | str | float) -> object:
            reply = await send(*command)
            claimed = reply[1] if isinstance(reply, list) and len(reply) == 2 else None
            if isinstance(claimed, list) and len(claimed) > 4 and len(claimed[4]) >= 18:
                delivered.set()
                await answer.wait()
            return reply

        scripts._transport.execute = slow  # type: ignore[method-assign]  # a slow network
        await submit(store)
        async with asyncio.timeout(30):
            await delivered.wait()
        stop.set()
        await asyncio.sleep(0.05)
        answer.set()
    stats = await store.queries.stats()
    assert (stats.queued, stats.processing) == (1, 0)


async def test_a_busy_worker_makes_room_for_a_job_that_must_run_alone(store: JobStore, redis_url: str) -> None:
    """Nothing new is claimed once it waited for a lease, nor while it runs, which it does when the last of the others
    ended; then they go on."""
    release, running, beside = asyncio.Event(), list[str](), list[int]()

    async def counts(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        running.append(request.prompt)
        if "alone" in running:
            beside.append(len(running) - 1)
        if request.prompt == "alone":
            while worker._pool.clearing:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
        elif request.prompt == "long":
            await release.wait()
        running.remove(request.prompt)
        yield DONE

    settings = StoreSettings(redis_url=redis_url, lease_seconds=1.0)
    await submit(store, 1, prompt="long")
    provider = Scripted(counts)
    async with running_worker(settings, {"p": provider}, worker_concurrency=4) as (worker, _):
        await provider.called()
        (isolated,) = await submit(store, 1, prompt="alone", delay_ms=3_600_000)
        async with RawRedis(redis_url) as raw:
            await raw("HSET", store.keys.job(isolated), "losses", 3)
            await make_due(raw, isolated)
        await store.maintenance.promote()

        async def makes_room() -> bool:
            return worker._pool.clearing

        await until(makes_room)
        (later,) = await submit(store, 1, prompt="short")
        release.set()
        assert (await ended(store, isolated)).status is JobStatus.COMPLETED
        assert (await ended(store, later)).status is JobStatus.COMPLETED
    assert beside == [0]


@pytest.mark.parametrize(("losses", "beside"), [(1, 10), (2, 2), (3, 1)])
async def test_suspects_are_isolated_and_all_of_them_run_in_the_end(
    store: JobStore, redis_url: str, losses: int, beside: int
) -> None:
    """Ten jobs that lost workers run in a worker of 16 slots, few at a time or alone, and none waits for a time-out."""
    running = most = 0

    async def counts(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        yield DONE

    ids = await submit(store, 10)
    claimed = await store.claim("dead", 50, poll=True, suspect=True)
    assert len(claimed.claims) == 10
    async with RawRedis(redis_url) as raw:
        for job_id in ids:
            await raw("HSET", store.keys.job(job_id), "losses", losses - 1)
    recovered = 0
    async with asyncio.timeout(30):
        while recovered < 10:
            found = await store.maintenance.recover("finder", [])
            recovered += found.requeued
            await asyncio.sleep((found.next_ms or 0) / 1000)
    async with running_worker(_patient(store), {"p": Scripted(counts)}, worker_concurrency=16):
        for job_id in ids:
            await ended(store, job_id)
    # A first loss makes no suspect: how many then run at once is a question of time alone.
    assert most == beside or (losses == 1 and most > 2)
