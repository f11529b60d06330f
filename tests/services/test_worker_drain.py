"""A worker that an operator drains, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from services.worker.loops.registration import Registration
from shared.job import JobStatus
from shared.store.audit_trail import Actor
from shared.store.job_store import JobStore
from shared.store.workers import Worker
from tests.support.checks import RawRedis
from tests.support.store import KEYS, status_of, submit
from tests.support.worker import Scripted, answers, ended, running_worker, until, waits_until_closed

ACTOR = Actor(key_id="test")


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[RawRedis]:
    """A connection of the operator to the server of the test."""
    async with RawRedis(redis_url) as connection:
        yield connection


async def _registered(store: JobStore) -> Worker:
    async def there() -> bool:
        return bool(await store.workers.read())

    await until(there)
    (found,) = await store.workers.read()
    return found


async def test_a_drained_worker_takes_nothing_until_it_is_resumed(store: JobStore) -> None:
    """Idle when the order comes, it lets a new job wait and stays alive; resumed, it runs the job; gone, it is not
    listed."""
    async with running_worker(store.settings, {"p": Scripted(answers)}) as (worker, _):
        found = await _registered(store)
        assert (found.name, found.slots > 0, found.progress, found.draining) == (worker.name, True, True, False)
        assert await store.workers.order(worker.name, ACTOR, drain=True)

        async def drained() -> bool:
            return worker._pool.drained

        await until(drained)
        (job_id,) = await submit(store)
        await asyncio.sleep(0.3)
        assert await status_of(store, job_id) is JobStatus.QUEUED
        assert await worker.live()

        assert await store.workers.order(worker.name, ACTOR, drain=False)
        assert (await ended(store, job_id)).status is JobStatus.COMPLETED
    assert await store.workers.read() == []


async def test_a_lost_order_is_found_by_a_renewal(
    store: JobStore, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message got lost, and the entry with it: the next renewal of a running job obeys, and writes the entry
    again; the job that runs ends as if nothing were."""

    async def lost(_: Registration) -> None:
        return

    closed = asyncio.Event()
    settings = msgspec.structs.replace(store.settings, lease_seconds=1.0)
    provider = Scripted(waits_until_closed(closed))
    async with running_worker(settings, {"p": provider}) as (worker, _):
        await _registered(store)
        await submit(store)
        await provider.called()
        monkeypatch.setattr(Registration, "check", lost)
        await store.workers.order(worker.name, ACTOR, drain=True)
        await raw("HDEL", KEYS.fixed("workers"), worker.name)

        async def obeyed() -> bool:
            return worker._pool.drained and bool(await store.workers.read())

        await until(obeyed)
        assert len(worker._pool.attempts) == 1
