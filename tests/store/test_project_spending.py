"""Sums of a project with a budget: reserved, settled, corrected, and gone with its organisation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.errors import LeaseLost
from shared.store.job_store import JobStore
from shared.store.results import CallReport
from shared.store.transitions import Reroute
from tests.support.budgets import CALL, audit_budgets, end, requeue, used
from tests.support.checks import RawRedis
from tests.support.gates import A, B
from tests.support.project_budgets import BUDGET, allow, project_store, spending, spent
from tests.support.store import KEYS, claim, make_stale, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """A worker with two priced gates, and an organisation whose project `p` may spend three calls of the first."""
    async with project_store(url) as opened:
        yield opened


async def test_a_claim_reserves_for_the_project_too_and_an_end_settles(store: JobStore, raw: RawRedis) -> None:
    """Both keep the same account, also of an attempt that is retried; another project has none."""
    await submit(store)
    (held,) = await claim(store)
    assert (held.bound, held.budgeted, await spending(store)) == (CALL, True, spent(0, CALL))
    await requeue(store, held, 400)
    assert await spending(store) == spent(400, 0)
    (held,) = await claim(store)
    await end(store, held, 1000)
    assert await spending(store) == spent(1000, 0)
    await submit(store, project_id="q")
    await end(store, (await claim(store))[0], 7)
    assert await spending(store) == spent(1000, 0)
    assert (await store.organizations.stats("org")).spent_day == 1007
    assert {name.decode() for name in await raw("HKEYS", BUDGET) if b"@" in name} == {
        f"{name.decode()}@p" for name in await raw("HKEYS", BUDGET) if b"@" not in name
    }


async def test_a_hundred_jobs_at_once_never_pass_the_budget(store: JobStore) -> None:
    """Six workers claim and end at the same time; the sum of what is spent and reserved stays within it."""
    await allow(store, "p", 7.5)
    await submit(store, 100)
    counted: list[int] = []

    async def work(consumer: str) -> None:
        for _ in range(30):
            for one in await claim(store, 5, consumer):
                sums = await spending(store)
                counted.append(sums.spent_day + sums.reserved)
                await end(store, one, CALL // 2)

    await asyncio.gather(*(work(f"w{i}") for i in range(6)))
    while held := await claim(store):
        for one in held:
            await end(store, one, CALL // 2)
    assert max(counted) <= 7.5 * CALL
    # Fourteen halves are spent: for a whole call there is no more room.
    assert await spending(store) == spent(14 * CALL // 2, 0)


async def test_lost_workers_leave_no_reservation(store: JobStore, raw: RawRedis) -> None:
    """Nor does a forced end: the bound counts until the truth is known."""
    await submit(store, 2)
    lost, forced = await claim(store)
    await store.cancel(forced.job_id, force=True)
    assert await spending(store) == spent(CALL, CALL)
    with pytest.raises(LeaseLost):
        await end(store, forced, 30)
    assert await spending(store) == spent(30, CALL)
    await make_stale(raw, lost)
    await store.maintenance.recover("w2", [])
    await store.maintenance.recover("w2", [])
    assert await spending(store) == spent(30, 0)


async def test_a_budget_begins_with_what_the_project_spent_before(store: JobStore) -> None:
    """By its own usage alone; jobs that ran when it was set are added at their end."""
    await submit(store, 3, project_id="q")
    await submit(store, project_id="r")
    ran, runs, other, of_another_project = await claim(store)
    await end(store, ran, 50)
    await end(store, other, 7)
    await end(store, of_another_project, 1000)
    await allow(store, "q", 1)
    assert await spending(store, "q") == spent(57, 0)
    await end(store, runs, 600)
    assert await spending(store, "q") == spent(657, 0)


async def test_a_dearer_gate_raises_the_reservation_or_the_job_waits(store: JobStore) -> None:
    """As for the organisation: a call at B costs three times one at A."""
    await submit(store, 1)
    (held,) = await claim(store)
    again = Reroute(held, A, CallReport.FAILED, retry_after_ms=None, candidates=[B], spent=used(0))
    await allow(store, "p", 2)
    assert (await store.reroute(again)).state == "throttled"
    assert await spending(store) == spent(0, 0)


async def test_the_audit_corrects_the_sums_of_projects(store: JobStore, raw: RawRedis) -> None:
    """Also those that are gone."""
    await submit(store, 3)
    await submit(store, project_id="q")
    held = await claim(store)
    await end(store, held[0], 77)
    for name in await raw("HKEYS", BUDGET):
        if b"@" in name:
            await raw("HSET", BUDGET, name, "77 123456")
    assert await audit_budgets(store) == 1
    assert await spending(store) == spent(77, 2 * CALL)
    assert await audit_budgets(store) == 0


async def test_what_a_project_has_spent_is_noted_once(store: JobStore) -> None:
    """At 80 and at 100 %, with its name."""
    await submit(store, 3)
    held = await claim(store)
    for one, cost in zip(held, (CALL, CALL // 2, 3 * CALL // 2), strict=True):
        await end(store, one, cost)
    found = await store.maintenance.watch_budgets()
    assert {(note.organization_id, note.project_id, note.period, note.percent) for note in found} == {
        ("org", "p", "day", 100)
    }
    assert await store.maintenance.watch_budgets() == []


async def test_nothing_of_a_waiting_project_is_left_of_an_erased_organisation(store: JobStore, raw: RawRedis) -> None:
    """Neither the budget nor the place where the organisation is looked at."""
    await submit(store, 5)
    await claim(store)
    held = KEYS.fixed("held_organizations")
    assert await raw("ZRANGE", held, 0, -1) == [b"org *"]
    await store.erasure.erase_entries("org")
    assert await raw("ZRANGE", held, 0, -1) == []
