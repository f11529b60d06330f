"""Gates that organisations share: what one does there does not keep another out."""

from __future__ import annotations

import asyncio
import time

import pytest

from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport
from tests.support.checks import RawRedis
from tests.support.gates import A, block, free, reroute, routing, throttle_all
from tests.support.store import claim, new_job, settle, submit, unblock_gate


async def _fail(store: JobStore, organization: str, times: int = 1) -> None:
    """Calls of an organisation's jobs fail before their first token."""
    for _ in range(times):
        await submit(store, organization=organization)
        (held,) = await claim(store)
        assert held.spec.organization_id == organization
        assert await reroute(store, held, CallReport.FAILED) == ("stay", A)


async def _names(store: JobStore, limit: int = 50) -> list[str]:
    """Organisations of the jobs that start now."""
    return [held.spec.organization_id for held in await claim(store, limit)]


async def test_failures_of_one_block_the_gate_for_that_one(one: JobStore) -> None:
    """Its own jobs wait; another's go on at once, also those behind them, and an answer to one lets all in."""
    await _fail(one, "a", 3)
    await submit(one, 5, organization="a")
    await throttle_all(one)
    await submit(one, organization="b")
    assert await _names(one) == ["b"]
    await submit(one, organization="c")
    async with asyncio.timeout(30):
        while (names := await _names(one)) != ["c"]:
            assert names == []
            await asyncio.sleep(0.02)
    await one.report(A, CallReport.OK)
    async with asyncio.timeout(30):
        while (names := await _names(one)) != ["a"]:
            assert names == []
            await asyncio.sleep(0.02)


async def test_failures_beside_anothers_use_block_nobody(one: JobStore) -> None:
    """Another organisation used the gate lately, and was answered in the end: one's failures say nothing of the
    provider."""
    await _fail(one, "b")
    await one.report(A, CallReport.OK)
    await _fail(one, "a", 6)
    assert (await one.queries.gates())[0].blocked_ms == 0


async def test_failures_after_anothers_use_of_long_ago_block(one: JobStore, raw: RawRedis) -> None:
    """More than a minute later the gate is that one's alone again."""
    gates = one.keys.fixed("gates")
    await submit(one, organization="b")
    assert await _names(one) == ["b"]
    state = (await raw("HGET", gates, A)).decode().split()
    seconds, _ = await raw("TIME")
    used = [
        index for index, part in enumerate(state) if abs(int(part if part.isdigit() else 0) / 1000 - int(seconds)) < 9
    ]
    for index in used:
        state[index] = str((int(seconds) - 70) * 1000)
    await raw("HSET", gates, A, " ".join(state))
    await _fail(one, "a", 3)
    assert (await one.queries.gates())[0].blocked_ms > 4_000


async def test_failures_of_two_block_the_gate_for_all(one: JobStore) -> None:
    """Two organisations failed in one row: a third waits too."""
    await _fail(one, "a", 2)
    await _fail(one, "b")
    await submit(one, organization="c")
    assert await _names(one) == []
    (gate,) = await one.queries.gates()
    assert (gate.reason, gate.blocked_ms > 4_000) == ("unavailable", True)


async def test_a_failed_probe_is_not_repeated_with_the_same_organisation(one: JobStore, raw: RawRedis) -> None:
    """Each probe is of another organisation than the one whose job failed last, whatever its weight."""
    await settle(one, "a", weight=16)
    await _fail(one, "a", 2)
    await _fail(one, "b")
    await submit(one, 4, organization="a")
    await submit(one, 4, organization="b")
    await throttle_all(one)
    probes = list[str]()
    for _ in range(4):
        await unblock_gate(raw, A)
        (held,) = await claim(one)
        probes.append(held.spec.organization_id)
        await reroute(one, held, CallReport.FAILED)
    assert probes == ["a", "b", "a", "b"]


