"""A refill of the line fails alone: the transition before it stands, and a promotion lets the organisation in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shared.job import Claim, JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport
from shared.store.transitions import Reroute
from tests.support.breaches import breaches
from tests.support.budgets import CALL, end, priced, requeue, today_of, true_sums
from tests.support.checks import RawRedis
from tests.support.gates import A
from tests.support.organization_counts import miscounted
from tests.support.store import KEYS, claim, complete, lose, make_overdue, settle, status_of, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)
BACKLOG = KEYS.prefix("backlog") + "org"


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """A worker with a priced gate, and an organisation that may spend one call."""
    settings = StoreSettings(redis_url=url, lease_seconds=2.0)
    async with open_store(settings, client_name="t", routing=priced(A)) as opened:
        await settle(opened, "org", day_nano_usd=CALL)
        yield opened


async def _finish(store: JobStore, _: RawRedis, held: Claim) -> JobStatus:
    await end(store, held, 0)
    return JobStatus.COMPLETED


async def _retry(store: JobStore, _: RawRedis, held: Claim) -> JobStatus:
    await requeue(store, held, 0, 3_600_000)
    return JobStatus.QUEUED


async def _reroute(store: JobStore, _: RawRedis, held: Claim) -> JobStatus:
    reroute = Reroute(held, A, CallReport.LIMITED, retry_after_ms=60_000, candidates=[], chain=[A], spent=None)
    assert (await store.reroute(reroute)).state == "throttled"
    return JobStatus.QUEUED


async def _lose(store: JobStore, raw: RawRedis, held: Claim) -> JobStatus:
    await raw("HSET", KEYS.job(held.job_id), "cancel", 1)
    await lose(store, raw, held)
    return JobStatus.CANCELLED


Transition = Callable[[JobStore, RawRedis, Claim], Awaitable[JobStatus]]


@pytest.mark.parametrize("transition", [_finish, _retry, _reroute, _lose])
async def test_a_transition_stands_whose_refill_fails(store: JobStore, raw: RawRedis, transition: Transition) -> None:
    """Counts and sums of the budget are right, a worker is woken, and the job that waited for room starts later."""
    ids = await submit(store, 2)
    (held,) = await claim(store)
    assert await raw("ZCARD", BACKLOG) == 1
    await raw("DEL", KEYS.fixed("wake"))
    await _damaged(raw)

    await store.renew("finder", [])  # it knows the server's clock from here on
    assert await transition(store, raw, held) is await status_of(store, held.job_id)
    assert b"job" in await raw("ZRANGE", KEYS.fixed("wake"), 0, -1)
    await _repaired(raw)
    assert await miscounted(raw, ids) == []
    assert await today_of(raw) == await true_sums(raw, ids, "org")
    assert await breaches(store, raw, ids) == []

    await store.maintenance.promote()
    assert {job.job_id for job in await claim(store)} == {*ids} - {held.job_id}


async def _damaged(raw: RawRedis) -> None:
    """The backlog is of another type for a while."""
    await raw("RENAME", BACKLOG, BACKLOG + "-aside")
    await raw("SET", BACKLOG, "damage")


async def _repaired(raw: RawRedis) -> None:
    await raw("RENAME", BACKLOG + "-aside", BACKLOG)


async def _cancel(store: JobStore, _: RawRedis, job_id: str) -> None:
    assert (await store.cancel(job_id)).state == "cancelled"


async def _expire(store: JobStore, raw: RawRedis, job_id: str) -> None:
    await make_overdue(raw, job_id)
    await store.maintenance.promote()
    assert await status_of(store, job_id) is JobStatus.FAILED


async def _start(store: JobStore, _: RawRedis, job_id: str) -> None:
    (held,) = await claim(store)
    assert held.job_id == job_id
    await complete(store, held)


@pytest.mark.parametrize("step", [_cancel, _expire, _start])
async def test_a_job_leaves_the_line_whose_refill_fails(
    store: JobStore, raw: RawRedis, step: Callable[[JobStore, RawRedis, str], Awaitable[None]]
) -> None:
    """It ends, or starts, and the caller learns so; the next of its organisation comes in later."""
    await settle(store, "org", day_nano_usd=None)
    ids = await submit(store, 1, deadline_ms=80_000) + await submit(store, 2)
    await _damaged(raw)
    await step(store, raw, ids[0])
    await _repaired(raw)
    assert await miscounted(raw, ids) == []
    await store.maintenance.promote()
    assert [held.job_id for held in await claim(store)] == ids[1:]
    assert await breaches(store, raw, ids) == []
