"""Workers before an organisation's own limit of tokens a minute."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.worker.providers import Completion, GenerationRequest
from shared.job import JobStatus, Usage
from shared.store.job_store import JobStore, open_store
from shared.store.results import WaitReason
from shared.store.routing import Routing
from tests.support.store import new_job, settle, status_of, submit
from tests.support.worker import DONE, Scripted, ended, running_worker, until


async def _greedy(_: GenerationRequest) -> AsyncIterator[str | Completion]:
    yield "text"
    yield Completion(finish_reason="stop", usage=Usage(input_tokens=50, output_tokens=5_000))


async def _modest(_: GenerationRequest) -> AsyncIterator[str | Completion]:
    yield "text"
    yield DONE


@pytest.mark.parametrize("gated", [True, False])
async def test_jobs_go_on_by_themselves_when_the_tokens_are_paid(store: JobStore, gated: bool) -> None:
    """Nobody wakes the worker: it comes back when the clock allows the next call, and another's job did not wait."""
    await settle(store, "a", tokens_per_minute=3000)
    async with running_worker(store.settings, {"p": Scripted(_modest, gated=gated)}):
        ids = await submit(store, 3, organization="a", prompt="x" * 200, max_tokens=60)
        (other,) = await submit(store, organization="b")
        assert (await ended(store, other)).status is JobStatus.COMPLETED
        assert {await status_of(store, job_id) for job_id in ids} >= {JobStatus.QUEUED}
        for job_id in ids:
            assert (await ended(store, job_id)).status is JobStatus.COMPLETED


@pytest.mark.parametrize("gated", [True, False])
async def test_tokens_beyond_the_reservation_hold_up_the_next_call(store: JobStore, gated: bool) -> None:
    """A reply of 5,000 tokens, where 3,000 are allowed a minute: the next job waits for more than a minute and says so,
    and new ones start when the limit is taken away."""
    await settle(store, "a", tokens_per_minute=3000)
    gateway = open_store(store.settings, client_name="g", routing=Routing(chain=("p:p",)))
    async with gateway as reader, running_worker(store.settings, {"p": Scripted(_greedy, gated=gated)}):
        first, second = await submit(store, 2, organization="a", max_tokens=60, prompt="x" * 200)
        await ended(store, first)

        async def waits_for_long() -> bool:
            waiting = await reader.queries.waiting(second)
            clock = int((await store._reads.execute("TIME"))[0]) * 1000
            return (
                waiting is not None
                and waiting.reason is WaitReason.ORGANIZATION_LIMIT
                and (waiting.until_ms or 0) - clock > 60_000
            )

        await until(waits_for_long)
        await settle(store, "a", tokens_per_minute=None)
        for name in ("a", "b"):
            job = new_job(organization=name)
            await store.submit(job)
            assert (await ended(store, job.id)).status is JobStatus.COMPLETED