async def test_one_alone_probes_again(one: JobStore, raw: RawRedis) -> None:
    """Nobody else waits: its next job is the next probe, and its failure blocks the gate for longer."""
    await _fail(one, "a", 3)
    await submit(one, 2, organization="a")
    await throttle_all(one)
    await unblock_gate(raw, A)
    (held,) = await claim(one)
    await reroute(one, held, CallReport.FAILED)
    assert (await one.queries.gates())[0].blocked_ms > 8_000
    await unblock_gate(raw, A)
    assert await _names(one) == ["a"]


async def test_a_job_is_let_go_among_the_first_two_beside_a_flood(one: JobStore, raw: RawRedis) -> None:
    """One has hundreds of jobs at a blocked gate: the only job of another is the first or the second to go."""
    await block(one, A)
    await submit(one, 300, "high", organization="a")
    await throttle_all(one)
    await submit(one, organization="b")
    await throttle_all(one)
    await free(raw, A)
    assert "b" in await _names(one, 2)


@pytest.mark.parametrize(("prompt", "max_tokens", "reserved"), [(10, 1_000_000, 6_000), (80_000, 1_000_000, 20_000)])
async def test_a_reservation_is_a_tenth_of_the_minute_or_the_prompt(
    url: str, prompt: int, max_tokens: int, reserved: int
) -> None:
    """A call may ask for a million tokens: it reserves its prompt, or a tenth of the gate's tokens a minute."""
    paths = routing(A, tpm=60_000)
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=paths) as store:
        await store.submit(new_job(prompt="x" * prompt, max_tokens=max_tokens))
        (held,) = await claim(store)
    assert reserved <= held.reserved < reserved + 100


@pytest.mark.parametrize("used", [0, 200_000])
@pytest.mark.parametrize("url", ["valkey"], indirect=True)
async def test_a_long_call_holds_up_its_own_organisation(url: str, raw: RawRedis, used: int) -> None:
    """An organisation pays back what it took beyond a second's share before its next call; another's job, which comes
    later, starts within two seconds."""
    paths = routing(A, tpm=60_000)
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=paths) as store:
        await free(raw, A)
        await submit(store, 3, organization="a", max_tokens=1_000_000)
        (held,) = await claim(store)
        if used:
            await store.report(A, CallReport.NONE, tokens=used - held.reserved, organization_id="a")
        assert await claim(store) == []
        began = time.monotonic()
        await submit(store, organization="b", max_tokens=500)
        async with asyncio.timeout(30):
            while not (names := await _names(store)):
                await asyncio.sleep(0.02)
        assert names == ["b"]
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("url", ["valkey"], indirect=True)
async def test_calls_of_others_pay_a_long_one_back(url: str) -> None:
    """They take their own tokens twice: the limit holds after all, and the long call's organisation gets its turn."""
    paths = routing(A, tpm=60_000)
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=paths) as store:
        await submit(store, organization="a", max_tokens=1_000_000)
        assert await _names(store) == ["a"]
        starts = list[float]()
        async with asyncio.timeout(30):
            while len(starts) < 4:
                await submit(store, organization="b", max_tokens=700)
                while not await claim(store):
                    await asyncio.sleep(0.02)
                starts.append(time.monotonic())
    # 700 tokens of 60,000 a minute are 0.74 s.
    assert starts[3] - starts[1] > 2 * 2 * 0.74 - 0.3


async def test_a_deleted_organisation_is_forgotten_at_its_gates(one: JobStore, raw: RawRedis) -> None:
    """It used a gate and failed there: its name is gone, and other names and all numbers are as before."""
    await _fail(one, "b")
    await _fail(one, "gone", 2)
    before = (await raw("HGET", one.keys.fixed("gates"), A)).split()
    assert b"gone" in before
    await one.erasure.erase_entries("gone")
    after = (await raw("HGET", one.keys.fixed("gates"), A)).split()
    assert after == [b"*" if word == b"gone" else word for word in before]
