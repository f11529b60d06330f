"""Budgets: periods begin and end, and what was spent in them is known."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.store.job_store import JobStore
from tests.support.budgets import CALL, Sums, budgeted_store, end, requeue, sums_of, today_of
from tests.support.checks import RawRedis
from tests.support.store import (
    KEYS,
    claim,
    settle,
    submit,
)

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """See `budgeted_store`."""
    async with budgeted_store(url) as opened:
        yield opened


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
