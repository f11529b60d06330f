"""Jobs that end without a worker have the cost of their attempts, in the result as in the sums."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.errors import LeaseLost
from shared.job import Claim, JobSnapshot, JobStatus, Outcome, RetryReason, Spent, Usage
from shared.settings import StoreSettings
from shared.store.engine.constants import LOSSES_MAX
from shared.store.job_store import JobStore, open_store
from shared.store.reading.usage import UsageRow
from shared.store.routing import Routing
from shared.store.transitions import Finish, Requeue
from tests.support.checks import RawRedis
from tests.support.store import claim, complete, lose, submit, usage_rows

GATE = "openai:gpt-a"
INPUT, OUTPUT = 37.5, 150.0
"""Nano-USD a token."""

SPENT = Spent(
    usage=Usage(input_tokens=40, output_tokens=100, cached_tokens=8, reasoning_tokens=60), cost=12_345_678_901_234
)


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """A store of a worker that knows the price of its only model."""
    routing = Routing(chain=(GATE,), prices={GATE: (INPUT, OUTPUT)})
    async with open_store(StoreSettings(redis_url=url, lease_seconds=2.0), client_name="t", routing=routing) as opened:
        yield opened


@pytest.fixture
async def unpriced(url: str) -> AsyncIterator[JobStore]:
    """A store that knows the fleet's chain and no price, as a gateway's."""
    routing = Routing(chain=(GATE,))
    async with open_store(StoreSettings(redis_url=url, lease_seconds=2.0), client_name="t", routing=routing) as opened:
        yield opened


async def _sums(store: JobStore) -> list[UsageRow]:
    async with RawRedis(store.settings.redis_url) as raw:
        today = int((await raw("TIME"))[0]) // 86_400
    return await usage_rows(store, "org", today - 1, today + 1)


async def _ended(store: JobStore, job_id: str) -> JobSnapshot:
    """The job, after checking that the sums say the same of it as its result."""
    job = await store.status(job_id)
    assert job is not None
    assert job.outcome is not None
    used, cost = job.outcome.usage, job.outcome.cost_usd
    rows = await _sums(store)
    if used is None:
        assert (rows, cost) == ([], None)
        return job
    (row,) = rows
    assert (row.jobs, row.project_id, f"{row.provider}:{row.model}") == (1, "p", GATE)
    assert (row.input_tokens, row.output_tokens, row.cached_tokens) == (
        used.input_tokens, used.output_tokens, used.cached_tokens,
    )  # fmt: skip
    assert (row.unknown_cost_jobs, row.cost_nano_usd) == ((1, 0) if cost is None else (0, round(cost * 1e9)))
    assert row.estimated_jobs == int(used.estimated)
    assert (job.outcome.provider, job.outcome.model) == ("openai", "gpt-a")
    return job


async def _settled(store: JobStore, delay_ms: int) -> str:
    """A job that failed once, whose attempt was settled, and that is to be tried again."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=delay_ms, refund=False, error=None, spent=SPENT))
    return job_id


async def test_a_job_that_lost_all_its_workers_costs_what_they_wrote(store: JobStore, raw: RawRedis) -> None:
    """The text of every lost worker is estimated and priced, the prompt as often as the next worker would have."""
    (job_id,) = await submit(store, prompt="x" * 41)
    for life in range(1 + LOSSES_MAX):
        (held,) = await claim(store, consumer=f"w{life}")
        assert held.lost_bytes == 10 * life
        await store.append(held, 2, "ten bytes.")
        await lose(store, raw, held)
    job = await _ended(store, job_id)
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
    assert (await _ended(store, job_id)).status == "failed"


async def test_a_deadline_that_passed_after_an_attempt_forgets_none_of_its_cost(store: JobStore, raw: RawRedis) -> None:
    """The reported usage is exact to the nano-USD, written by the claim that finds the job too late."""
    job_id = await _settled(store, 0)
    await raw("HSET", store.keys.job(job_id), "deadline", 1)
    assert await claim(store) == []
    job = await _ended(store, job_id)
    assert job.outcome is not None
    assert job.outcome.error is not None
    assert job.outcome.error.type == "DeadlineExceeded"
    assert job.outcome.usage == SPENT.usage
    (row,) = await _sums(store)
    assert row.cost_nano_usd == SPENT.cost


async def test_cancelling_a_job_that_waits_for_its_retry_tells_its_cost(unpriced: JobStore) -> None:
    """The gateway ends it, which knows no price and needs none; a second cancel adds nothing."""
    job_id = await _settled(unpriced, 60_000)
    for _ in range(2):
        await unpriced.cancel(job_id)
    job = await _ended(unpriced, job_id)
    assert job.outcome is not None
    assert (job.status, job.outcome.usage) == ("cancelled", SPENT.usage)
    (row,) = await _sums(unpriced)
    assert row.cost_nano_usd == SPENT.cost


async def test_lost_text_without_a_price_has_no_cost(unpriced: JobStore, raw: RawRedis) -> None:
    """Its tokens are known, and that its cost is not; never zero."""
    (job_id,) = await submit(unpriced)
    (held,) = await claim(unpriced)
    await unpriced.append(held, 2, "four")
    await lose(unpriced, raw, held)
    await unpriced.cancel(job_id)
    job = await _ended(unpriced, job_id)
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
    job = await _ended(store, job_id)
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
    assert [(row.jobs, row.unknown_cost_jobs, row.project_id) for row in await _sums(store)] == [(1, 1, "p")]
    stats = await store.queries.stats()
    assert (stats.completed, stats.failed, stats.cancelled) == (1, 2, 1)


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
    assert (await _ended(store, held.job_id)).outcome == Outcome(result="ten bytes.", finish_reason="cancelled")
    for _ in range(2):
        await _audit(store, raw, held.job_id, ended_s_ago=6)
        job = await _ended(store, held.job_id)
        assert job.outcome is not None
        assert (job.status, job.outcome.result) == ("cancelled", "ten bytes.")
        assert job.outcome.usage == Usage(input_tokens=11, output_tokens=3, estimated=True)
        assert job.outcome.cost_usd == pytest.approx((11 * INPUT + 3 * OUTPUT + 0.5) // 1 / 1e9, abs=1e-12)
    with pytest.raises(LeaseLost):
        await store.finish(Finish(held, JobStatus.CANCELLED, Outcome(usage=SPENT.usage), number=2, offset=0, run_ms=1))
    assert (await _ended(store, held.job_id)).outcome == job.outcome
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
    job = await _ended(store, held.job_id)
    assert job.outcome is not None
    assert (job.outcome.usage, job.outcome.cost_usd) == (SPENT.usage, 0.5)


async def test_a_forced_cancel_after_an_attempt_keeps_its_cost(
    unpriced: JobStore, store: JobStore, raw: RawRedis
) -> None:
    """The cost of earlier attempts is reported too when the last worker is dead and wrote nothing."""
    job_id = await _settled(unpriced, 0)
    await claim(store)
    await unpriced.cancel(job_id, force=True)
    await _audit(store, raw, job_id, ended_s_ago=60)
    job = await _ended(store, job_id)
    assert job.outcome is not None
    assert job.outcome.usage == SPENT.usage
    (row,) = await _sums(store)
    assert row.cost_nano_usd == SPENT.cost
