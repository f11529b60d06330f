"""Gates in the store: what blocks one, what unblocks it, and the gate that answers until then."""

from __future__ import annotations

import asyncio

from shared.job import PassedOver
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, reroute, routing
from tests.support.store import claim, claim_one, new_job, submit, unblock_gate


async def test_failures_in_a_row_block_a_gate_and_a_probe_ends_the_block(one: JobStore, raw: RawRedis) -> None:
    """Two failures and a success leave it available, three in a row block it, for longer when the probe fails too; one
    call at a time probes it; its success lets the others go."""
    await submit(one, 6)
    held = await claim(one, 6)
    for report in (CallReport.FAILED, CallReport.FAILED, CallReport.OK, CallReport.FAILED, CallReport.FAILED):
        await one.report(A, report)
    assert (await one.claim("w", 1, poll=True, suspect=True)).doubtful == {A}
    await submit(one)
    assert len(await claim(one)) == 1
    assert await reroute(one, held[0], CallReport.FAILED) == ("stay", A)
    await submit(one, 5)
    claimed = await one.claim("w", 10, poll=True, suspect=True)
    assert claimed.claims == []
    assert claimed.next_ms is not None
    assert 4_000 < claimed.next_ms <= 5_000
    await unblock_gate(raw, A)
    (probe,) = await claim(one)
    assert await claim(one) == []
    assert await reroute(one, probe, CallReport.FAILED) == ("stay", A)
    claimed = await one.claim("w", 10, poll=True, suspect=True)
    assert claimed.next_ms is not None
    assert 8_000 < claimed.next_ms <= 10_000
    await unblock_gate(raw, A)
    (probe,) = await claim(one)
    await one.report(A, CallReport.OK)
    assert (await one.wait_for_work(1)).value in ("job", "look")
    assert len(await claim(one)) >= 1
    assert probe.passed_over == ()


async def test_a_fleet_falls_back_while_a_gate_is_blocked(two: JobStore) -> None:
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


async def test_a_refused_call_goes_to_the_next_gate(two: JobStore, raw: RawRedis) -> None:
    """No other gate: the job stays with its worker, to fail; another gate: it runs there, or waits in its throttle
    set."""
    await submit(two, 3)
    first, second, third = await claim(two, 3)
    assert await reroute(two, first, CallReport.REFUSED) == ("stay", A)
    assert await reroute(two, second, CallReport.REFUSED, B) == ("go", B)
    assert await reroute(two, second, CallReport.LIMITED, gate=B, retry_ms=9_000) == ("throttled", "")
    assert await reroute(two, third, CallReport.REFUSED, B) == ("throttled", "")
    await unblock_gate(raw, B)
    async with asyncio.timeout(30):
        while not (found := [held for held in await claim(two) if held.job_id == third.job_id]):
            await asyncio.sleep(0.02)
    assert found[0].gate == B
    assert found[0].passed_over == (PassedOver(provider="openai", model="gpt-a", reason="unavailable"),)


async def test_a_job_that_is_to_be_cancelled_waits_for_no_gate(one: JobStore, raw: RawRedis) -> None:
    """Its provider answered 429: it stays with its worker, which ends it."""
    held = await claim_one(one)
    assert (await one.cancel(held.job_id)).state == "requested"
    assert await reroute(one, held, CallReport.LIMITED, retry_ms=60_000) == ("stay", A)
    assert await breaches(one, raw, [held.job_id]) == []


async def test_a_job_that_goes_elsewhere_takes_a_share_there(url: str) -> None:
    """The other gate has room for one call now: the job that was sent there is that one."""
    paths = routing(A, B, rpm=6)
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=paths) as store:
        held = await claim_one(store)
        assert await reroute(store, held, CallReport.LIMITED, B, retry_ms=60_000) == ("go", B)
        await submit(store, route=(B,))
        assert await claim(store) == []
