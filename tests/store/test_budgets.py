"""Budgets: jobs start for as long as there is room, and the others wait."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.errors import BudgetExceeded
from shared.job import JobStatus
from shared.store.job_store import JobStore
from tests.support.budgets import CALL, Sums, budgeted_store, end, today_of
from tests.support.checks import RawRedis
from tests.support.gates import B
from tests.support.store import (
    KEYS,
    all_delayed,
    claim,
    error_of,
    make_due,
    make_overdue,
    make_stale,
    settle,
    status_of,
    submit,
)

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """See `budgeted_store`."""
    async with budgeted_store(url) as opened:
        yield opened


async def test_a_claim_reserves_the_bound_and_an_end_leaves_the_cost(store: JobStore, raw: RawRedis) -> None:
    """While the job runs the bound counts, then its cost; the month has the same."""
    await submit(store)
    (held,) = await claim(store)
    assert (held.bound, held.budgeted) == (CALL, True)
    assert await today_of(raw) == Sums(0, CALL)
    await end(store, held, 12_345)
    assert await today_of(raw) == Sums(12_345, 0)


async def test_an_organisation_without_a_budget_keeps_no_sums(store: JobStore, raw: RawRedis) -> None:
    """No key, no reservation, no bound, also for one that has other settings."""
    await settle(store, "other", weight=2)
    await submit(store, organization="other")
    (held,) = await claim(store)
    assert (held.bound, held.budgeted) == (None, False)
    await end(store, held, 5)
    assert await raw("EXISTS", KEYS.prefix("budget") + "other") == 0
    assert await raw("HEXISTS", KEYS.job(held.job_id), "reserved") == 0


async def test_jobs_start_for_as_long_as_there_is_room(store: JobStore, raw: RawRedis) -> None:
    """Ten bounds fit; the others wait in the backlog, and each end that frees enough lets one more in."""
    ids = await submit(store, 15)
    held = await claim(store, 50)
    assert len(held) == 10
    assert await claim(store, 50) == []
    assert await today_of(raw) == Sums(0, 10 * CALL)
    await end(store, held[0], CALL // 2)
    assert await claim(store, 50) == []
    await end(store, held[1], CALL // 2)
    (more,) = await claim(store, 50)
    assert await today_of(raw) == Sums(CALL, 9 * CALL)
    for one in (*held[2:], more):
        await end(store, one, CALL)
    assert await today_of(raw) == Sums(10 * CALL, 0)
    assert await claim(store, 50) == []
    assert {await status_of(store, job_id) for job_id in ids} == {JobStatus.COMPLETED, JobStatus.QUEUED}


async def test_others_run_while_one_organisation_waits_for_its_budget(store: JobStore) -> None:
    """No slot stays free, and no claim goes round in circles."""
    await submit(store, 30)
    await submit(store, 5, organization="other")
    held = await claim(store, 50)
    assert sum(one.spec.organization_id == "other" for one in held) == 5
    assert len(held) == 15


async def test_a_raised_budget_lets_in(store: JobStore) -> None:
    """At once, by the change itself; so does taking it away."""
    await submit(store, 30)
    assert len(await claim(store, 50)) == 10
    await settle(store, "org", day_nano_usd=12 * CALL)
    assert len(await claim(store, 50)) == 2
    await settle(store, "org", day_nano_usd=None)
    assert len(await claim(store, 50)) == 18


async def test_a_budget_of_nothing_starts_nothing(store: JobStore) -> None:
    """Jobs that were taken before wait until it is raised; new ones are refused."""
    (job_id,) = await submit(store)
    await settle(store, "org", day_nano_usd=0)
    assert await claim(store) == []
    assert await status_of(store, job_id) is JobStatus.QUEUED
    with pytest.raises(BudgetExceeded):
        await submit(store)
    await settle(store, "org", day_nano_usd=CALL)
    assert len(await claim(store)) == 1


async def test_a_cheaper_job_with_priority_does_not_wait_for_a_dear_one(store: JobStore) -> None:
    """The next promotion lets it try."""
    await submit(store, 9, max_tokens=100)
    running = await claim(store, 50)
    await settle(store, "org", day_nano_usd=CALL * 19 // 2)
    await submit(store, max_tokens=100)
    assert await claim(store) == []
    await submit(store, 1, "high", max_tokens=10)
    await store.maintenance.promote()
    (cheap,) = await claim(store)
    assert (len(running), cheap.bound) == (9, CALL // 10)


async def test_a_cancelled_job_keeps_nobody_waiting(store: JobStore) -> None:
    """The job that found no room goes; one behind it that costs less is let in."""
    await submit(store, 9, max_tokens=100)
    assert len(await claim(store, 50)) == 9
    await settle(store, "org", day_nano_usd=CALL * 19 // 2)
    (dear,) = await submit(store, max_tokens=100)
    assert await claim(store) == []
    await submit(store, max_tokens=10)
    await store.maintenance.promote()
    assert await claim(store) == []
    await store.cancel(dear)
    await store.maintenance.promote()
    assert len(await claim(store)) == 1


async def test_a_waiting_job_meets_its_deadline(store: JobStore, raw: RawRedis) -> None:
    """Held jobs end as all others do."""
    await submit(store, 10)
    await claim(store, 50)
    (job_id,) = await submit(store, deadline_ms=60_000)
    assert await claim(store) == []
    await make_overdue(raw, job_id)
    await store.maintenance.promote()
    assert await error_of(store, job_id) == "DeadlineExceeded"


async def test_a_submit_is_refused_once_the_budget_is_spent(store: JobStore) -> None:
    """Reservations do not count; the refusal names the period and the time until the next one."""
    await submit(store, 10)
    held = await claim(store, 50)
    await submit(store)
    for one in held:
        await end(store, one, CALL)
    with pytest.raises(BudgetExceeded) as refused:
        await submit(store)
    assert refused.value.period == "day"
    assert 0 < refused.value.retry_after_s <= 86_400


async def test_a_job_that_no_period_allows_is_refused(store: JobStore) -> None:
    """By the least bound of its chain, once workers have published the prices. Until then its claim ends it."""
    await settle(store, "org", day_nano_usd=CALL // 2)
    (job_id,) = await submit(store)
    assert await claim(store) == []
    assert await error_of(store, job_id) == "BudgetExceeded"
    await store.maintenance.publish_bounds()
    with pytest.raises(BudgetExceeded) as refused:
        await submit(store)
    assert refused.value.period == "job"
    await submit(store, max_tokens=50)
    with pytest.raises(BudgetExceeded):
        await submit(store, max_tokens=50, route=(B,))


async def test_a_lost_answer_to_a_claim_reserves_once(store: JobStore, raw: RawRedis) -> None:
    """The repeated claim answers the same bound."""
    await submit(store)
    (held,) = await claim(store)
    (again,) = await claim(store, known=[])
    assert (again.token, again.bound, again.budgeted) == (held.token, CALL, True)
    assert await today_of(raw) == Sums(0, CALL)


async def test_a_killed_worker_leaves_no_reservation(store: JobStore, raw: RawRedis) -> None:
    """All that it held is settled by the recovery."""
    await submit(store, 5)
    held = await claim(store, 50, "killed")
    await make_stale(raw, *held)
    await store.maintenance.recover("finder", [])
    assert await today_of(raw) == Sums(0, 0)


async def test_a_held_suspect_keeps_no_worker_busy(store: JobStore, raw: RawRedis) -> None:
    """One that lost two workers, or three, is not delivered again and again while its organisation is held."""
    await submit(store, 2)
    for held in await claim(store, 2):
        await raw("HSET", KEYS.job(held.job_id), "losses", 1 + int(held.token[-1]) % 2)
        await make_stale(raw, held)
    await store.maintenance.recover("finder", [])
    await settle(store, "org", day_nano_usd=0)
    assert [await claim(store, consumer=f"w{n}", alone=True) for n in range(4)] == [[]] * 4
    assert await raw("XLEN", KEYS.fixed("suspect")) + await raw("XLEN", KEYS.fixed("isolated")) == 0
    await raw("DEL", KEYS.fixed("wake"))
    await claim(store)
    assert await raw("EXISTS", KEYS.fixed("wake")) == 0
    await settle(store, "org", day_nano_usd=10 * CALL)
    await make_due(raw, *await all_delayed(raw))
    await store.maintenance.promote()
    assert sum([len(await claim(store, consumer=f"v{n}")) for n in range(4)]) == 2
