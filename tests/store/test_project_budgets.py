"""Budgets of single projects: their jobs wait for themselves, and the other projects go on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from shared.errors import BudgetExceeded, LeaseLost, TooManyProjectBudgets
from shared.job import Claim
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.organizations import ProjectBudget, ProjectSpending
from shared.store.results import CallReport, WaitReason
from shared.store.transitions import Reroute
from tests.support.budgets import CALL, audit_budgets, end, priced, requeue, used
from tests.support.checks import RawRedis
from tests.support.gates import A, B
from tests.support.store import KEYS, claim, error_of, make_overdue, make_stale, settle, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)

BUDGET = KEYS.prefix("budget") + "org"


async def allow(store: JobStore, project: str, calls: float | None, period: str = "day") -> None:
    """Settle what a project may spend, in calls at gate A."""
    await settle(store, "org", **{f"{period}_nano_usd@{project}": None if calls is None else round(calls * CALL)})


async def spending(store: JobStore, project: str = "p") -> ProjectSpending:
    """The sums of a project, as operators see them."""
    return (await store.organizations.stats("org")).projects[project]


def spent(nano: int, reserved: int) -> ProjectSpending:
    """The same amount this month and today."""
    return ProjectSpending(spent_month=nano, spent_day=nano, reserved=reserved)


def projects_of(held: list[Claim]) -> list[str]:
    """The projects of these jobs, in alphabetical order."""
    return sorted(one.spec.project_id for one in held)


async def look(store: JobStore, raw: RawRedis) -> None:
    """Let a minute pass: projects that wait are looked at."""
    held = KEYS.fixed("held_organizations")
    for member in await raw("ZRANGE", held, 0, -1):
        await raw("ZADD", held, 1, member)
    await store.maintenance.promote()


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """A worker with two priced gates, and an organisation whose project `p` may spend three calls of the first."""
    settings = StoreSettings(redis_url=url, lease_seconds=2.0)
    async with open_store(settings, client_name="t", routing=priced(A, B)) as opened:
        await allow(opened, "p", 3)
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


async def test_other_projects_go_on_while_one_waits(store: JobStore) -> None:
    """However many jobs of the project that has spent its budget are before theirs."""
    await submit(store, 99)
    (last,) = await submit(store)
    await submit(store, 5, project_id="q")
    held: list[Claim] = []
    for _ in range(20):
        held += await claim(store, 50)
    assert projects_of(held) == ["p"] * 3 + ["q"] * 5
    told = await store.queries.waiting(last)
    assert told is not None
    assert (told.reason, told.ahead) == (WaitReason.BUDGET, 96)
    counts = await store.organizations.stats("org")
    assert (counts.queued, counts.processing) == (97, 8)


async def test_an_end_lets_in_as_many_as_there_is_room_for(store: JobStore) -> None:
    """In their order, and no more than the budget has."""
    ids = [(await submit(store))[0] for _ in range(8)]
    held = await claim(store)
    assert [one.job_id for one in held] == ids[:3]
    assert await claim(store) == []
    await end(store, held[0], CALL // 2)
    assert await claim(store) == []
    await end(store, held[1], 0)
    (more,) = await claim(store)
    assert more.job_id == ids[3]
    await end(store, more, 0)
    await end(store, held[2], 0)
    assert [one.job_id for one in await claim(store)] == ids[4:6]
    assert (await spending(store)).reserved == 2 * CALL


async def test_high_jobs_of_a_project_go_first_when_there_is_room(store: JobStore) -> None:
    """Withheld jobs keep their priority."""
    await submit(store, 5)
    held = await claim(store)
    (first,) = await submit(store, 1, "high")
    assert await claim(store) == []
    await end(store, held[0], 0)
    assert [one.job_id for one in await claim(store)] == [first]


async def test_a_raised_budget_lets_in_and_taking_it_away_lets_all_in(store: JobStore, raw: RawRedis) -> None:
    """At once, more than a step by looks; then nothing is left of the project's budget."""
    await submit(store, 100)
    assert len(await claim(store)) == 3
    for _ in range(5):
        assert await claim(store) == []
    await allow(store, "p", 6)
    held = [one for _ in range(3) for one in await claim(store)]
    assert len(held) == 3
    await allow(store, "p", None)
    for _ in range(4):
        held += await claim(store)
        await look(store, raw)
    assert len(held) == 97
    await settle(store, "org", weight=1)
    assert (await store.organizations.read("org")).projects == {}
    assert not [name for name in await raw("HKEYS", KEYS.settings("org")) if b"@" in name]


async def test_a_new_period_lets_in(store: JobStore, raw: RawRedis) -> None:
    """The look after its begin does."""
    await submit(store, 6)
    for one in await claim(store):
        await end(store, one, CALL)
    await look(store, raw)
    assert await claim(store) == []
    for name in await raw("HKEYS", BUDGET):
        period = name.decode()
        if found := re.match(r"[dm]\d+", period):
            before = "d1" if period[0] == "d" else "m197001"
            await raw("HSET", BUDGET, before + period[found.end() :], await raw("HGET", BUDGET, name))
            await raw("HDEL", BUDGET, name)
    await look(store, raw)
    assert len([one for _ in range(3) for one in await claim(store)]) == 3
    assert await spending(store) == spent(0, 3 * CALL)


