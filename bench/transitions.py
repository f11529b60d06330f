"""Redis commands of each transition alone, those inside its script included: part of (d)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from bench.load import RESULT, new_job
from bench.server import Probe
from shared.job import Claim, JobError, JobStatus, Outcome, RetryReason
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.transitions import Finish, Requeue

ROUNDS: Final = 20
_ERROR: Final = JobError(type="ProviderError", message="the provider failed", retryable=True)


async def commands_of_transitions(probe: Probe) -> dict[str, Counter[str]]:
    """Commands of ROUNDS calls of each transition, one job a call; a job's way in the order of its life."""
    found: dict[str, Counter[str]] = {}

    async def counted(name: str, call: Callable[[], Awaitable[object]]) -> None:
        before = probe.commands()
        await call()
        found[name] = found.get(name, Counter()) + (probe.commands() - before)

    async with open_store(StoreSettings(redis_url=probe.url), client_name="transitions") as store:
        await _life(store, lambda _name, call: call())
        for _ in range(ROUNDS):
            await _life(store, counted)
    return found


Counted = Callable[[str, Callable[[], Awaitable[object]]], Awaitable[object]]


async def _claim(store: JobStore) -> Claim:
    claimed = await store.claim("transitions", 50, poll=False, suspect=True)
    (claim,) = claimed.claims
    return claim


async def _life(store: JobStore, counted: Counted) -> None:
    """One job that ends well, one that is retried with a delay, one that is cancelled while it waits."""
    claims: list[Claim] = []

    async def claim() -> None:
        claims.append(await _claim(store))

    job = new_job()
    await counted("submit", lambda: store.submit(job))
    await counted("wake-up (BZPOPMIN)", lambda: store.wait_for_work(1000))
    await counted("claim", claim)
    await counted("append", lambda: store.append(claims[-1], 2, RESULT[:100]))
    await counted("renew", lambda: store.renew("transitions", claims[-1:]))
    outcome = Outcome(result=RESULT, provider="demo")
    await counted(
        "finish",
        lambda: store.finish(Finish(claims[-1], JobStatus.COMPLETED, outcome, number=2, offset=100, run_ms=1)),
    )
    await counted("status", lambda: store.status(job.id))
    await counted("stats", store.queries.stats)

    await store.submit(new_job())
    await claim()
    await counted(
        "requeue", lambda: store.requeue(Requeue(claims[-1], RetryReason.ERROR, delay_ms=1, refund=False, error=_ERROR))
    )
    while not (await store.maintenance.promote()).promoted:
        pass
    await claim()
    await store.finish(Finish(claims[-1], JobStatus.COMPLETED, outcome, number=1, offset=0, run_ms=1))

    waiting = new_job()
    await store.submit(waiting)
    await counted("cancel (waiting)", lambda: store.cancel(waiting.id))
    while (await store.wait_for_work(1)).value:
        pass
