"""The line of suspects: of each organisation as many as its weight, so that none keeps another's waiting."""

from __future__ import annotations

from collections import Counter

import pytest

from shared.job import JobStatus
from shared.store.job_store import JobStore
from tests.support.breaches import breaches
from tests.support.checks import RawRedis, leaks
from tests.support.organization_counts import miscounted
from tests.support.store import KEYS, claim, complete, error_of, lose, make_overdue, settle, status_of, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)
BACKLOG = KEYS.prefix("suspect_backlog")
PLACED = KEYS.fixed("placed_suspects")


async def _suspects(store: JobStore, raw: RawRedis, count: int, organization: str = "a") -> list[str]:
    """Jobs that lost two workers."""
    ids = await submit(store, count, organization=organization)
    held = list(await claim(store, count, "lost", poll=False))
    while len(held) < count:
        held += await claim(store, count - len(held), "lost", poll=False)
    for job_id in ids:
        await raw("HSET", KEYS.job(job_id), "losses", 1)
    await store.renew("finder", [])  # it knows the server's clock from here on
    for first in range(0, count, 50):
        await lose(store, raw, *held[first : first + 50])
    return ids


async def _organizations(store: JobStore, limit: int, consumer: str = "w1") -> list[str]:
    """Of the suspects that one worker may start now."""
    held = await claim(store, limit, consumer, suspect=6)
    assert all(one.suspect for one in held)
    return [one.spec.organization_id for one in held]


@pytest.mark.parametrize(("weight", "placed"), [(None, 1), (3, 3)])
async def test_an_organisation_has_its_weight_in_the_line(
    store: JobStore, raw: RawRedis, weight: int | None, placed: int
) -> None:
    """The others wait in its backlog; every count is right, and all of them run, few at a time."""
    await settle(store, "a", weight=weight)
    ids = await _suspects(store, raw, 20)
    assert (await raw("XLEN", KEYS.fixed("suspect")), await raw("ZCARD", BACKLOG + "a")) == (placed, 20 - placed)
    assert (await store.queries.stats()).queued == 20
    assert await breaches(store, raw, ids) == []
    assert await miscounted(raw, ids) == []

    order = list[str]()
    while len(order) < 20:
        held = await claim(store, 50, "w1", suspect=6)
        assert 1 <= len(held) <= 6
        order += [one.job_id for one in held]
        for one in held:
            await complete(store, one)
    assert sorted(order) == sorted(ids)
    assert await raw("EXISTS", PLACED, BACKLOG + "a") == 0
    assert await miscounted(raw, ids) == []
    await raw("DEL", KEYS.settings("a"))
    assert await leaks(store.settings.redis_url) == []


async def test_anothers_suspect_does_not_wait_behind_a_flood(store: JobStore, raw: RawRedis) -> None:
    """One has two hundred of them: the only one of another is among the next two that start."""
    await _suspects(store, raw, 200)
    await _suspects(store, raw, 1, "b")
    assert "b" in await _organizations(store, 2, "w1") + await _organizations(store, 2, "w2")


async def test_weights_divide_their_starts(store: JobStore, raw: RawRedis) -> None:
    """Of two organisations with many of them, one of weight 3 starts three times as many."""
    await settle(store, "b", weight=3)
    await _suspects(store, raw, 60)
    await _suspects(store, raw, 60, "b")
    starts = Counter[str]()
    for worker in range(8):
        starts.update(await _organizations(store, 50, f"w{worker}"))
    assert (starts["a"], starts["b"]) == (12, 36)


async def test_those_in_the_backlog_end_like_any_other(store: JobStore, raw: RawRedis) -> None:
    """By a cancel or at their deadline, in the line too: then the next one comes in."""
    ids = await _suspects(store, raw, 5)
    (in_line,) = [job for job in ids if (await raw("HGET", KEYS.job(job), "entry")).startswith(b"s")]
    cancelled, overdue, *rest = [job for job in ids if job != in_line]
    await store.cancel(cancelled)
    assert await status_of(store, cancelled) is JobStatus.CANCELLED
    await make_overdue(raw, overdue)
    await store.maintenance.promote()
    assert await error_of(store, overdue) == "DeadlineExceeded"
    assert await breaches(store, raw, ids) == []
    await store.cancel(in_line)
    held = await claim(store, 50, suspect=6)
    assert sorted(one.job_id for one in held) == sorted(rest)
    assert await breaches(store, raw, ids) == []
    assert await miscounted(raw, ids) == []


@pytest.mark.parametrize("lost", ["count", "entries", "too many"])
async def test_the_audit_finds_those_that_were_forgotten(store: JobStore, raw: RawRedis, lost: str) -> None:
    """A wrong count, or a backlog without an entry in the line."""
    ids = await _suspects(store, raw, 4)
    if lost == "count":
        await raw("HDEL", PLACED, "a")
    elif lost == "too many":
        await raw("HSET", PLACED, "a", 7)
    else:
        (entry,) = await raw("XRANGE", KEYS.fixed("suspect"), "-", "+")
        await raw("XDEL", KEYS.fixed("suspect"), entry[0])
    await store.maintenance.audit("auditor")
    assert await raw("HGET", PLACED, "a") == b"1"
    assert await breaches(store, raw, ids) == []
    assert await miscounted(raw, ids) == []
    assert len(await claim(store, 50, suspect=6)) == 4


async def test_suspects_of_the_release_before_are_served(store: JobStore, raw: RawRedis) -> None:
    """The line has those of one organisation uncounted: they run, and later ones wait their turn."""
    ids = await _suspects(store, raw, 4)
    for job_id in [job for job in ids if await raw("HGET", KEYS.job(job), "entry") == b"bs"]:
        entry = await raw("XADD", KEYS.fixed("suspect"), "*", "j", job_id, "o", "a")
        await raw("HSET", KEYS.job(job_id), "entry", b"s" + entry)
    await raw("DEL", BACKLOG + "a", PLACED)
    assert len(await claim(store, 50, suspect=6)) == 4
    assert await raw("EXISTS", PLACED) == 0
    assert await breaches(store, raw, ids) == []


async def test_a_backlog_forgets_a_suspect_that_an_older_release_ended(store: JobStore, raw: RawRedis) -> None:
    """It did not know this place, and left the job's id there."""
    ids = await _suspects(store, raw, 3)
    (first,) = await raw("ZRANGE", BACKLOG + "a", 0, 0)
    score = await raw("ZSCORE", BACKLOG + "a", first)
    await store.cancel(first.decode())
    await raw("ZADD", BACKLOG + "a", score, first)
    assert len(await claim(store, 50, suspect=6)) == 2
    assert await status_of(store, first.decode()) is JobStatus.CANCELLED
    assert await breaches(store, raw, ids) == []
