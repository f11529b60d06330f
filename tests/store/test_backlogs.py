"""The line and the backlogs: how many entries an organisation has, which of its jobs is next, what fills free slots."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from tests.support.checks import RawRedis
from tests.support.gates import A, block, routing, throttle_all
from tests.support.store import KEYS, claim, complete, settle, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.mark.parametrize("weight", [1, 3])
async def test_the_line_has_as_many_entries_of_one_as_its_weight(store: JobStore, raw: RawRedis, weight: int) -> None:
    """Jobs come one by one, each in a call of its own: all but the first few wait in the backlog."""
    await settle(store, "a", weight=weight)
    for _ in range(8):
        await submit(store, organization="a")
    assert await raw("XLEN", KEYS.fixed("line")) == weight
    assert await raw("ZCARD", KEYS.prefix("backlog") + "a") == 8 - weight


@pytest.mark.parametrize("weight", [1, 3])
async def test_a_high_job_goes_next_at_every_turn(store: JobStore, raw: RawRedis, weight: int) -> None:
    """Normal and low ones have slots of their own; at each of the sixteen the high job is still the first behind those
    in the line (I8)."""
    await settle(store, "a", weight=weight)
    await submit(store, 150, "low", organization="a")
    await submit(store, 150, organization="a")
    extra = 0
    for _ in range(20):
        (high,) = await submit(store, 1, "high", organization="a")
        mine = [held for _ in range(weight + 1) for held in await claim(store, 1)]
        assert high in {held.job_id for held in mine}
        # Lets the next one begin at another slot.
        extra = (extra + 1) % 3
        mine += [held for _ in range(extra) for held in await claim(store, 1)]
        await asyncio.gather(*(complete(store, held) for held in mine))
    assert await raw("HEXISTS", KEYS.fixed("rank_slots"), "a") == 1


async def test_slots_that_small_organisations_leave_are_used(url: str) -> None:
    """Eight of ten have one job each: the other two may go beyond their shares, as nobody else has any left."""
    async with open_store(StoreSettings(redis_url=url, slot_share=10), client_name="t") as store:
        for name in ("a", "b"):
            await submit(store, 100, organization=name)
        assert len(await claim(store, 4)) == 4
        for number in range(8):
            await submit(store, organization=f"small-{number}")
        shares = Counter(held.spec.organization_id for held in await claim(store, 40))
        assert shares.total() == 40
        assert min(shares["a"], shares["b"]) >= 14


async def test_jobs_of_a_thousand_backlogs_are_counted_exactly(url: str) -> None:
    """In the line, in backlogs, delayed, throttled and running: the sum of the states is the number of jobs (I3)."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(A)) as store:
        for first in range(0, 1_100, 100):
            names = [f"org-{number}" for number in range(first, first + 100)]
            await asyncio.gather(*(submit(store, 2, organization=name) for name in names))
        await submit(store, 5, organization="org-0", delay_ms=60_000)
        running = await claim(store, 3)
        await block(store, A)
        await submit(store, 4, organization="org-1")
        stats = await store.queries.stats()
        assert (stats.by_queue["line"], stats.by_queue["backlog"]) == (1_100, 1_101)
        assert (stats.queued, stats.processing) == (2_209 - len(running), 3)

        await throttle_all(store)
        stats = await store.queries.stats()
        assert (stats.queued, stats.processing, stats.delayed) == (2_206, 3, 5)
        assert stats.throttled > 0
