"""Builders for store tests: jobs, the moves of workers, stale leases, and time that passes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from shared.errors import StoreUnavailable
from shared.job import Claim, JobError, JobSnapshot, JobSpec, JobStatus, Outcome, Priority
from shared.job_ids import new_job_id
from shared.store.audit_trail import Actor
from shared.store.job_store import JobStore
from shared.store.keys import GROUP, QUEUES, Keys
from shared.store.reading.usage import UsageRow
from shared.store.transitions import Finish, Submit
from tests.support.checks import RawRedis

KEYS = Keys()
AnswerT = TypeVar("AnswerT")
STALE_MS = 60_000
POLL = 9
"""Place of `look` in the state of a gate."""
ERROR = JobError(type="ProviderUnavailable", message="try later", retryable=True)


def new_job(priority: str = "normal", *, organization: str = "org", **more: Any) -> Submit:
    """A small job. Fields of `Submit` (delay_ms, …) and of its spec (max_attempts, …) by name."""
    of_spec = {name: more.pop(name) for name in list(more) if name in JobSpec.__struct_fields__}
    of_spec = {"project_id": "p", "user_id": "u", "prompt": "x"} | of_spec
    spec = JobSpec(organization_id=organization, priority=Priority(priority), **of_spec)
    return Submit(id=new_job_id(), spec=spec, **more)


async def settle(store: JobStore, organization: str, **settings: int | None) -> None:
    """Change settings of an organisation as an operator does; None: the default again."""
    await store.organizations.change(organization, settings, Actor(key_id="test"))


async def usage_rows(store: JobStore, organization: str, first_day: int, last_day: int) -> list[UsageRow]:
    """All rows of an organisation's days."""
    return [row async for rows in store.queries.usage(organization, first_day, last_day) for row in rows]


async def repeated(call: Callable[[], Awaitable[AnswerT]], seconds: float = 40.0) -> AnswerT:
    """Repeat a call that is safe to repeat until it succeeds, as every caller of the store does."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def submit(store: JobStore, count: int = 1, priority: str = "normal", **more: Any) -> list[str]:
    """Submit jobs; their ids in order."""
    jobs = [new_job(priority, **more) for _ in range(count)]
    # Some at a time, and again where the machine was too slow for the store's patience.
    for first in range(0, count, 500):
        await asyncio.gather(*(repeated(partial(store.submit, job)) for job in jobs[first : first + 500]))
    return [job.id for job in jobs]


async def claim(store: JobStore, limit: int = 50, consumer: str = "w1", **more: Any) -> list[Claim]:
    """Claim as a worker that holds nothing and polls everything."""
    options = {"poll": True, "suspect": True, **more}
    return (await store.claim(consumer, limit, **options)).claims


async def claim_one(store: JobStore, consumer: str = "w1") -> Claim:
    """Submit one job and claim it."""
    await submit(store)
    return (await claim(store, 1, consumer))[0]


async def complete(store: JobStore, held: Claim, text: str = "text", *, number: int = 1) -> None:
    """End a job as completed; `number` of its last delta, all of which held nothing of this text."""
    await store.finish(Finish(held, JobStatus.COMPLETED, Outcome(result=text), number=number, offset=0, run_ms=1))


async def fail(store: JobStore, held: Claim, error: JobError = ERROR) -> JobSnapshot:
    """End a job as failed; the job then."""
    provider, _, model = held.gate.partition(":")
    outcome = Outcome(error=error, provider=provider or None, model=model or None)
    await store.finish(Finish(held, JobStatus.FAILED, outcome, number=1, offset=0, run_ms=1))
    failed = await store.status(held.job_id)
    assert failed is not None
    return failed


async def make_stale(raw: RawRedis, *claims: Claim) -> None:
    """Make leases look as if they had not been renewed for a minute."""
    for held in claims:
        stream = KEYS.fixed(QUEUES[held.token[0]])
        await raw("XCLAIM", stream, GROUP, held.consumer, 0, held.token[1:], "IDLE", STALE_MS, "JUSTID")


async def lose(store: JobStore, raw: RawRedis, *claims: Claim) -> None:
    """Make all these leases stale and let another worker recover them."""
    await make_stale(raw, *claims)
    await store.maintenance.recover("finder", [])


async def make_due(raw: RawRedis, *job_ids: str) -> None:
    """Let the time pass for which delayed jobs wait; the first is the first due."""
    for order, job_id in enumerate(job_ids, 1):
        organization = (await raw("HGET", KEYS.job(job_id), "org")).decode()
        await raw("ZADD", KEYS.prefix("delayed") + organization, "XX", order, job_id)
        await raw("ZADD", KEYS.fixed("due"), "XX", "LT", order, organization)


async def all_delayed(raw: RawRedis) -> list[str]:
    """Delayed jobs of all organisations."""
    return [
        member.decode()
        for key in await raw("KEYS", f"{KEYS.prefix('delayed')}*")
        for member in await raw("ZRANGE", key, 0, -1)
    ]


async def make_overdue(raw: RawRedis, *job_ids: str) -> None:
    """Let the time pass for which jobs that brought their own deadline, or are throttled, may wait."""
    for job_id in job_ids:
        await raw("HSET", KEYS.job(job_id), "deadline", 1)
        for index in ("deadlines", "throttled_deadlines"):
            await raw("ZADD", KEYS.fixed(index), "XX", 1, job_id)


async def status_of(store: JobStore, job_id: str) -> JobStatus:
    """The status of a job that is there."""
    snapshot = await store.status(job_id)
    assert snapshot is not None
    return snapshot.status


async def error_of(store: JobStore, job_id: str) -> str:
    """The type of the error that a job ended with."""
    snapshot = await store.status(job_id)
    assert snapshot is not None
    assert snapshot.outcome is not None
    assert snapshot.outcome.error is not None
    return snapshot.outcome.error.type


async def unblock_gate(raw: RawRedis, gate: str) -> None:
    """Let the time pass for which a gate is blocked."""
    values = (await raw("HGET", KEYS.fixed("gates"), gate)).decode().split()
    seconds, micros = await raw("TIME")
    now = int(seconds) * 1000 + int(micros) // 1000
    passed = max(int(values[0]) - now, 0)
    # blocked_until, …, slow_start_from, used, requests: see gate_states.lua. Its throttle set is to be polled now.
    for i in (0, 4, 6):
        values[i] = str(int(values[i]) - passed)
    if len(values) > POLL:
        values[POLL] = "0"
    await raw("HSET", KEYS.fixed("gates"), gate, " ".join(values))
    await raw("HDEL", KEYS.fixed("gates"), "@")


async def drain(store: JobStore, consumer: str = "drain") -> int:
    """Complete everything that is claimable or becomes due; how many."""
    done = 0
    while True:
        await store.maintenance.promote()
        claimed = await store.claim(consumer, 50, poll=True, suspect=True)
        for held in claimed.claims:
            await complete(store, held)
            done += 1
        if not claimed.claims and not claimed.more:
            return done
