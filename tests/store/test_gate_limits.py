"""Gates in the store: how fast they let go, by the limits of a fleet and after a block."""

from __future__ import annotations

import asyncio
import time

import pytest

from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport
from tests.support.checks import RawRedis
from tests.support.gates import A, block_by_job, routing
from tests.support.store import claim, complete, new_job, submit, unblock_gate


async def test_a_gate_that_is_available_again_lets_go_one_by_one_in_order(one: JobStore, raw: RawRedis) -> None:
    """High before normal before low, each by age; after a block one call goes first, not all that wait."""
    await block_by_job(one)
    ids = {priority: await submit(one, 3, priority) for priority in ("low", "normal", "high")}
    assert await claim(one) == []
    seen = list[str]()
    await unblock_gate(raw, A)
    async with asyncio.timeout(30):
        while len(seen) < 10:
            claims = await claim(one)
            assert len(claims) <= 1 or seen
            for held in claims:
                seen.append(held.job_id)
                await complete(one, held)
            await asyncio.sleep(0.01)
    high = [seen.index(job_id) for job_id in ids["high"]]
    assert high == sorted(high)
    assert max(high) < 5
    assert [job_id for job_id in seen if job_id in ids["low"]] == ids["low"]
    assert (await one.queries.stats()).throttled == 0


@pytest.mark.parametrize("url", ["valkey"], indirect=True)
async def test_a_gate_without_limits_lets_go_faster_and_faster(one: JobStore, raw: RawRedis) -> None:
    """After a block the rate rises: a few in the first half second, in a few seconds all 100 that wait."""
    await block_by_job(one)
    await submit(one, 100)
    while (await one.claim("w", 64, poll=True, suspect=True)).more:
        pass
    await unblock_gate(raw, A)
    began, early, done = time.monotonic(), 0, 0
    while done < 101:
        claimed = await one.claim("w", 64, poll=True, suspect=True)
        await asyncio.gather(*(complete(one, held) for held in claimed.claims))
        done += len(claimed.claims)
        if time.monotonic() - began < 0.4:
            early = done
        await asyncio.sleep(0.01 if not claimed.next_ms else min(claimed.next_ms / 1000, 0.05))
        assert time.monotonic() - began < 40
    assert early <= 20


@pytest.mark.parametrize("url", ["valkey"], indirect=True)
@pytest.mark.parametrize("rpm", [600, 3000])
async def test_a_request_limit_holds_in_every_window_and_is_used(url: str, rpm: int) -> None:
    """Three workers drain as fast as they may for two seconds: never more than the limit's share, and most of it."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(A, rpm=rpm)) as store:
        await submit(store, 300)
        starts: list[float] = []
        began = time.monotonic()

        async def work(name: str) -> None:
            while time.monotonic() < began + 2.0:
                claimed = await store.claim(name, 10, poll=True, suspect=True)
                starts.extend(time.monotonic() for _ in claimed.claims)
                await asyncio.gather(*(complete(store, held) for held in claimed.claims))
                await asyncio.sleep(0.005)

        await asyncio.gather(*(work(f"w{i}") for i in range(3)))
        took = time.monotonic() - began
        assert (await store.queries.stats()).processing == 0
    # The share of these 2 s or more, and one second that a late call may catch up; an idle gate has a slow start.
    assert len(starts) <= (took + 1.0) * rpm / 60 + 1
    assert len(starts) >= min(1.2 * rpm / 60, 20)


async def test_a_token_limit_reserves_before_and_settles_after(url: str) -> None:
    """A call reserves prompt and answer; the unused part makes room for the next at once."""
    paths = routing(A, tpm=60_000)
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=paths) as store:
        for _ in range(2):
            await store.submit(new_job(prompt="x" * 120_000))
        claimed = await store.claim("w", 10, poll=True, suspect=True)
        (held,) = claimed.claims
        assert 30_000 < held.reserved < 30_200
        assert claimed.next_ms is not None
        assert 25_000 < claimed.next_ms < 35_000
        assert await claim(store) == []
        await store.report(A, CallReport.NONE, tokens=100 - held.reserved)
        async with asyncio.timeout(20):
            while not await claim(store):
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("why", ["too old", "blocked"])
async def test_a_reservation_is_used_soon_or_asked_for_again(one: JobStore, raw: RawRedis, why: str) -> None:
    """A job that was let go and not claimed in time must not break the limit later: it asks again, and is throttled
    again when the gate has no room; so is one whose gate was blocked meanwhile, however soon it comes."""
    job_id = await block_by_job(one)
    await raw("HSET", one.keys.job(job_id), "losses", 2)
    await unblock_gate(raw, A)
    # Released into the stream of suspects, where this worker takes none.
    assert (await one.claim("w", 5, poll=True, suspect=False)).claims == []
    assert (await one.queries.stats()).by_queue["suspect"] == 1
    assert (await raw("HGET", one.keys.job(job_id), "pass")).startswith(f"{A} ".encode())
    if why == "blocked":
        await one.report(A, CallReport.LIMITED, retry_after_ms=60_000)
    else:
        await raw("HSET", one.keys.job(job_id), "pass", f"{A} 1 0 ")
        now = int((await raw("TIME"))[0]) * 1000
        await raw("HSET", one.keys.fixed("gates"), A, f"0 0 0 0 {now} {now} {now + 60_000} 0 0 0 0 1 0")
    assert await claim(one) == []
    assert (await one.queries.stats()).throttled == 1


@pytest.mark.parametrize("url", ["valkey"], indirect=True)
async def test_a_share_is_spread_over_more_than_its_minute(url: str) -> None:
    """Calls arrive up to 2.5 s after they were reserved and may catch up by one second: the calls at the provider in
    any 60 s stay within the limit."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(A, rpm=6)) as store:
        await submit(store, 2)
        claimed = await store.claim("w", 5, poll=True, suspect=True)
        assert len(claimed.claims) == 1
        assert claimed.next_ms is not None
        assert 9_250 < claimed.next_ms <= 9_584


async def test_a_provider_that_names_less_shortens_no_wait(one: JobStore) -> None:
    """Two calls get a retry-after, one of a minute and one at once: the minute holds for both."""
    for retry_after_ms, least in ((60_000, 58_000), (0, 57_000)):
        await one.report(A, CallReport.LIMITED, retry_after_ms=retry_after_ms)
        (gate,) = await one.queries.gates()
        assert gate.blocked_ms > least


async def test_a_provider_that_names_no_time_is_left_alone_for_longer_each_time(one: JobStore, raw: RawRedis) -> None:
    """One second, then two, then four, from the end of each wait on; its first success makes it one again."""
    for expected in (1_000, 2_000, 4_000):
        await one.report(A, CallReport.LIMITED)
        (gate,) = await one.queries.gates()
        assert expected - 900 < gate.blocked_ms <= expected
        await unblock_gate(raw, A)
    await one.report(A, CallReport.OK)
    await one.report(A, CallReport.LIMITED)
    assert (await one.queries.gates())[0].blocked_ms <= 1_000
