"""A worker's leases: lost renewals, claims and wake-ups, and unconfirmed ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from services.worker.execution.attempt import StopReason
from services.worker.execution.pool import Pool
from services.worker.loops.lease_renewal import RETRY_S
from shared.errors import StoreUnavailable
from shared.job import Claim, JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore
from shared.store.maintenance import Maintenance
from tests.support.checks import RawRedis
from tests.support.store import submit
from tests.support.worker import Scripted, answers, ended, running_worker, until, waits_for_ever


def _lease(store: JobStore, seconds: float) -> StoreSettings:
    return StoreSettings(redis_url=store.settings.redis_url, lease_seconds=seconds)


async def test_a_renewal_that_failed_is_repeated_soon(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for its next iteration, a third of a lease later: others would recover before (I6)."""
    renew, asked = JobStore.renew, list[float]()

    async def fails_once(self: JobStore, consumer: str, claims: list[Claim]) -> Any:
        if claims:
            asked.append(time.monotonic())
            if len(asked) == 1:
                raise StoreUnavailable("lost", sent=True)
        return await renew(self, consumer, claims)

    monkeypatch.setattr(JobStore, "renew", fails_once)
    async with running_worker(_lease(store, 6.0), {"p": Scripted(waits_for_ever)}):
        await submit(store)

        async def twice() -> bool:
            return len(asked) >= 2

        await until(twice)
    assert asked[1] - asked[0] < RETRY_S + 1.0


async def test_a_lost_cancel_request_is_found_by_a_renewal(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message on the worker's channel got lost: its next renewal still ends the job."""
    monkeypatch.setattr(Pool, "stop_job", lambda *_: None)
    provider = Scripted(waits_for_ever)
    async with running_worker(_lease(store, 1.0), {"p": provider}):
        (job_id,) = await submit(store)
        await provider.called()
        await store.cancel(job_id)
        assert (await ended(store, job_id)).status is JobStatus.CANCELLED


async def test_nothing_is_taken_over_before_a_lease_was_watched(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose connection broke cannot know who was silent meanwhile: it watches a whole lease first (I6)."""
    recover, asked = Maintenance.recover, list[float]()

    async def noted(self: Maintenance, consumer: str, held: list[str]) -> Any:
        asked.append(time.monotonic())
        return await recover(self, consumer, held)

    async def recovered() -> bool:
        return bool(asked)

    monkeypatch.setattr(Maintenance, "recover", noted)
    async with running_worker(_lease(store, 1.0), {"p": Scripted(waits_for_ever)}) as (worker, _):
        await submit(store)
        await until(recovered)
        worker._consumer._watch.restart(time.monotonic())
        broke = time.monotonic()
        asked.clear()
        await until(recovered)
    assert asked[0] - broke >= 1.0


async def test_a_claim_whose_answer_was_lost_is_answered_again(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivered job runs at once, long before its lease could run out."""
    claim, lost = JobStore.claim, list[str]()

    async def loses_the_first(self: JobStore, *arguments: Any, **more: Any) -> Any:
        claimed = await claim(self, *arguments, **more)
        if claimed.claims and not lost:
            lost.extend(one.job_id for one in claimed.claims)
            raise StoreUnavailable("lost", sent=True)
        return claimed

    monkeypatch.setattr(JobStore, "claim", loses_the_first)
    async with running_worker(_lease(store, 60.0), {"p": Scripted(answers)}):
        (job_id,) = await submit(store)
        assert (await ended(store, job_id)).status is JobStatus.COMPLETED
    assert lost == [job_id]


async def test_a_lease_that_was_given_up_is_not_begun_again(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker stopped an attempt after two leases without a renewal. The server, whose clock went back, answers a lost
    claim with that job too: no second attempt runs under its token (I4)."""
    claim, answered = JobStore.claim, list[list[str]]()

    async def loses_the_second(self: JobStore, *arguments: Any, **more: Any) -> Any:
        claimed = await claim(self, *arguments, **more)
        if claimed.claims:
            answered.append([one.job_id for one in claimed.claims])
            if len(answered) == 2:
                raise StoreUnavailable("lost", sent=True)
        return claimed

    async def stopped() -> bool:
        return not worker._pool.attempts

    monkeypatch.setattr(JobStore, "claim", loses_the_second)
    provider = Scripted(waits_for_ever)
    async with running_worker(_lease(store, 60.0), {"p": provider}) as (worker, _):
        (first,) = await submit(store)
        await provider.called()
        worker._pool.stop_all(StopReason.LEASE_LOST)
        await until(stopped)
        (second,) = await submit(store)
        await provider.called(2)
        await asyncio.sleep(0)
        assert [one.claim.job_id for one in worker._pool.attempts] == [second]
    assert set(answered[2]) == {first, second}
    assert provider.calls == 2


async def test_an_end_that_was_not_confirmed_is_written_again(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is away when a job ends: its end is repeated, it is not left to its lease of a minute."""
    finish, failed = JobStore.finish, list[int]()

    async def fails_twice(self: JobStore, *arguments: Any, **more: Any) -> None:
        if len(failed) < 2:
            failed.append(1)
            raise StoreUnavailable("away", sent=False)
        await finish(self, *arguments, **more)

    monkeypatch.setattr(JobStore, "finish", fails_twice)
    async with running_worker(_lease(store, 60.0), {"p": Scripted(answers)}):
        (job_id,) = await submit(store)
        seen = await ended(store, job_id)
    assert (seen.status, seen.attempt) == (JobStatus.COMPLETED, 1)


async def test_a_wake_up_that_cannot_be_used_is_passed_on(store: JobStore, redis_url: str) -> None:
    """A sleeping worker must claim nothing more when it is woken for a job: another sleeping one is woken instead."""
    slow, patient = Scripted(waits_for_ever), _lease(store, 60.0)

    async def asleep(workers: int) -> None:
        async def reached() -> bool:
            info = (await raw("INFO", "clients")).decode()
            return f"blocked_clients:{workers}\r\n" in info

        await until(reached)

    async with RawRedis(redis_url) as raw, running_worker(patient, {"p": slow}) as (clearing, _):
        await submit(store)
        await slow.called()
        await asleep(1)
        async with running_worker(patient, {"p": slow}):
            await asleep(2)
            clearing._pool.clearing = True
            await submit(store)
            await slow.called(2)
            assert len(clearing._pool.attempts) == 1


async def test_ends_that_are_not_confirmed_are_bounded(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis delivers jobs and takes no end: no more than twice the slots are held, and all end once it does."""
    finish, confirmed = JobStore.finish, asyncio.Event()

    async def waits(self: JobStore, *arguments: Any, **more: Any) -> None:
        await confirmed.wait()
        await finish(self, *arguments, **more)

    monkeypatch.setattr(JobStore, "finish", waits)
    provider = Scripted(answers)
    async with running_worker(_lease(store, 60.0), {"p": provider}, worker_concurrency=2) as (worker, _):
        ids = await submit(store, 12)
        await provider.called(4)
        await asyncio.sleep(0.3)
        assert len(worker._pool.attempts) == 4
        confirmed.set()
        for job_id in ids:
            assert (await ended(store, job_id)).status is JobStatus.COMPLETED
