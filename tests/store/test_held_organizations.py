"""Organisations that may start no job are checked in turn, however many there are."""

from __future__ import annotations

import asyncio

import pytest

from shared.store.job_store import JobStore
from tests.support.checks import RawRedis
from tests.support.store import KEYS, claim, settle, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)
NAMES = [f"capped-{number:02}" for number in range(100)]


@pytest.fixture
async def ids(store: JobStore) -> list[str]:
    """Jobs of a hundred organisations, each of which runs one and may not run the other."""
    await asyncio.gather(*(settle(store, name, running_jobs=1) for name in NAMES))
    jobs = [job_id for name in NAMES for job_id in await submit(store, 2, organization=name)]
    assert len(await claim(store, 150)) == 100
    return jobs


async def _scores(raw: RawRedis) -> dict[str, float]:
    flat = await raw("ZRANGE", KEYS.fixed("held_organizations"), 0, -1, "WITHSCORES")
    return {member.decode(): float(score) for member, score in zip(flat[::2], flat[1::2], strict=True)}


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
async def test_the_last_of_a_hundred_gets_its_check(
    store: JobStore, raw: RawRedis, ids: list[str], *, busy: bool
) -> None:
    """A hundred wait at their caps, and the last may run again, which nothing but a check finds out. The others go
    behind it once they were checked, even if they submit more."""
    await raw("HSET", KEYS.fixed("policies"), NAMES[-1], "running=2")
    assert (await store.maintenance.promote()).next_ms == 0
    assert await claim(store, 150) == []
    if busy:
        for name in NAMES[:-1]:
            await submit(store, organization=name)
    await store.maintenance.promote()
    assert [held.job_id for held in await claim(store, 150)] == [ids[-1]]


async def test_one_that_fails_is_checked_again(store: JobStore, raw: RawRedis, ids: list[str]) -> None:
    """Its backlog cannot be read: it goes behind the others, and is let in by the first check after the repair."""
    backlog, held = KEYS.prefix("backlog") + NAMES[0], KEYS.fixed("held_organizations")
    await raw("HSET", KEYS.fixed("policies"), NAMES[0], "running=2")
    await raw("RENAME", backlog, backlog + ":kept")
    await raw("SET", backlog, "no sorted set")
    await store.maintenance.promote()
    assert (await _scores(raw))[NAMES[0]] > 1
    await raw("RENAME", backlog + ":kept", backlog)
    await raw("ZADD", held, 1, NAMES[0])
    await store.maintenance.promote()
    assert [one.job_id for one in await claim(store, 150)] == [ids[1]]


async def test_a_check_in_vain_is_repeated_a_lease_later(store: JobStore, raw: RawRedis, ids: list[str]) -> None:
    """Those at their caps once a lease; a paused one is not checked, and runs when it goes on."""
    await settle(store, NAMES[0], paused=1)
    await store.maintenance.promote()
    await store.maintenance.promote()
    now = int((await raw("TIME"))[0]) * 1000
    scores = await _scores(raw)
    assert scores.pop(NAMES[0]) == float("inf")
    assert len(scores) == 99
    assert min(scores.values()) > now
    await settle(store, NAMES[0], paused=None, running_jobs=None)
    assert [held.job_id for held in await claim(store, 150)] == [ids[1]]
