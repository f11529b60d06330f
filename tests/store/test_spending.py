"""Jobs that end without a worker have the cost of their attempts, in the result as in the sums."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.job import Usage
from shared.store.engine.constants import LOSSES_MAX
from shared.store.job_store import JobStore
from shared.store.routing import Routing
from tests.support.checks import RawRedis
from tests.support.spending import GATE, INPUT, OUTPUT, SPENT, ended_job, open_priced, open_unpriced, settled_job, sums
from tests.support.store import claim, complete, lose, submit


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


async def test_a_job_that_lost_all_its_workers_costs_what_they_wrote(store: JobStore, raw: RawRedis) -> None:
    """The text of every lost worker is estimated and priced, the prompt as often as the next worker would have."""
    (job_id,) = await submit(store, prompt="x" * 41)
    for life in range(1 + LOSSES_MAX):
        (held,) = await claim(store, consumer=f"w{life}")
        assert held.lost_bytes == 10 * life
        await store.append(held, 2, "ten bytes.")
        await lose(store, raw, held)
    job = await ended_job(store, job_id)
    assert job.outcome is not None
    assert job.outcome.error is not None
    assert job.outcome.error.type == "WorkerLost"
    assert job.outcome.usage == Usage(input_tokens=11, output_tokens=10, estimated=True)
    assert job.outcome.cost_usd == pytest.approx((11 * INPUT + 10 * OUTPUT + 0.5) // 1 / 1e9, abs=1e-12)


async def test_a_job_whose_workers_wrote_nothing_cost_nothing_that_is_known(store: JobStore, raw: RawRedis) -> None:
    """No text, no usage: neither a zero in the result nor a row in the sums."""
    (job_id,) = await submit(store)
    for life in range(1 + LOSSES_MAX):
        (held,) = await claim(store, consumer=f"w{life}")
        await lose(store, raw, held)
    assert (await ended_job(store, job_id)).status == "failed"


async def test_a_deadline_that_passed_after_an_attempt_forgets_none_of_its_cost(store: JobStore, raw: RawRedis) -> None:
    """The reported usage is exact to the nano-USD, written by the claim that finds the job too late."""
    job_id = await settled_job(store, 0)
    await raw("HSET", store.keys.job(job_id), "deadline", 1)
    assert await claim(store) == []
    job = await ended_job(store, job_id)
    assert job.outcome is not None
    assert job.outcome.error is not None
    assert job.outcome.error.type == "DeadlineExceeded"
    assert job.outcome.usage == SPENT.usage
    (row,) = await sums(store)
    assert row.cost_nano_usd == SPENT.cost


async def test_cancelling_a_job_that_waits_for_its_retry_tells_its_cost(unpriced: JobStore) -> None:
    """The gateway ends it, which knows no price and needs none; a second cancel adds nothing."""
    job_id = await settled_job(unpriced, 60_000)
    for _ in range(2):
        await unpriced.cancel(job_id)
    job = await ended_job(unpriced, job_id)
    assert job.outcome is not None
    assert (job.status, job.outcome.usage) == ("cancelled", SPENT.usage)
    (row,) = await sums(unpriced)
    assert row.cost_nano_usd == SPENT.cost


async def test_lost_text_without_a_price_has_no_cost(unpriced: JobStore, raw: RawRedis) -> None:
    """Its tokens are known, and that its cost is not; never zero."""
    (job_id,) = await submit(unpriced)
    (held,) = await claim(unpriced)
    await unpriced.append(held, 2, "four")
    await lose(unpriced, raw, held)
    await unpriced.cancel(job_id)
    job = await ended_job(unpriced, job_id)
    assert job.outcome is not None
    assert job.outcome.usage == Usage(input_tokens=1, output_tokens=1, estimated=True)
    assert job.outcome.cost_usd is None


async def test_a_cancelled_job_that_lost_its_worker_keeps_its_text_and_cost(store: JobStore, raw: RawRedis) -> None:
    """The worker died before it could answer the cancel: recovery ends the job with the text so far."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    await store.append(held, 2, "The harbour at ")
    await store.append(held, 3, "dawn")
    await store.cancel(job_id)
    await lose(store, raw, held)
    job = await ended_job(store, job_id)
    assert job.outcome is not None
    assert (job.status, job.outcome.result) == ("cancelled", "The harbour at dawn")
    assert job.outcome.usage == Usage(input_tokens=1, output_tokens=5, estimated=True)


async def test_prices_that_changed_count_for_jobs_that_end_later(store: JobStore, raw: RawRedis) -> None:
    """A worker that read its prices again gives the scripts the new ones; a gate without a price has none any more."""
    for prices, expected in (({GATE: (2 * INPUT, 2 * OUTPUT)}, 2 * (INPUT + OUTPUT) / 1e9), ({}, None)):
        await submit(store)
        (held,) = await claim(store)
        await store.append(held, 2, "dawn")
        await store.cancel(held.job_id)
        store.maintenance.reprice(Routing(prices=prices))
        await lose(store, raw, held)
        job = await store.status(held.job_id)
        assert job is not None
        assert job.outcome is not None
        assert job.outcome.cost_usd == expected


async def test_a_job_that_never_ran_costs_nothing(store: JobStore, raw: RawRedis) -> None:
    """Cancelled or too late while it waited, it is in no sum. One that was paid for and whose record cannot be read
    still ends, and counts as a job of unknown cost."""
    waiting, late, damaged = await submit(store, 3)
    await store.cancel(waiting)
    await raw("HSET", store.keys.job(late), "deadline", 1)
    await raw("HSET", store.keys.job(damaged), "deadline", 1, "spent", "{", "lost", 4)
    await submit(store)
    (held,) = await claim(store)
    await complete(store, held)
    assert [(row.jobs, row.unknown_cost_jobs, row.project_id) for row in await sums(store)] == [(1, 1, "p")]
    stats = await store.queries.stats()
    assert (stats.completed, stats.failed, stats.cancelled) == (1, 2, 1)
