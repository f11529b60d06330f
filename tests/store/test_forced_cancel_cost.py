"""The cost of a job whose cancel was forced: by the report of its worker, or estimated when that is dead."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.errors import LeaseLost
from shared.job import Claim, JobStatus, Outcome, Usage
from shared.store.job_store import JobStore
from shared.store.transitions import Finish
from tests.support.checks import RawRedis
from tests.support.spending import INPUT, OUTPUT, SPENT, ended_job, open_priced, open_unpriced, settled_job, sums
from tests.support.store import claim, submit


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """A store of a worker that knows the price of its only model."""
    async with open_priced(url) as opened:
        yield opened


@pytest.fixture
async def unpriced(url: str) -> AsyncIterator[JobStore]:
    """A store that knows the fleet's chain and no price, as a gateway's."""
    async with open_unpriced(url) as opened:
        yield opened


async def _audit(store: JobStore, raw: RawRedis, job_id: str, *, ended_s_ago: int) -> None:
    """The next audit, as if the job had ended so long ago."""
    await raw("HSET", store.keys.job(job_id), "ended", (int((await raw("TIME"))[0]) - ended_s_ago) * 1000)
    await raw("DEL", store.keys.fixed("audit"))
    assert (await store.maintenance.audit("auditor")).requeued == 0


async def _forced(gateway: JobStore, store: JobStore) -> Claim:
    """A job that wrote ten bytes before its cancel was forced, and its lease."""
    (job_id,) = await submit(gateway, prompt="x" * 41)
    (held,) = await claim(store)
    await store.append(held, 2, "ten bytes.")
    assert (await gateway.cancel(job_id, force=True)).state == "cancelled"
    return held


async def test_a_forced_cancel_whose_worker_is_dead_is_estimated(
    unpriced: JobStore, store: JobStore, raw: RawRedis
) -> None:
    """Not before the worker must have given up; then once, however often recovery runs; and the worker counts no
    more."""
    held = await _forced(unpriced, store)
    await _audit(store, raw, held.job_id, ended_s_ago=2)
    assert (await ended_job(store, held.job_id)).outcome == Outcome(result="ten bytes.", finish_reason="cancelled")
    for _ in range(2):
        await _audit(store, raw, held.job_id, ended_s_ago=6)
        job = await ended_job(store, held.job_id)
        assert job.outcome is not None
        assert (job.status, job.outcome.result) == ("cancelled", "ten bytes.")
        assert job.outcome.usage == Usage(input_tokens=11, output_tokens=3, estimated=True)
        assert job.outcome.cost_usd == pytest.approx((11 * INPUT + 3 * OUTPUT + 0.5) // 1 / 1e9, abs=1e-12)
    with pytest.raises(LeaseLost):
        await store.finish(Finish(held, JobStatus.CANCELLED, Outcome(usage=SPENT.usage), number=2, offset=0, run_ms=1))
    assert (await ended_job(store, held.job_id)).outcome == job.outcome
    assert (await store.queries.stats()).cancelled == 1


async def test_a_forced_cancel_that_its_worker_settled_is_not_estimated(
    unpriced: JobStore, store: JobStore, raw: RawRedis
) -> None:
    """The worker's late report is the cost of the job."""
    held = await _forced(unpriced, store)
    late = Outcome(usage=SPENT.usage, cost_usd=0.5, provider="openai", model="gpt-a")
    with pytest.raises(LeaseLost):
        await store.finish(Finish(held, JobStatus.CANCELLED, late, number=2, offset=0, run_ms=1))
    await _audit(store, raw, held.job_id, ended_s_ago=60)
    job = await ended_job(store, held.job_id)
    assert job.outcome is not None
    assert (job.outcome.usage, job.outcome.cost_usd) == (SPENT.usage, 0.5)


async def test_a_forced_cancel_after_an_attempt_keeps_its_cost(
    unpriced: JobStore, store: JobStore, raw: RawRedis
) -> None:
    """The cost of earlier attempts is reported too when the last worker is dead and wrote nothing."""
    job_id = await settled_job(unpriced, 0)
    await claim(store)
    await unpriced.cancel(job_id, force=True)
    await _audit(store, raw, job_id, ended_s_ago=60)
    job = await ended_job(store, job_id)
    assert job.outcome is not None
    assert job.outcome.usage == SPENT.usage
    (row,) = await sums(store)
    assert row.cost_nano_usd == SPENT.cost
