"""Workers before a gate, or a queue, that an operator paused."""

from __future__ import annotations

import msgspec
import pytest

from shared.job import JobStatus
from shared.store.audit_trail import Actor
from shared.store.gates import QUEUE
from shared.store.job_store import JobStore
from tests.support.gates import throttled_jobs
from tests.support.store import new_job, submit
from tests.support.worker import Scripted, answers, ended, running_worker, until

ACTOR = Actor(key_id="test")


@pytest.mark.parametrize("gated", [True, False], ids=["gated", "ungated"])
async def test_a_paused_gate_lets_no_call_out(store: JobStore, gated: bool) -> None:
    """Ten jobs of a paused gate: no call until it is resumed, while jobs of another gate complete."""
    paused, other = Scripted(answers, gated=gated), Scripted(answers, gated=gated)
    async with running_worker(store.settings, {"paused": paused, "other": other}):
        await store.gates.pause("paused:paused", ACTOR)
        ids = [(await store.submit(new_job(route=("paused:paused",)))).job_id for _ in range(10)]
        for _ in range(10):
            passing = await store.submit(new_job(route=("other:other",)))
            assert (await ended(store, passing.job_id)).status is JobStatus.COMPLETED
        await until(lambda: throttled_jobs(store, 10))
        assert paused.calls == 0
        await store.gates.resume("paused:paused", ACTOR)
        for job_id in ids:
            assert (await ended(store, job_id)).status is JobStatus.COMPLETED
        assert paused.calls == 10


@pytest.mark.parametrize("frugal", [False, True])
async def test_a_paused_queue_keeps_a_worker_alive_and_idle(store: JobStore, frugal: bool) -> None:
    """Nothing is called, and its probe finds nothing wrong, however long the pause; resumed, the jobs run. Where
    commands are billed, the worker learns of it from a notification."""
    provider, settings = Scripted(answers), msgspec.structs.replace(store.settings, frugal=frugal)
    async with running_worker(settings, {"p": provider}) as (worker, _):

        async def noticed() -> bool:
            return worker._consumer._settled or not frugal

        if frugal:
            (first,) = await submit(store)
            assert (await ended(store, first)).status is JobStatus.COMPLETED
        done = provider.calls
        await store.gates.pause(QUEUE, ACTOR)
        await until(noticed)
        ids = await submit(store, 5)
        worker._consumer.served_at -= 3600
        assert await worker.live()
        assert provider.calls == done
        await store.gates.resume(QUEUE, ACTOR)
        for job_id in ids:
            assert (await ended(store, job_id)).status is JobStatus.COMPLETED
