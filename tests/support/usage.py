"""Usage of jobs: outcomes that have some, and the sums of a day."""

from __future__ import annotations

from collections import Counter

from shared.job import Claim, JobStatus, Outcome, Usage
from shared.store.job_store import JobStore
from shared.store.reading.usage import UsageRow
from shared.store.transitions import Finish
from tests.support.checks import RawRedis
from tests.support.store import KEYS, usage_rows

LEDGER = KEYS.fixed("ledger")


def used_outcome(n: int = 1, *, model: str = "m", cost: float | None = 0.5) -> Outcome:
    """An outcome whose tokens follow from `n`; `cost` in USD."""
    usage = Usage(input_tokens=10 * n, output_tokens=n, cached_tokens=n % 3, estimated=n % 5 == 0)
    return Outcome(result="x", provider="openai", model=model, usage=usage, cost_usd=cost)


async def end_with(store: JobStore, held: Claim, outcome: Outcome, status: JobStatus = JobStatus.COMPLETED) -> None:
    """End a running job so."""
    await store.finish(Finish(held, status, outcome, number=1, offset=0, run_ms=1))


async def today_of(raw: RawRedis) -> int:
    """The server's day, counted since the epoch."""
    return int((await raw("TIME"))[0]) // 86_400


async def rows_about_now(store: JobStore, organization: str = "org") -> list[UsageRow]:
    """All rows, of any day: a test may run over midnight."""
    async with RawRedis(store.settings.redis_url) as raw:
        today = await today_of(raw)
    return await usage_rows(store, organization, today - 1, today + 1)


def totals(rows: list[UsageRow]) -> Counter[str]:
    """Sums over rows, without those that are 0."""
    numbers = [name for name in UsageRow.__struct_fields__ if name not in ("day", "project_id", "provider", "model")]
    return Counter({name: total for name in numbers if (total := sum(getattr(row, name) for row in rows))})
