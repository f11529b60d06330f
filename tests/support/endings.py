"""Ways in which a job can end, each with the state it leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from shared.job import Claim, JobError, RetryReason
from shared.store.job_store import JobStore
from shared.store.transitions import Requeue
from tests.support.budgets import CALL
from tests.support.checks import RawRedis
from tests.support.store import ERROR, KEYS, claim, complete, fail, lose, make_overdue, settle

Ending = Callable[[JobStore, RawRedis, str], Awaitable[object]]
"""Ends the job of this id, which waits."""


async def the_claim(store: JobStore) -> Claim:
    """Claim the one job that waits."""
    (held,) = await claim(store)
    return held


async def _log(store: JobStore, held: Claim) -> None:
    await store.append(held, 2, "text")


async def _complete(store: JobStore, _raw: RawRedis, _job_id: str) -> None:
    held = await the_claim(store)
    await _log(store, held)
    await complete(store, held, number=2)


async def _fail(store: JobStore, _raw: RawRedis, _job_id: str) -> None:
    await fail(store, await the_claim(store))


async def _cancel_waiting(store: JobStore, _raw: RawRedis, job_id: str) -> None:
    await store.cancel(job_id)


async def _cancel_asked(store: JobStore, _raw: RawRedis, job_id: str) -> None:
    held = await the_claim(store)
    await store.cancel(job_id)
    await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR))


async def _cancel_by_force(store: JobStore, _raw: RawRedis, job_id: str) -> None:
    await _log(store, await the_claim(store))
    await store.cancel(job_id, force=True)


async def _use_up(store: JobStore, _raw: RawRedis, _job_id: str) -> None:
    error = JobError(type="Timeout", message="slow")
    for _ in range(3):
        held = await the_claim(store)
        await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=0, refund=False, error=error))


async def _be_late(store: JobStore, raw: RawRedis, job_id: str) -> None:
    await make_overdue(raw, job_id)
    await store.maintenance.promote()


async def _be_late_at_the_claim(store: JobStore, raw: RawRedis, job_id: str) -> None:
    await raw("HSET", KEYS.job(job_id), "deadline", 1)
    assert await claim(store) == []


async def _lose(store: JobStore, raw: RawRedis, job_id: str) -> None:
    held = await the_claim(store)
    await raw("HSET", KEYS.job(job_id), "losses", 3)
    await lose(store, raw, held)


async def _cancel_and_lose(store: JobStore, raw: RawRedis, job_id: str) -> None:
    held = await the_claim(store)
    await store.cancel(job_id)
    await lose(store, raw, held)


async def _damage(store: JobStore, raw: RawRedis, job_id: str) -> None:
    held = await the_claim(store)
    await raw("DEL", KEYS.log(job_id))
    await raw("SET", KEYS.log(job_id), "no hash")
    await lose(store, raw, held)


async def _be_too_dear(store: JobStore, _raw: RawRedis, _job_id: str) -> None:
    await settle(store, "org", day_nano_usd=CALL // 2)
    assert await claim(store) == []


ENDINGS: dict[str, tuple[Ending, str]] = {
    "finish": (_complete, "completed"),
    "finish failed": (_fail, "failed"),
    "cancel a waiting one": (_cancel_waiting, "cancelled"),
    "cancel, then its worker's end": (_cancel_asked, "cancelled"),
    "cancel by force": (_cancel_by_force, "cancelled"),
    "attempts used up": (_use_up, "failed"),
    "deadline": (_be_late, "failed"),
    "deadline at the claim": (_be_late_at_the_claim, "failed"),
    "workers lost": (_lose, "failed"),
    "cancelled, then its worker lost": (_cancel_and_lose, "cancelled"),
    "damaged": (_damage, "failed"),
    "beyond the budget": (_be_too_dear, "failed"),
}
