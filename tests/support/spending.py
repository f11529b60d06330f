"""Prices of a gate, and the sums of costs beside the results of jobs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from shared.job import JobSnapshot, RetryReason, Spent, Usage
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.reading.usage import UsageRow
from shared.store.routing import Routing
from shared.store.transitions import Requeue
from tests.support.checks import RawRedis
from tests.support.store import claim, submit, usage_rows

GATE = "openai:gpt-a"
INPUT, OUTPUT = 37.5, 150.0
"""Nano-USD a token."""

SPENT = Spent(
    usage=Usage(input_tokens=40, output_tokens=100, cached_tokens=8, reasoning_tokens=60), cost=12_345_678_901_234
)


def _open(url: str, routing: Routing) -> AbstractAsyncContextManager[JobStore]:
    return open_store(StoreSettings(redis_url=url, lease_seconds=2.0), client_name="t", routing=routing)


def open_priced(url: str) -> AbstractAsyncContextManager[JobStore]:
    """The store of a worker that knows the price of its only model."""
    return _open(url, Routing(chain=(GATE,), prices={GATE: (INPUT, OUTPUT)}))


def open_unpriced(url: str) -> AbstractAsyncContextManager[JobStore]:
    """A store that knows the fleet's chain and no price."""
    return _open(url, Routing(chain=(GATE,)))


async def sums(store: JobStore) -> list[UsageRow]:
    """The sums of the organisation, of today and the days beside it."""
    async with RawRedis(store.settings.redis_url) as raw:
        today = int((await raw("TIME"))[0]) // 86_400
    return await usage_rows(store, "org", today - 1, today + 1)


async def ended_job(store: JobStore, job_id: str) -> JobSnapshot:
    """The job, after checking that the sums say the same of it as its result."""
    job = await store.status(job_id)
    assert job is not None
    assert job.outcome is not None
    used, cost = job.outcome.usage, job.outcome.cost_usd
    rows = await sums(store)
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


async def settled_job(store: JobStore, delay_ms: int) -> str:
    """A job that failed once, whose attempt was settled, and that is to be tried again."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=delay_ms, refund=False, error=None, spent=SPENT))
    return job_id
