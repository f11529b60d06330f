"""Pauses of the queue and of gates: nothing that is paused starts, all else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.settings import StoreSettings
from shared.store.audit_trail import Actor
from shared.store.gates import QUEUE, Gate, GateMode
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport, WaitReason
from shared.store.routing import Routing
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, routing, throttle_all
from tests.support.store import KEYS, claim, complete, drain, make_overdue, settle, status_of, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)

ACTOR = Actor(key_id="test")


@pytest.fixture(params=["gated", "ungated"])
async def worker(request: pytest.FixtureRequest, url: str) -> AsyncIterator[JobStore]:
    """A worker with two gates: with limits or without any."""
    paths = routing(A, B) if request.param == "gated" else Routing(chain=(A, B))
    settings = StoreSettings(redis_url=url, lease_seconds=2.0)
    async with open_store(settings, client_name="t", routing=paths) as opened:
        yield opened


async def mode_of(store: JobStore, name: str) -> Gate:
    """A gate as it stands."""
    (found,) = (gate for gate in await store.gates.read((A, B)) if gate.name == name)
    return found


@pytest.mark.parametrize("poll", [False, True])
async def test_a_paused_queue_starts_nothing(worker: JobStore, raw: RawRedis, poll: bool) -> None:
    """No job starts, submits go on; nothing of it is in the backlog or in the age that probes read; then all run."""
    ids = await submit(worker, 3)
    assert await worker.gates.pause(QUEUE, ACTOR)
    assert not await worker.gates.pause(QUEUE, ACTOR)
    ids += await submit(worker, 3, organization="other")
    assert await claim(worker, 10, poll=poll) == []
    stats = await worker.queries.stats()
    assert (stats.queued, stats.backlog) == (6, 0)
    assert await worker.queries.oldest_waiting_ms() == 0
    waits = await worker.queries.waiting(ids[0])
    assert waits is not None
    assert waits.reason is WaitReason.PAUSED
    assert await breaches(worker, raw, ids) == []

    assert await worker.gates.resume(QUEUE, ACTOR)
    assert (await worker.wait_for_work(100)).value
    assert (await worker.queries.stats()).backlog == 6
    assert len(await claim(worker, 10, poll=poll)) == 6


async def test_running_jobs_of_a_paused_queue_end(worker: JobStore) -> None:
    """A pause is about starts: what runs is completed, and counted as backlog until then."""
    await submit(worker, 2)
    held = await claim(worker, 2)
    await worker.gates.pause(QUEUE, ACTOR)
    assert (await worker.queries.stats()).backlog == 2
    await asyncio.gather(*(complete(worker, one) for one in held))
    assert (await worker.queries.stats()).completed == 2


async def test_deadlines_of_a_paused_queue_go_on(worker: JobStore, raw: RawRedis) -> None:
    """A job whose deadline passes meanwhile ends."""
    (job_id,) = await submit(worker, deadline_ms=60_000, own_deadline=True)
    await worker.gates.pause(QUEUE, ACTOR)
    await make_overdue(raw, job_id)
    await worker.maintenance.promote()
    assert (await status_of(worker, job_id)).terminal


@pytest.mark.parametrize("poll", [False, True])
async def test_no_call_passes_a_paused_gate(worker: JobStore, raw: RawRedis, poll: bool) -> None:
    """Jobs of this gate alone wait and say so, others go on; a chain with another gate uses that; resumed, all run."""
    await worker.gates.pause(A, ACTOR)
    ids = await submit(worker, 3, route=(A,))
    others = await submit(worker, 2, route=(B,)) + await submit(worker, 1)
    started = [held for _ in range(3) for held in await claim(worker, 10, poll=poll)]
    assert {held.job_id for held in started} == set(others)
    assert {held.gate for held in started} == {B}
    waits = await worker.queries.waiting(ids[0])
    assert waits is not None
    assert (waits.reason, waits.gate, waits.until_ms) == (WaitReason.PAUSED, A, None)
    gate = await mode_of(worker, A)
    assert (gate.mode, gate.waiting) == (GateMode.PAUSED, 3)
    assert (await worker.queries.stats()).backlog == 3

    await worker.gates.resume(A, ACTOR)
    assert (await mode_of(worker, A)).mode is not GateMode.PAUSED
    assert await raw("ZSCORE", KEYS.fixed("wake"), "look") is not None
    later = [held for _ in range(3) for held in await claim(worker, 10)]
    assert {held.job_id for held in later} == set(ids)
    assert {held.gate for held in later} == {A}


async def test_a_pause_outlives_other_states_of_the_gate(two: JobStore) -> None:
    """Paused, then blocked by the provider, then resumed: still blocked."""
    await two.gates.pause(A, ACTOR)
    await block(two, A, ms=60_000)
    assert (await mode_of(two, A)).mode is GateMode.PAUSED
    await two.gates.pause(B, ACTOR)
    await two.gates.resume(A, ACTOR)
    gate = await mode_of(two, A)
    assert (gate.mode, gate.reason) == (GateMode.BLOCKED, "rate_limited")
    assert (await mode_of(two, B)).mode is GateMode.PAUSED


async def test_an_operator_ends_the_block_of_a_gate(two: JobStore) -> None:
    """Resumed, a blocked gate lets its jobs go at once, slowly at first; each gate for itself, and once."""
    await block(two, A, B, ms=600_000)
    (job_id,) = await submit(two, 1, route=(A,))
    await throttle_all(two)
    assert await two.gates.resume(A, ACTOR)
    gate = await mode_of(two, A)
    assert (gate.mode, gate.until_ms) == (GateMode.SLOW_START, None)
    assert [held.job_id for held in await claim(two, 5)] == [job_id]
    assert (await mode_of(two, B)).mode is GateMode.BLOCKED
    assert not await two.gates.resume(A, ACTOR)
    page = await two.audit_trail.page(None, every=True, cursor=None, limit=10)
    assert [(one.entry.a, one.entry.d.get("gate")) for one in page.entries] == [("gate.resumed", A)]


async def test_a_failing_provider_is_tested_by_one_call_after_its_block(two: JobStore) -> None:
    """The call that goes out decides; while it does, another resume lets no second one go."""
    ids = await submit(two, 2, route=(A,))
    for _ in range(3):
        await two.report(A, CallReport.FAILED)
    assert (await mode_of(two, A)).reason == "unavailable"
    await throttle_all(two)
    assert await two.gates.resume(A, ACTOR)
    assert (await mode_of(two, A)).mode is GateMode.HALF_OPEN
    (probe,) = await claim(two, 5)
    assert not await two.gates.resume(A, ACTOR)
    assert await claim(two, 5) == []
    await two.report(A, CallReport.FAILED)
    assert (await mode_of(two, A)).mode is GateMode.BLOCKED
    assert probe.job_id in ids


async def test_jobs_of_a_held_organisation_are_no_backlog(store: JobStore) -> None:
    """An operator paused it: its jobs are queued, and no worker is needed for them."""
    await submit(store, 5, organization="held")
    await settle(store, "held", paused=1)
    await claim(store, 5)
    stats = await store.queries.stats()
    assert (stats.queued, stats.backlog) == (5, 0)
    await settle(store, "held", paused=None)
    assert (await store.queries.stats()).backlog == 5
    assert await drain(store) == 5


async def test_pauses_are_in_the_audit_trail(store: JobStore) -> None:
    """Each change once, by whom."""
    for _ in range(2):
        await store.gates.pause(A, ACTOR)
        await store.gates.pause(QUEUE, ACTOR)
    await store.gates.resume(A, ACTOR)
    page = await store.audit_trail.page(None, every=True, cursor=None, limit=10)
    assert [(one.entry.a, one.entry.k, one.entry.d.get("gate")) for one in page.entries] == [
        ("gate.resumed", "test", A), ("queue.paused", "test", None), ("gate.paused", "test", A),
    ]  # fmt: skip


@pytest.mark.parametrize("configured", [0, 1])
async def test_limits_change_while_the_fleet_runs(url: str, configured: int) -> None:
    """Settled limits come before those that workers are set up with, at once, and go when they are taken back."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(A, rpm=configured)) as store:
        await submit(store, 40)
        await store.gates.limit(A, {"requests_per_minute": 1}, ACTOR)
        assert len(await claim(store, 10)) == 1
        assert await claim(store, 10) == []
        await store.gates.limit(A, {"requests_per_minute": 0, "tokens_per_minute": 5}, ACTOR)
        gate = await mode_of(store, A)
        assert (gate.requests_per_minute, gate.tokens_per_minute) == (0, 5)
        await store.gates.limit(A, {"tokens_per_minute": None}, ACTOR)
        assert len(await claim(store, 5)) == 5
        await store.gates.limit(A, {"requests_per_minute": None}, ACTOR)
        gate = await mode_of(store, A)
        assert (gate.requests_per_minute, gate.tokens_per_minute, gate.mode) == (None, None, GateMode.SLOW_START)


async def test_limits_of_an_ungated_provider_hold_too(url: str) -> None:
    """A gate without limits gets one: two jobs, one call a minute."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=Routing(chain=(A,))) as store:
        await store.gates.limit(A, {"requests_per_minute": 1}, ACTOR)
        await submit(store, 2)
        assert len(await claim(store, 2, poll=False)) == 1
        assert await claim(store, 2) == []
        await store.gates.pause(A, ACTOR)
        await store.gates.limit(A, {"requests_per_minute": None}, ACTOR)
        assert await claim(store, 2) == []
        await store.gates.resume(A, ACTOR)
        assert len(await claim(store, 2)) == 1
