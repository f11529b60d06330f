"""Budgets of organisations: gates with prices, what is kept of their sums, and the true sums beside them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from shared.job import Claim, JobStatus, Outcome, RetryReason, Spent, Usage
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.paged_audit import PagedAudit
from shared.store.routing import OutputBound, Routing
from shared.store.transitions import Finish, Requeue
from tests.support.checks import RawRedis
from tests.support.gates import A, B, routing
from tests.support.store import ERROR, KEYS, settle

CALL: Final = 100_000
"""Nano-USD of the bound of a call at gate A, where the reply alone has a price. At gate B it is three times that."""


class Sums(NamedTuple):
    """Of one period, in nano-USD."""

    spent: int
    reserved: int


def priced(*chain: str, gated: bool = False) -> Routing:
    """Gates whose attempts cost `CALL` at most, or three times that at B."""
    prices = {gate: (0.0, 3000.0 if gate == B else 1000.0) for gate in chain}
    outputs = {gate: OutputBound(most=100) for gate in chain}
    return Routing(
        chain=chain, limits=routing(*chain).limits if gated else (), failures=3, prices=prices, outputs=outputs
    )


@asynccontextmanager
async def budgeted_store(url: str, *, gated: bool = False) -> AsyncIterator[JobStore]:
    """A worker with two priced gates, the second dearer, and an organisation that may spend ten calls of the first."""
    settings = StoreSettings(redis_url=url, lease_seconds=2.0)
    async with open_store(settings, client_name="t", routing=priced(A, B, gated=gated)) as opened:
        await settle(opened, "org", day_nano_usd=10 * CALL)
        yield opened


async def sums_of(raw: RawRedis, organization: str = "org") -> dict[str, Sums]:
    """Sums that are kept of a budget, by period: `d` and the day, `m` and the month."""
    flat = await raw("HGETALL", KEYS.prefix("budget") + organization)
    kept = dict(zip((name.decode() for name in flat[::2]), flat[1::2], strict=True))
    return {
        name: Sums(*map(int, value.split())) for name, value in kept.items() if name[0] in "dm" and name[1:].isdigit()
    }


async def today_of(raw: RawRedis, organization: str = "org") -> Sums:
    """The sums of the present day, which are those of the month where nothing is older."""
    found = await sums_of(raw, organization)
    days = {value for name, value in found.items() if name[0] == "d"}
    assert days == {value for name, value in found.items() if name[0] == "m"}
    (today,) = days
    return today


async def true_sums(raw: RawRedis, accepted: Sequence[str], organization: str) -> Sums:
    """The sums by the records: reservations of jobs that run, costs of results, and of other jobs what was counted."""
    reserved = spent = 0
    for job_id in accepted:
        fields = ("org", "state", "reserved", "outcome", "forced", "late")
        whose, state, text, outcome, forced, late = await raw("HMGET", KEYS.job(job_id), *fields)
        if whose is None or whose.decode() != organization:
            continue
        amount, _, counted = map(int, (text or b"0 0 0").split()[:3])
        if outcome is not None and (forced is None or late is not None):
            spent += round((json.loads(late or outcome).get("costUsd") or 0) * 1e9)
        else:
            spent += counted
        reserved += amount if state == b"processing" else 0
    return Sums(spent, reserved)


def used(cost: int | None, tokens: int = 1) -> Spent:
    """The cost of all of a job's attempts."""
    return Spent(usage=Usage(input_tokens=tokens, output_tokens=tokens), cost=cost)


async def end(
    store: JobStore, held: Claim, cost: int | None, status: JobStatus = JobStatus.COMPLETED, *, number: int = 1
) -> None:
    """End a job whose attempts cost so many nano-USD together; None: unknown. `number`: its last delta."""
    provider, _, model = (held.gate or A).partition(":")
    outcome = Outcome(
        result="text", provider=provider, model=model, usage=used(cost).usage,
        cost_usd=None if cost is None else cost / 1e9,
    )  # fmt: skip
    await store.finish(Finish(held, status, outcome, number=number, offset=0, run_ms=1))


async def requeue(store: JobStore, held: Claim, cost: int | None, delay_ms: int = 0, *, drain: bool = False) -> None:
    """Release a job after an attempt, or at a drain; `cost`: of all its attempts in nano-USD."""
    reason = RetryReason.DRAIN if drain else RetryReason.ERROR
    await store.requeue(Requeue(held, reason, delay_ms=delay_ms, refund=drain, error=ERROR, spent=used(cost)))


async def audit_budgets(store: JobStore) -> int:
    """Audit all budgets; how many were corrected."""
    return await PagedAudit(store._calls, store._reads, KEYS).correct_budgets()