async def test_both_budgets_must_have_room(store: JobStore) -> None:
    """An organisation without room holds all of its projects."""
    await settle(store, "org", day_nano_usd=4 * CALL)
    await submit(store, 5)
    await submit(store, 5, project_id="q")
    held = [one for _ in range(5) for one in await claim(store)]
    assert projects_of(held) == ["p"] * 3 + ["q"]
    await settle(store, "org", day_nano_usd=None)
    assert projects_of([one for _ in range(5) for one in await claim(store)]) == ["q"] * 4


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


async def test_a_submit_names_the_budget_that_refuses_it(store: JobStore) -> None:
    """When the project's is spent, or the job alone cannot fit; other projects are taken."""
    await store.maintenance.publish_bounds()
    await allow(store, "p", 2)
    with pytest.raises(BudgetExceeded) as refused:
        await submit(store, route=(B,))
    assert (refused.value.period, refused.value.project_id) == ("job", "p")
    await submit(store, 2)
    for one in await claim(store):
        await end(store, one, CALL)
    with pytest.raises(BudgetExceeded) as refused:
        await submit(store)
    assert (refused.value.period, refused.value.project_id) == ("day", "p")
    assert 0 < refused.value.retry_after_s <= 86_400
    await submit(store, project_id="q")
    assert len(await claim(store)) == 1


@pytest.mark.parametrize("project", ['a"b', "a\\b", "a@b=1", "d20000"])
async def test_any_project_id_may_have_a_budget(store: JobStore, project: str) -> None:
    """Also one with the signs that its fields are made of."""
    await allow(store, project, 1)
    await submit(store, 2, project_id=project)
    (held,) = await claim(store)
    assert (await store.organizations.read("org")).projects[project] == ProjectBudget(day_nano_usd=CALL)
    assert await spending(store, project) == spent(0, CALL)
    await end(store, held, 5)
    assert await spending(store, project) == spent(5, 0)


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


async def test_a_withheld_job_meets_its_deadline_and_may_be_cancelled(store: JobStore, raw: RawRedis) -> None:
    """Then the next look lets the jobs behind it try."""
    await submit(store, 3)
    held = await claim(store)
    overdue, cancelled, after = await submit(store, 3)
    assert await claim(store) == []
    await make_overdue(raw, overdue)
    await raw("ZADD", KEYS.fixed("backlogs"), "XX", 1, "org")
    await store.maintenance.promote()
    assert await error_of(store, overdue) == "DeadlineExceeded"
    await store.cancel(cancelled)
    assert (await store.organizations.stats("org")).queued == 1
    await end(store, held[0], 0)
    assert [one.job_id for one in await claim(store)] == [after]


async def test_a_budget_begins_with_what_the_project_spent_before(store: JobStore) -> None:
    """By its own usage alone; jobs that ran when it was set are added at their end."""
    await submit(store, 3, project_id="q")
    await submit(store, project_id="r")
    ran, runs, other, _ = await claim(store)
    await end(store, ran, 50)
    await end(store, other, 7)
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


async def test_a_hundred_projects_may_have_budgets(store: JobStore, raw: RawRedis) -> None:
    """One more is refused, and nothing of that change is written."""
    await settle(store, "org", **{f"day_nano_usd@p{i}": CALL for i in range(99)})
    with pytest.raises(TooManyProjectBudgets):
        await settle(store, "org", **{"day_nano_usd@more": 1, "weight": 5})
    settings = await store.organizations.read("org")
    assert (len(settings.projects), settings.weight) == (100, None)
    await settle(store, "org", **{"day_nano_usd@more": 1, "day_nano_usd@p7": None})
    numbers = [
        value for name, value in _pairs(await raw("HGETALL", KEYS.settings("org"))) if name.startswith(b"number@")
    ]
    assert sorted(map(int, numbers)) == list(range(1, 101))


def _pairs(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


async def test_jobs_behind_a_full_project_are_told_apart_from_claimable_ones(store: JobStore) -> None:
    """The fleet's numbers count them as held, so that nobody adds workers for them."""
    await submit(store, 10)
    for _ in range(3):
        await claim(store)
    stats = await store.queries.stats()
    assert (stats.processing, stats.queued - stats.held) == (3, 0)


async def test_nothing_of_a_waiting_project_is_left_of_an_erased_organisation(store: JobStore, raw: RawRedis) -> None:
    """Neither the budget nor the place where the organisation is looked at."""
    await submit(store, 5)
    await claim(store)
    held = KEYS.fixed("held_organizations")
    assert await raw("ZRANGE", held, 0, -1) == [b"org *"]
    await store.erasure.erase_entries("org")
    assert await raw("ZRANGE", held, 0, -1) == []
