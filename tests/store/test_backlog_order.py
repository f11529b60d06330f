"""The order within a backlog: priority, then age, whatever came back or fell due."""

from __future__ import annotations

import pytest

from shared.job import RetryReason
from shared.store.job_store import JobStore
from shared.store.transitions import Requeue
from tests.support.checks import RawRedis
from tests.support.slots import Slots
from tests.support.store import ERROR, KEYS, claim, claim_one, complete, lose, make_due, settle, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.mark.parametrize("weight", [1, 3])
async def test_a_high_job_is_among_the_next_of_its_organisation(store: JobStore, weight: int) -> None:
    """Behind 300 low ones and with as many entries in the line as its weight; others wait too (I8)."""
    await settle(store, "a", weight=weight)
    await submit(store, 300, "low", organization="a")
    await submit(store, 100, organization="b")
    slots = Slots(store, 1)
    await slots.fill()
    for _ in range(10):
        (high,) = await submit(store, 1, "high", organization="a")
        mine: list[str] = []
        while len(mine) <= weight:
            await complete(store, slots.running.popleft())
            await slots.fill()
            if slots.running[0].spec.organization_id == "a":
                mine.append(slots.running[0].job_id)
        assert high in mine


async def test_what_comes_back_keeps_its_age(store: JobStore, raw: RawRedis) -> None:
    """A delayed, a retried and a lost job of an organisation go before 100 that came after them."""
    delayed = (await submit(store, 1, delay_ms=60_000))[0]
    retried, lost = await claim_one(store), await claim_one(store)
    await submit(store, 100)
    await store.requeue(Requeue(retried, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR))
    await make_due(raw, delayed)
    await store.maintenance.promote()
    await lose(store, raw, lost)
    assert {delayed, retried.job_id, lost.job_id} < {held.job_id for held in await claim(store, 4)}


async def test_due_jobs_come_in_one_of_each_organisation(store: JobStore, raw: RawRedis) -> None:
    """A hundred of one are due before those of others: one call lets some of each in."""
    many = await submit(store, 100, organization="many", delay_ms=60_000)
    few = [(await submit(store, 1, organization=f"few-{n}", delay_ms=60_000))[0] for n in range(5)]
    await make_due(raw, *many, *few)
    assert (await store.maintenance.promote()).promoted == 64
    assert {await raw("HGET", KEYS.job(job_id), "entry") != b"d" for job_id in few} == {True}
