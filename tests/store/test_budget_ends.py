"""A reservation ends with its lease, whatever ended it, and the sums have what is known of the cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from shared.errors import LeaseLost
from shared.job import Claim, JobStatus
from shared.store.job_store import JobStore
from shared.store.results import CallReport
from shared.store.transitions import Reroute
from tests.support.budgets import CALL, Sums, audit_budgets, budgeted_store, end, requeue, today_of, used
from tests.support.checks import RawRedis
from tests.support.gates import A
from tests.support.store import KEYS, claim, error_of, lose, status_of, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """See `budgeted_store`."""
    async with budgeted_store(url) as opened:
        yield opened


@dataclass
class Held:
    """A claim of a job that reserved `CALL`."""

    store: JobStore
    raw: RawRedis
    claim: Claim


async def _finish(at: Held) -> int:
    await end(at.store, at.claim, 700, JobStatus.FAILED)
    return 700


async def _finish_unknown(at: Held) -> int:
    await end(at.store, at.claim, None)
    return CALL


async def _retry(at: Held) -> int:
    await requeue(at.store, at.claim, 300)
    (again,) = await claim(at.store)
    assert await today_of(at.raw) == Sums(300, CALL)
    await end(at.store, again, 450)
    return 450


async def _retry_later(at: Held) -> int:
    await requeue(at.store, at.claim, 300, 3_600_000)
    return 300


async def _drain(at: Held) -> int:
    await requeue(at.store, at.claim, 40, drain=True)
    return 40


async def _last_attempt(at: Held) -> int:
    await requeue(at.store, at.claim, 10)
    (again,) = await claim(at.store)
    await requeue(at.store, again, 30)
    (last,) = await claim(at.store)
    await requeue(at.store, last, 60)
    assert await status_of(at.store, at.claim.job_id) is JobStatus.FAILED
    return 60


async def _rerouted(at: Held) -> int:
    reroute = Reroute(at.claim, A, CallReport.LIMITED, retry_after_ms=60_000, candidates=[], chain=[A], spent=used(20))
    assert (await at.store.reroute(reroute)).state == "throttled"
    return 20


async def _lost(at: Held) -> int:
    """Eight bytes are two tokens."""
    await at.store.append(at.claim, 2, "8 bytes.")
    await lose(at.store, at.raw, at.claim)
    return 2000


async def _lost_and_run_again(at: Held) -> int:
    """The next worker adds the lost text to its own cost: it counts once."""
    await _lost(at)
    (again,) = await claim(at.store)
    await end(at.store, again, 2000 + 500)
    return 2500


async def _lost_cancelled(at: Held) -> int:
    await at.store.append(at.claim, 2, "8 bytes.")
    await at.store.cancel(at.claim.job_id)
    await lose(at.store, at.raw, at.claim)
    assert await status_of(at.store, at.claim.job_id) is JobStatus.CANCELLED
    return 2000


async def _forced(at: Held) -> int:
    """While nothing is known, the bound counts."""
    await at.store.cancel(at.claim.job_id, force=True)
    return CALL


async def _forced_and_settled(at: Held) -> int:
    """The worker's late report corrects it, once."""
    await at.store.cancel(at.claim.job_id, force=True)
    for _ in range(2):
        with pytest.raises(LeaseLost):
            await end(at.store, at.claim, 80)
    return 80


async def _forced_and_audited(at: Held) -> int:
    """A worker that never reports is estimated by its text."""
    await at.store.append(at.claim, 2, "8 bytes.")
    await at.store.cancel(at.claim.job_id, force=True)
    await at.raw("HSET", KEYS.job(at.claim.job_id), "ended", 1)
    await at.store.maintenance.audit("w1")
    return 2000


async def _forced_deleted(at: Held) -> int:
    await at.store.cancel(at.claim.job_id, force=True)
    assert await at.store.delete(at.claim.job_id)
    return CALL


async def _overdue(at: Held) -> int:
    """A deadline that passes after an attempt."""
    await requeue(at.store, at.claim, 90)
    await at.raw("HSET", KEYS.job(at.claim.job_id), "deadline", 1)
    assert await claim(at.store) == []
    assert await error_of(at.store, at.claim.job_id) == "DeadlineExceeded"
    return 90


async def _cancelled_waiting(at: Held) -> int:
    await requeue(at.store, at.claim, 90, 3_600_000)
    assert (await at.store.cancel(at.claim.job_id)).state == "cancelled"
    return 90


async def _entry_without_lease(at: Held) -> int:
    """The audit gives it a new entry: what it cost is not known to anybody."""
    await at.raw("XACK", KEYS.fixed("line"), "workers", at.claim.token[1:])
    await at.store._calls.run("audit_entries", queue="q", start="-", page=10)
    assert await status_of(at.store, at.claim.job_id) is JobStatus.QUEUED
    return 0


ENDS: dict[str, Callable[[Held], Awaitable[int]]] = {
    end_.__name__.strip("_"): end_
    for end_ in (
        _finish, _finish_unknown, _retry, _retry_later, _drain, _last_attempt, _rerouted, _lost, _lost_and_run_again,
        _lost_cancelled, _forced, _forced_and_settled, _forced_and_audited, _forced_deleted, _overdue,
        _cancelled_waiting, _entry_without_lease,
    )
}  # fmt: skip


@pytest.mark.parametrize("how", ENDS)
async def test_a_reservation_ends_with_its_lease(store: JobStore, raw: RawRedis, how: str) -> None:
    """Whatever ended it, nothing stays reserved, and the sums have what is known of the cost."""
    await submit(store)
    (held,) = await claim(store)
    spent = await ENDS[how](Held(store, raw, held))
    assert await today_of(raw) == Sums(spent, 0)
    # The audit finds nothing to correct.
    assert await audit_budgets(store) == 0
    assert await today_of(raw) == Sums(spent, 0)
