"""Calls that fail after some of their steps: what they ended before that is counted, once (I3)."""

from __future__ import annotations

import pytest

from shared.errors import StoreUnavailable
from shared.store.job_store import JobStore
from shared.store.keys import GROUP
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.organization_counts import miscounted
from tests.support.store import KEYS, claim, complete, lose, make_overdue, make_stale, submit


async def _suspect(store: JobStore, raw: RawRedis, losses: int) -> str:
    """A job that lost so many workers and waits."""
    (job_id,) = await submit(store)
    await store.renew("finder", [])
    for _ in range(losses):
        await lose(store, raw, *await claim(store, 1, "gone"))
    return job_id


async def _failed(store: JobStore) -> int:
    return (await store.queries.stats()).failed


async def test_a_claim_that_finds_no_group_has_counted_what_it_ended(store: JobStore, raw: RawRedis) -> None:
    """An overdue suspect ends before the line is read, whose group is lost: it counts, and the next job is claimed."""
    suspect = await _suspect(store, raw, losses=2)
    await raw("HSET", KEYS.job(suspect), "deadline", 1)
    (other,) = await submit(store)
    await raw("XGROUP", "DESTROY", KEYS.fixed("line"), GROUP)

    assert [held.job_id for held in await claim(store)] == [other]
    assert await _failed(store) == 1
    assert await breaches(store, raw, [suspect, other]) == []


async def test_a_recovery_that_finds_no_group_has_counted_what_it_ended(store: JobStore, raw: RawRedis) -> None:
    """A job's last loss ends it before the line is searched, whose group is lost."""
    isolated = await _suspect(store, raw, losses=3)
    await make_stale(raw, *await claim(store, 1, "gone"))
    (other,) = await submit(store)
    await raw("XGROUP", "DESTROY", KEYS.fixed("line"), GROUP)

    await store.maintenance.recover("finder", [])
    assert await _failed(store) == 1
    assert await breaches(store, raw, [isolated, other]) == []


@pytest.mark.parametrize("damaged", ["backlogs", "held_organizations"])
async def test_a_promotion_that_meets_damage_has_counted_what_it_ended(
    store: JobStore, raw: RawRedis, damaged: str
) -> None:
    """A job whose deadline has passed ends before a step that meets a key which it cannot read."""
    ids = await submit(store, own_deadline=True)
    await make_overdue(raw, *ids)
    await raw("DEL", KEYS.fixed(damaged))
    await raw("SET", KEYS.fixed(damaged), "damage")

    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await store.maintenance.promote()
    await raw("DEL", KEYS.fixed(damaged))
    assert await _failed(store) == 1
    assert await breaches(store, raw, ids) == []


@pytest.mark.parametrize("damaged", ["attempt", "deadline"])
async def test_an_entry_that_is_delivered_again_is_counted_once(store: JobStore, raw: RawRedis, damaged: str) -> None:
    """A job could not begin, and its worker missed the answer: it begins, or its deadline has passed, with the next
    claim, and its organisation's counts say so."""
    ids = await submit(store, 3)
    record = KEYS.job(ids[0])
    await raw("HSET", record, "attempt", "none")
    started = await claim(store)
    assert [held.job_id for held in started] == ids[1:]

    await raw("HDEL", record, "attempt")
    if damaged == "deadline":
        await raw("HSET", record, "deadline", 1)
    started += await claim(store, known=[held.token for held in started])
    for held in started:
        await complete(store, held)

    stats = await store.organizations.stats("org")
    assert (stats.queued, stats.processing, stats.completed + stats.failed) == (0, 0, 3)
    assert await miscounted(raw, ids) == []
    assert await breaches(store, raw, ids) == []
