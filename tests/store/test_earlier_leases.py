"""A claim names the lease that its job had before, so that a trace can name the attempt before."""

from __future__ import annotations

import pytest

from shared.job import RetryReason
from shared.past_lease import PastLease
from shared.store.job_store import JobStore
from shared.store.transitions import Requeue
from tests.support.checks import RawRedis
from tests.support.store import ERROR, KEYS, claim, claim_one, lose


async def test_a_first_claim_has_no_lease_before(store: JobStore) -> None:
    """Nor has its log events of one."""
    held = await claim_one(store)
    assert (held.before, held.logged) == (None, False)


async def test_a_claim_names_the_last_lease_and_why_it_ended(store: JobStore, raw: RawRedis) -> None:
    """After a failed attempt, after a drain, which gives the attempt back, and after a lost worker."""
    first = await claim_one(store)
    await store.requeue(Requeue(first, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR))
    (second,) = await claim(store)
    await store.requeue(Requeue(second, RetryReason.DRAIN, delay_ms=0, refund=True))
    (third,) = await claim(store)
    await lose(store, raw, third)
    (fourth,) = await claim(store)

    found = [held.before for held in (second, third, fourth)]
    assert found == [
        PastLease(first.token, "error", 1, first.started_ms, 2),
        PastLease(second.token, "drain", 2, second.started_ms, 2),
        PastLease(third.token, "worker_lost", 2, third.started_ms, 2),
    ]
    assert all(held.logged for held in (second, third, fourth))


@pytest.mark.parametrize("past", ["damaged", "q1-0 error x 1 2", ""])
async def test_a_job_whose_earlier_leases_cannot_be_read_runs(past: str, store: JobStore, raw: RawRedis) -> None:
    """They are of use to a trace, and of none to the attempt."""
    first = await claim_one(store)
    await store.requeue(Requeue(first, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR))
    await raw("HSET", KEYS.job(first.job_id), "past", past)
    (second,) = await claim(store)
    assert (second.job_id, second.before, second.logged) == (first.job_id, None, True)
