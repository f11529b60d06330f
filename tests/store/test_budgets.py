"""Budgets: jobs start for as long as there is room, and the others wait."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.errors import BudgetExceeded
from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from tests.support.budgets import CALL, Sums, end, priced, requeue, sums_of, today_of
from tests.support.checks import RawRedis
from tests.support.gates import A, B
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
    """A worker with two priced gates, the second dearer, and an organisation that may spend ten calls of the first."""
    settings = StoreSettings(redis_url=url, lease_seconds=2.0)
    async with open_store(settings, client_name="t", routing=priced(A, B)) as opened:
        await settle(opened, "org", day_nano_usd=10 * CALL)
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


async def _next_day(raw: RawRedis, organization: str = "org") -> None:
    """Let the present day and month be over."""
    key = KEYS.prefix("budget") + organization
    for name, sums in (await sums_of(raw, organization)).items():
        before = f"d{int(name[1:]) - 1}" if name[0] == "d" else "m197001"
        await raw("HDEL", key, name)
        await raw("HSET", key, before, f"{sums.spent} {sums.reserved}")
    held = KEYS.fixed("held_organizations")
    for member in await raw("ZRANGE", held, 0, -1):
        await raw("ZADD", held, 1, member)


async def test_a_new_period_lets_in(store: JobStore, raw: RawRedis) -> None:
    """The next promotion after its begin does."""
    await submit(store, 11)
    for one in await claim(store, 50):
        await end(store, one, CALL)
    await store.maintenance.promote()
    assert await claim(store) == []
    await _next_day(raw)
    await store.maintenance.promote()
    assert len(await claim(store)) == 1
    found = await sums_of(raw)
    assert sorted(sums for name, sums in found.items() if name[0] == "d") == [Sums(0, CALL), Sums(10 * CALL, 0)]


async def test_the_organisation_is_looked_at_when_its_period_ends(store: JobStore, raw: RawRedis) -> None:
    """A day's budget at midnight, in UTC, a month's at that of its first day; until then nobody asks again."""
    await submit(store, 11)
    await claim(store, 50)
    held, now = KEYS.fixed("held_organizations"), int((await raw("TIME"))[0])
    at = int(await raw("ZSCORE", held, "org"))
    assert at == (now // 86_400 + 1) * 86_400_000
    await settle(store, "org", day_nano_usd=None, month_nano_usd=10 * CALL)
    assert await claim(store) == []
    in_a_month = int(await raw("ZSCORE", held, "org"))
    assert at <= in_a_month <= at + 31 * 86_400_000


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


async def test_a_budget_begins_with_what_was_spent_before(store: JobStore, raw: RawRedis) -> None:
    """From the sums of usage and from the ledger's tail; then jobs that ran when it was set are added at their end, and
    those that waited for a retry at their next claim."""
    await submit(store, 3, organization="a")
    ended, running, retried = await claim(store, 50)
    await end(store, ended, 111)
    await requeue(store, retried, 5)
    await settle(store, "a", month_nano_usd=10 * CALL)
    assert await today_of(raw, "a") == Sums(111, 0)
    (again,) = await claim(store)
    assert await today_of(raw, "a") == Sums(116, CALL)
    await end(store, again, 25)
    await end(store, running, 1000)
    for _ in range(300):
        await submit(store, organization="b")
        await end(store, (await claim(store))[0], 1)
    assert await today_of(raw, "a") == Sums(111 + 25 + 1000, 0)


async def test_a_lost_answer_to_a_claim_reserves_once(store: JobStore, raw: RawRedis) -> None:
    """The repeated claim answers the same bound."""
    await submit(store)
    (held,) = await claim(store)
    (again,) = await claim(store, known=[])
    assert (again.token, again.bound, again.budgeted) == (held.token, CALL, True)
    assert await today_of(raw) == Sums(0, CALL)


async def test_levels_are_noted_once_a_period(store: JobStore) -> None:
    """At 80 and at 100 % of each budget; the audit trail has an entry of each."""
    await submit(store, 10)
    found = []
    for one in await claim(store, 50):
        await end(store, one, CALL)
        found += [(note.period, note.percent) for note in await store.maintenance.watch_budgets()]
    assert found == [("day", 80), ("day", 100)]
    page = await store.audit_trail.page("org", every=False, cursor=None, limit=10)
    reached = [entry.entry.d for entry in page.entries if entry.entry.a == "budget.reached"]
    assert [(details["period"], details["percent"]) for details in reached] == [("day", 100), ("day", 80)]


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
