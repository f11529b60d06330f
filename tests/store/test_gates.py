"""Gates in the store: one limit for the fleet, what closes it, what opens it, who passes and who waits."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest

from shared.events import EventKind
from shared.job import Claim, JobStatus, PassedOver
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.replies import CallReport
from shared.store.routing import GateLimits, Routing
from tests.support.checks import RawRedis
from tests.support.store import breaches, claim, complete, drain, new_job, open_gate, submit

A, B = "openai:gpt-a", "anthropic:claude-b"


def routing(*chain: str, rpm: int = 0, tpm: int = 0, failures: int = 3) -> Routing:
    """All of the chain gated, with the same limits."""
    limits = [GateLimits(gate=gate, requests_per_minute=rpm, tokens_per_minute=tpm) for gate in chain]
    return Routing(chain=chain, limits=tuple(limits), failures=failures)


@pytest.fixture
async def one(url: str) -> AsyncIterator[JobStore]:
    """A fleet with one gate without limits of our own."""
    async with open_store(
        StoreSettings(redis_url=url, lease_seconds=2.0), client_name="t", routing=routing(A)
    ) as opened:
        yield opened


@pytest.fixture
async def two(url: str) -> AsyncIterator[JobStore]:
    """A fleet that prefers A and falls back to B."""
    paths = routing(A, B)
    async with open_store(StoreSettings(redis_url=url, lease_seconds=2.0), client_name="t", routing=paths) as opened:
        yield opened


async def reroute(
    store: JobStore, held: Claim, report: CallReport, *others: str, gate: str = A, retry_ms: int | None = None
) -> tuple[str, str]:
    """What becomes of a job whose call failed: the state and the gate."""
    found = await store.reroute(held, gate, report, retry_after_ms=retry_ms, candidates=others, spent=None)
    return found.state, found.gate


async def close(store: JobStore, *, ms: int = 60_000, consumer: str = "closer") -> str:
    """Close gate A by a job that was told to wait; its id."""
    (job_id,) = await submit(store)
    (held,) = await claim(store, 1, consumer)
    assert await reroute(store, held, CallReport.LIMITED, retry_ms=ms) == ("parked", "")
    return job_id


async def test_a_job_that_was_told_to_wait_is_parked_without_using_up_its_attempt(one: JobStore, raw: RawRedis) -> None:
    """Its slot is free, it counts as queued and parked, the stream says why and until when, and it can be claimed by
    nobody while the gate is closed."""
    job_id = await close(one)
    stats = await one.stats()
    assert (stats.queued, stats.parked, stats.processing) == (1, 1, 0)
    snapshot = await one.status(job_id)
    assert snapshot is not None
    assert (snapshot.status, snapshot.attempt) == (JobStatus.QUEUED, 0)
    events = (await one.events.read(job_id, None)).events
    told = json.loads(events[-1].data)
    assert (events[-1].kind, told["reason"], "nextAttemptAt" in told) == (EventKind.RETRYING, "rate_limited", True)
    claimed = await one.claim("w2", 10, look=True, suspect=True)
    assert claimed.claims == []
    assert claimed.next_ms is not None
    assert 55_000 < claimed.next_ms <= 60_000
    assert await breaches(one, raw, [job_id]) == []


async def test_jobs_of_a_closed_gate_are_parked_once_and_others_pass(two: JobStore, raw: RawRedis) -> None:
    """A hundred jobs that only the closed gate may run are moved once; a job for the open one is claimed at once."""
    first = await close(two)
    closed = [new_job(route=(A,)) for _ in range(100)]
    await asyncio.gather(*(two.submit(job) for job in closed))
    passing = new_job("low", route=(B,))
    await two.submit(passing)
    claims, more = [], True
    while more:
        claimed = await two.claim("w1", 50, look=False, suspect=True)
        claims += claimed.claims
        more = claimed.more
    assert [(held.job_id, held.gate) for held in claims] == [(passing.id, B)]
    assert (await two.stats()).parked == 101
    entries = await raw("HGET", two.keys.job(closed[0].id), "entry")
    for _ in range(3):
        await two.claim("w1", 50, look=True, suspect=True)
    assert await raw("HGET", two.keys.job(closed[0].id), "entry") == entries == f"p{A}".encode()
    assert await breaches(two, raw, [first, passing.id, *(job.id for job in closed)]) == []


async def test_a_gate_that_opens_lets_go_one_by_one_in_order(one: JobStore, raw: RawRedis) -> None:
    """High before normal before low, each by age; after a closure one call goes first, not all that wait."""
    await close(one)
    ids = {priority: await submit(one, 3, priority) for priority in ("low", "normal", "high")}
    assert await claim(one) == []
    seen = list[str]()
    await open_gate(raw, A)
    async with asyncio.timeout(10):
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
    assert (await one.stats()).parked == 0


async def test_a_gate_without_limits_opens_faster_and_faster(one: JobStore, raw: RawRedis) -> None:
    """After a closure the rate ramps up: a few in the first half second, in a few seconds all 400 that wait."""
    await close(one)
    await submit(one, 400)
    while (await one.claim("w", 64, look=True, suspect=True)).more:
        pass
    await open_gate(raw, A)
    began, early, done = time.monotonic(), 0, 0
    while done < 401:
        claimed = await one.claim("w", 64, look=True, suspect=True)
        await asyncio.gather(*(complete(one, held) for held in claimed.claims))
        done += len(claimed.claims)
        if time.monotonic() - began < 0.4:
            early = done
        await asyncio.sleep(0.01 if not claimed.next_ms else min(claimed.next_ms / 1000, 0.05))
        assert time.monotonic() - began < 20
    assert early <= 20


@pytest.mark.parametrize("rpm", [600, 3000])
async def test_a_request_limit_holds_in_every_window_and_is_used(url: str, rpm: int) -> None:
    """Three workers drain as fast as they may for two seconds: never more than the limit's share, and most of it."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(A, rpm=rpm)) as store:
        await submit(store, 300)
        starts: list[float] = []
        end = time.monotonic() + 2.0

        async def work(name: str) -> None:
            while time.monotonic() < end:
                claimed = await store.claim(name, 10, look=True, suspect=True)
                starts.extend(time.monotonic() for _ in claimed.claims)
                await asyncio.gather(*(complete(store, held) for held in claimed.claims))
                await asyncio.sleep(0.005)

        await asyncio.gather(*(work(f"w{i}") for i in range(3)))
        assert (await store.stats()).processing == 0
    # The share of 2 s, and one second that a late call may catch up; a cold gate ramps up first.
    assert len(starts) <= 3.1 * rpm / 60 + 1
    assert len(starts) >= min(1.2 * rpm / 60, 20)


