"""The order of waiting jobs: by priority, and begun jobs before new ones."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from shared.job import RetryReason
from shared.store.job_store import JobStore
from shared.store.transitions import Requeue
from tests.support.checks import RawRedis
from tests.support.store import claim, claim_one, lose, submit


@pytest.mark.parametrize("url", ["valkey"], indirect=True)
async def test_a_high_job_passes_ten_thousand_low_ones(store: JobStore) -> None:
    """10,000 low jobs wait and one high comes: it is among the next two claimed, one by one or in a batch (I8)."""
    await submit(store, 10_000, "low")
    for limit in (1, 1, 1, 5, 16, 50):
        await claim(store, limit)
        (high,) = await submit(store, 1, "high")
        found = await claim(store, 1) + await claim(store, 1) if limit == 1 else await claim(store, limit)
        assert high in {held.job_id for held in found[: max(limit, 2)]}


@pytest.mark.parametrize("limit", [1, 7, 16, 50])
async def test_low_gets_one_in_sixteen_under_an_endless_stream_of_high(store: JobStore, limit: int) -> None:
    """While high never ends, one job of 16 comes from low, and three from normal when there are any (I8)."""
    await submit(store, 800, "high")
    await submit(store, 400, "normal")
    await submit(store, 400, "low")
    shares: Counter[str] = Counter()
    taken = 0
    while taken < 400:
        found = await claim(store, limit)
        shares.update(held.spec.priority for held in found)
        taken += len(found)
    assert abs(shares["low"] - taken / 16) <= 3
    assert abs(shares["normal"] - taken * 3 / 16) <= 6


async def test_a_recovered_job_is_among_the_next_two(store: JobStore, raw: RawRedis) -> None:
    """1,000 jobs wait; the one that lost its worker goes before all but the one in the line."""
    held = await claim_one(store)
    await submit(store, 1000)
    await lose(store, raw, held)
    assert held.job_id in {one.job_id for _ in range(2) for one in await claim(store, 1)}


@pytest.mark.parametrize("poll", [True, False])
@pytest.mark.parametrize("priority", ["normal", "low"])
async def test_released_jobs_go_before_waiting_ones(store: JobStore, priority: str, poll: bool) -> None:
    """A drained worker's job does not queue up behind 100 others, and is among the next two claimed."""
    held = await claim_one(store)
    await submit(store, 100, priority)
    for _ in range(4):
        await store.requeue(Requeue(held, RetryReason.DRAIN, delay_ms=0, refund=True, error=None))
        found = {one.job_id: one for _ in range(2) for one in await claim(store, 1, poll=poll)}
        assert held.job_id in found
        held = found[held.job_id]


@pytest.mark.parametrize("poll", [True, False])
async def test_a_high_job_does_not_wait_behind_released_ones(store: JobStore, poll: bool) -> None:
    """Twenty came back, and high ones come one after the other: each is among the next two claimed (I8)."""
    await submit(store, 20)
    for held in await claim(store, 20):
        await store.requeue(Requeue(held, RetryReason.DRAIN, delay_ms=0, refund=True, error=None))
    for _ in range(4):
        (high,) = await submit(store, 1, "high")
        assert high in {held.job_id for _ in range(2) for held in await claim(store, 1, poll=poll)}


async def test_only_what_waits_makes_the_oldest_wait(store: JobStore) -> None:
    """A job that runs for long waits no more; one that came just now has not waited long."""
    await claim_one(store)
    await asyncio.sleep(0.1)
    assert await store.queries.oldest_waiting_ms() == 0
    came = time.monotonic()
    await submit(store)
    oldest_ms = await store.queries.oldest_waiting_ms()
    assert oldest_ms <= (time.monotonic() - came) * 1000 + 1


async def test_a_claim_gives_a_thousand_at_most(store: JobStore) -> None:
    """However many its caller asks for; the rest is announced."""
    await submit(store, 1_010)
    claimed = await store.claim("w1", 20_000, poll=True, suspect=True)
    assert (len(claimed.claims), claimed.more) == (1_000, True)
