"""The order of one gate's throttled jobs, with any chains (I8)."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import permutations

import pytest

from shared.job import RetryReason
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.transitions import Requeue
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, free, routing, throttle_all
from tests.support.store import KEYS, claim, complete, lose, make_due, new_job, submit


async def test_the_chains_of_one_gate_share_its_turns(two: JobStore, raw: RawRedis) -> None:
    """Many high jobs of one chain, and low ones of another: low gets one of 16, not half."""
    await block(two, A, B)
    ids = [*await submit(two, 70, "high", route=(A, B)), *await submit(two, 70, "low", route=(A,))]
    ids += await submit(two, 70, "normal")
    await throttle_all(two)
    await free(raw, A)
    claims = await claim(two, 64)
    shares = Counter(str(held.spec.priority) for held in claims)
    assert {held.gate for held in claims} == {A}
    assert (shares["high"], shares["normal"], shares["low"]) == (48, 12, 4)
    assert await breaches(two, raw, ids) == []


async def test_the_queues_of_a_gate_are_fair_together(two: JobStore, raw: RawRedis) -> None:
    """An organisation that waits for a gate with and without a chain of its own gets no more turns than another."""
    await block(two, A, B)
    ids = [*await submit(two, 40, route=(A,), organization="a"), *await submit(two, 40, organization="a")]
    ids += await submit(two, 40, organization="b")
    for _ in range(2):
        await throttle_all(two)
    await free(raw, A)
    starts = Counter(held.spec.organization_id for held in await claim(two, 32))
    assert 14 <= starts["a"] <= 18
    assert await breaches(two, raw, ids) == []


async def test_what_came_back_keeps_its_priority_and_its_age(one: JobStore, raw: RawRedis) -> None:
    """Released, lost with its worker or let go in vain: a low job goes behind the high ones, the oldest first."""
    low = list[str]()
    for _ in range(3):  # in different ms: a returned job has lost its place within one
        low += await submit(one, 1, "low")
        await asyncio.sleep(0.002)
    high = await submit(one, 1, "high")
    await free(raw, A)
    held = {claimed.job_id: claimed for claimed in await claim(one, 4)}
    for job_id in (low[2], high[0]):
        await one.requeue(Requeue(held[job_id], RetryReason.DRAIN, delay_ms=0, refund=True, error=None))
    await one.requeue(Requeue(held[low[0]], RetryReason.ERROR, delay_ms=1, refund=False, error=None))
    await lose(one, raw, held[low[1]])
    await make_due(raw, low[0])
    await one.maintenance.promote()
    await block(one, A)
    later = await submit(one, 12, "high")
    for _ in range(4):  # those that lost a worker come one at a time
        await throttle_all(one)
    await free(raw, A)
    order = list[str]()
    while len(order) < 16:
        for claimed in await claim(one, 4):
            order.append(claimed.job_id)
            await complete(one, claimed)
    assert [job_id for job_id in order if job_id not in low] == high + later
    assert order.index(low[0]) < order.index(low[2])
    assert max(order.index(job_id) for job_id in later[:10]) < 12


async def test_newcomers_join_the_queue(one: JobStore, raw: RawRedis) -> None:
    """A gate gets room while jobs wait for it, in the same call in which others of the same priority arrive: those that
    waited go first, also when the worker cannot take all of them."""
    await block(one, A)
    waiting = await submit(one, 8, "high", route=(A,))
    await throttle_all(one)
    newcomers = await submit(one, 8, "high")
    await free(raw, A)
    order = [held.job_id for _ in range(4) for held in await claim(one, 4)]
    assert order[: len(waiting)] == waiting
    assert set(order[len(waiting) :]) <= set(newcomers)


@pytest.mark.parametrize("url", ["valkey"], indirect=True)
async def test_a_large_job_is_not_starved_by_small_ones(url: str, raw: RawRedis) -> None:
    """The first of the queue needs more tokens than there are yet: smaller ones behind it wait too."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(A, tpm=60_000)) as store:
        await submit(store, 1, max_tokens=50_000)
        assert len(await claim(store)) == 1
        (large,) = await submit(store, 1, max_tokens=50_000)
        await throttle_all(store)
        await submit(store, 4, max_tokens=1)
        await throttle_all(store)
        seconds, micros = await raw("TIME")
        soon = int(seconds) * 1000 + int(micros) // 1000 + 900
        await raw("HSET", KEYS.fixed("gates"), A, f"0 0 0 0 1 {soon} 0 {soon} 0 0 0 0 0")
        async with asyncio.timeout(30):
            while not (claims := await claim(store)):
                await asyncio.sleep(0.02)
        assert claims[0].job_id == large


async def test_a_job_goes_to_the_first_of_its_gates_with_room(two: JobStore, raw: RawRedis) -> None:
    """Throttled at all gates of its chain, it runs on the one it prefers as soon as that has room, else on the next."""
    await block(two, A, B)
    ids = await submit(two, 4, route=(B, A))
    await throttle_all(two)
    await free(raw, A)
    (first,) = await claim(two, 1)
    await free(raw, A, B)
    claims = await claim(two, 3)
    assert first.gate == A
    assert [(found.provider, found.reason) for found in first.passed_over] == [("anthropic", "rate_limited")]
    assert [held.gate for held in claims] == [B, B, B]
    assert sorted(held.job_id for held in [first, *claims]) == sorted(ids)


@pytest.mark.parametrize("url", ["valkey"], indirect=True)
async def test_chains_make_no_script_longer(url: str, raw: RawRedis) -> None:
    """Hundreds of chains of six gates: a claim, a promotion and a report send as many commands as with one chain, and a
    job of another organisation for the one gate that has room is claimed at once."""
    gates = [f"p:m{i}" for i in range(6)]
    sent: list[tuple[str, int]] = []

    async def commands_of(chains: list[tuple[str, ...]]) -> dict[str, int]:
        settings = StoreSettings(redis_url=url)
        paths = routing(*gates, "p:open")
        async with open_store(
            settings, client_name="t", routing=paths, observer=lambda verb, count: sent.append((verb, count))
        ) as store:
            await raw("FLUSHALL")
            await block(store, *gates)
            for i, chain in enumerate(chains):
                await store.submit(new_job(route=chain, organization=f"org-{i}", project_id=f"p-{i}"))
            await throttle_all(store)
            other = new_job("high", route=("p:open",), organization="other")
            await store.submit(other)
            sent.clear()
            assert [held.job_id for held in await claim(store)] == [other.id]
            await store.maintenance.promote()
            await block(store, gates[0])
            assert (await store.queries.stats()).throttled == len(chains)
            return {verb: count for verb, count in sent if verb != "script_load"}

    chains: list[tuple[str, ...]] = list(permutations(gates, 4))
    assert await commands_of(chains) == await commands_of(chains[:1] * len(chains))