async def test_a_token_limit_reserves_before_and_settles_after(url: str) -> None:
    """A call reserves prompt and answer; what it did not use makes room for the next at once."""
    paths = routing(A, tpm=60_000)
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=paths) as store:
        for _ in range(2):
            await store.submit(new_job(max_tokens=30_000))
        claimed = await store.claim("w", 10, look=True, suspect=True)
        (held,) = claimed.claims
        assert 30_000 < held.reserved < 30_200
        assert claimed.next_ms is not None
        assert 25_000 < claimed.next_ms < 35_000
        assert await claim(store) == []
        await store.report(A, CallReport.NONE, tokens=100 - held.reserved)
        async with asyncio.timeout(3):
            while not await claim(store):
                await asyncio.sleep(0.02)


async def test_failures_in_a_row_close_a_gate_and_a_probe_reopens_it(one: JobStore, raw: RawRedis) -> None:
    """Two failures and a success keep it open, three in a row close it, for longer when the probe fails too; one call
    at a time probes it; its success lets the others go."""
    await submit(one, 6)
    held = await claim(one, 6)
    for report in (CallReport.FAILED, CallReport.FAILED, CallReport.OK, CallReport.FAILED, CallReport.FAILED):
        await one.report(A, report)
    assert (await one.claim("w", 1, look=True, suspect=True)).doubtful == {A}
    await submit(one)
    assert len(await claim(one)) == 1
    assert await reroute(one, held[0], CallReport.FAILED) == ("stay", A)
    await submit(one, 5)
    claimed = await one.claim("w", 10, look=True, suspect=True)
    assert claimed.claims == []
    assert claimed.next_ms is not None
    assert 4_000 < claimed.next_ms <= 5_000
    await open_gate(raw, A)
    (probe,) = await claim(one)
    assert await claim(one) == []
    assert await reroute(one, probe, CallReport.FAILED) == ("stay", A)
    claimed = await one.claim("w", 10, look=True, suspect=True)
    assert claimed.next_ms is not None
    assert 8_000 < claimed.next_ms <= 10_000
    await open_gate(raw, A)
    (probe,) = await claim(one)
    await one.report(A, CallReport.OK)
    assert (await one.wait_for_work(1)).value in ("job", "look")
    assert len(await claim(one)) >= 1
    assert probe.passed_over == ()


async def test_a_fleet_falls_back_while_a_gate_is_closed(two: JobStore) -> None:
    """The next of the chain takes the job at the claim, and the claim says why the first did not; a job with a chain
    of its own keeps to it."""
    await submit(two)
    (held,) = await claim(two)
    assert held.gate == A
    assert await reroute(two, held, CallReport.LIMITED, B, retry_ms=60_000) == ("go", B)
    (later,) = await submit(two)
    own = new_job(route=(A,))
    await two.submit(own)
    (second,) = await claim(two)
    reason = PassedOver(provider="openai", model="gpt-a", reason="rate_limited")
    assert (second.job_id, second.gate, second.passed_over) == (later, B, (reason,))


