"""Budgets of single projects: their jobs wait for themselves, and the other projects go on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from shared.errors import BudgetExceeded, TooManyProjectBudgets
from shared.job import Claim
from shared.store.job_store import JobStore
from shared.store.organizations import ProjectBudget
from shared.store.results import WaitReason
from tests.support.budgets import CALL, end
from tests.support.checks import RawRedis
from tests.support.gates import B
from tests.support.project_budgets import BUDGET, allow, look, project_store, projects_of, spending, spent
from tests.support.store import KEYS, claim, error_of, make_overdue, settle, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """A worker with two priced gates, and an organisation whose project `p` may spend three calls of the first."""
    async with project_store(url) as opened:
        yield opened


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


async def test_a_cheap_job_waits_behind_a_dear_one_of_its_project(store: JobStore, raw: RawRedis) -> None:
    """Although there is room for it: once the dear one is gone, the next look lets it in."""
    await submit(store, 3)
    held = await claim(store)
    await end(store, held[0], CALL // 2)
    (dear,) = await submit(store)
    assert await claim(store) == []
    await asyncio.sleep(0.002)  # those of one ms are equals
    (cheap,) = await submit(store, max_tokens=40)
    assert await claim(store) == []

    await store.cancel(dear)
    await look(store, raw)
    assert [one.job_id for one in await claim(store)] == [cheap]


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