async def test_a_refused_call_goes_to_whoever_else_may_answer(two: JobStore, raw: RawRedis) -> None:
    """Nobody else: the job stays with its worker, to fail; another gate: it runs there, or waits in its lane."""
    await submit(two, 3)
    first, second, third = await claim(two, 3)
    assert await reroute(two, first, CallReport.REFUSED) == ("stay", A)
    assert await reroute(two, second, CallReport.REFUSED, B) == ("go", B)
    assert await reroute(two, second, CallReport.LIMITED, gate=B, retry_ms=9_000) == ("parked", "")
    assert await reroute(two, third, CallReport.REFUSED, B) == ("parked", "")
    await open_gate(raw, B)
    async with asyncio.timeout(5):
        while not (found := [held for held in await claim(two) if held.job_id == third.job_id]):
            await asyncio.sleep(0.02)
    assert found[0].gate == B
    assert found[0].passed_over == (PassedOver(provider="openai", model="gpt-a", reason="unavailable"),)


async def test_a_reservation_is_used_soon_or_asked_for_again(one: JobStore, raw: RawRedis) -> None:
    """A job that was let go and not claimed in time must not break the limit later: it asks anew, and is parked again
    when the gate has closed meanwhile."""
    job_id = await close(one)
    await raw("HSET", one.keys.job(job_id), "losses", 1)
    await open_gate(raw, A)
    # Let go into the lane of suspects, where this worker takes none.
    assert (await one.claim("w", 5, look=True, suspect=False)).claims == []
    assert (await one.stats()).by_lane["suspect"] == 1
    await raw("HSET", one.keys.job(job_id), "pass", f"{A} 1 0")
    await one.report(A, CallReport.LIMITED, retry_after_ms=60_000)
    assert await claim(one) == []
    assert (await one.stats()).parked == 1


async def test_all_kinds_of_ends_find_parked_jobs(one: JobStore, raw: RawRedis) -> None:
    """A cancel ends one at once, its deadline another; the rest complete, and nothing is left in any lane."""
    ids = [await close(one), *(await submit(one, 2)), *(await submit(one, deadline_ms=100))]
    assert await claim(one) == []
    assert (await one.cancel(ids[0])).state == "cancelled"
    await asyncio.sleep(0.15)
    assert (await one.upkeep.promote()).promoted == 1
    assert await claim(one) == []
    snapshot = await one.status(ids[3])
    assert snapshot is not None
    assert snapshot.outcome is not None
    assert snapshot.outcome.error is not None
    assert snapshot.outcome.error.type == "DeadlineExceeded"
    assert await breaches(one, raw, ids) == []
    while (await one.stats()).queued:
        await open_gate(raw, A)
        await drain(one)
    assert await breaches(one, raw, ids) == []
    assert await raw("KEYS", f"{one.keys.prefix('lane')}*") == []


async def test_one_worker_comes_back_for_a_lane_and_not_all(one: JobStore) -> None:
    """Whoever is told first sets its timer, the others sleep on; when it leaves, the next is told."""
    await close(one)
    told = [(await one.claim(name, 5, look=True, suspect=True)).next_ms for name in ("w1", "w2", "w3")]
    told += [(await one.upkeep.promote()).lane_ms]
    assert sum(wait is not None for wait in told) == 1
    await one.upkeep.leave("w1")
    assert (await one.claim("w2", 5, look=True, suspect=True)).next_ms is not None


async def test_a_lane_whose_gate_nobody_names_any_more_is_emptied(one: JobStore, url: str) -> None:
    """The model was taken out of the settings: its jobs run on the chain of today."""
    job_id = await close(one)
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(B)) as store:
        (held,) = await claim(store)
        assert (held.job_id, held.gate) == (job_id, B)


async def test_damage_to_gates_and_lanes_costs_no_job(one: JobStore, raw: RawRedis) -> None:
    """A gate that is no gate, a lane that is no lane, a lane that lost its mark: claims go on, the audit repairs."""
    job_id = await close(one)
    await raw("HSET", one.keys.fixed("gates"), A, "nonsense")
    assert await claim(one) == []
    await one.upkeep.audit("auditor")
    (held,) = await claim(one)
    assert held.job_id == job_id
    await complete(one, held)
    await raw("SET", one.keys.prefix("lane") + A, "text")
    await raw("HSET", one.keys.fixed("gates"), A, "0 0 0 0 0 0 0 0 1 0 0")
    (other,) = await submit(one)
    claims = await claim(one)
    if not claims:
        # Parked behind a lane that cannot be read: the write was refused, so the entry is met again.
        await raw("DEL", one.keys.prefix("lane") + A)
        await raw("HDEL", one.keys.fixed("gates"), A)
        claims = await claim(one, known=[])
    assert [found.job_id for found in claims] == [other]
