"""The reason why a queued job waits: one for every place where it may be."""

from __future__ import annotations

import pytest

from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport, Waiting, WaitReason
from tests.support.budgets import CALL, priced
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, routing, throttle_all
from tests.support.store import claim, claim_one, complete, settle, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


async def waiting(store: JobStore, job_id: str) -> Waiting:
    """The reason of a job that waits."""
    found = await store.queries.waiting(job_id)
    assert found is not None
    return found


async def test_jobs_that_wait_for_slots_know_how_many_go_first(store: JobStore) -> None:
    """Exact in each organisation, whatever others have: by priority, then age, those in the line first."""
    ids = await submit(store, 32)
    (urgent,) = await submit(store, priority="high")
    await submit(store, 50, organization="other")
    found = [await waiting(store, job_id) for job_id in (*ids, urgent)]
    assert [one.ahead for one in found] == [0, *range(2, 33), 1]
    assert {one.reason for one in found} == {WaitReason.QUEUED}
    await complete(store, (await claim(store, 1))[0])
    assert (await waiting(store, ids[-1])).ahead == 31


async def test_places_in_the_line_are_exact(store: JobStore) -> None:
    """An organisation of weight 4 has four entries in the line among those of others."""
    await settle(store, "heavy", weight=4)
    ids = []
    for number in range(6):
        ids += await submit(store, organization="heavy")
        await submit(store, organization=f"other-{number}")
    assert [(await waiting(store, job_id)).ahead for job_id in ids] == list(range(6))


async def test_a_job_that_runs_or_is_not_there_does_not_wait(store: JobStore) -> None:
    """Nothing is answered for it."""
    held = await claim_one(store)
    assert await store.queries.waiting(held.job_id) is None
    assert await store.queries.waiting("ai-job-1737465123456-0bc123def") is None


async def test_a_delayed_job_says_when_it_is_due(store: JobStore) -> None:
    """To the millisecond, as its record says."""
    (job_id,) = await submit(store, delay_ms=60_000)
    job = await store.status(job_id)
    assert job is not None
    assert await waiting(store, job_id) == Waiting(reason=WaitReason.DELAYED, until_ms=job.next_attempt_ms)


async def test_a_job_behind_a_blocked_gate_says_which_and_until_when(two: JobStore) -> None:
    """Of a chain of two the gate that is available first; a second job has one of its organisation before it."""
    ids = await submit(two, 2)
    await block(two, A, ms=300_000)
    await block(two, B, ms=120_000)
    await throttle_all(two)
    gates = {f"{gate.provider}:{gate.model}": gate for gate in await two.queries.gates()}
    now = int((await two._reads.execute("TIME"))[0]) * 1000
    for ahead, job_id in enumerate(ids):
        found = await waiting(two, job_id)
        assert (found.reason, found.gate, found.ahead) == (WaitReason.RATE_LIMITED, B, ahead)
        assert found.until_ms is not None
        assert abs(found.until_ms - now - gates[B].blocked_ms) < 5_000


async def test_a_job_behind_a_failing_provider_says_so(one: JobStore) -> None:
    """Three failures in a row block the gate; the job that waits for it names it."""
    (job_id,) = await submit(one)
    for _ in range(3):
        await one.report(A, CallReport.FAILED)
    await throttle_all(one)
    found = await waiting(one, job_id)
    assert (found.reason, found.gate, found.ahead) == (WaitReason.PROVIDER_DOWN, A, 0)


async def test_a_job_behind_the_limits_of_a_gate_says_when_it_has_room(url: str) -> None:
    """One call a minute, and it was made: the next may pass after about a minute."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(A, rpm=1)) as store:
        _, job_id = await submit(store, 2)
        await claim(store, 2)
        found = await waiting(store, job_id)
    assert (found.reason, found.gate, found.ahead) == (WaitReason.RATE_LIMITED, A, 0)
    assert found.until_ms is not None


@pytest.mark.parametrize(
    ("policy", "reason"),
    [({"paused": 1}, WaitReason.PAUSED), ({"running_jobs": 1}, WaitReason.ORGANIZATION_LIMIT)],
    ids=["paused", "capped"],
)
async def test_jobs_of_a_held_organisation_say_why(store: JobStore, policy: dict[str, int], reason: WaitReason) -> None:
    """Paused by an operator, or at its cap of running jobs; those of others wait for slots."""
    ids = await submit(store, 4, organization="held")
    await settle(store, "held", **policy)
    await claim(store, 1)
    found = [await store.queries.waiting(job_id) for job_id in ids]
    assert {one.reason for one in found if one} == {reason}
    (other,) = await submit(store, organization="other")
    assert await waiting(store, other) == Waiting(reason=WaitReason.QUEUED, ahead=0)


async def test_jobs_of_an_organisation_with_a_budget_say_why(url: str) -> None:
    """Those that wait for a slot as all others do, and those that wait for the budget to have room."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=priced(A)) as store:
        await settle(store, "held", day_nano_usd=CALL)
        ids = await submit(store, 3, organization="held")
        assert (await waiting(store, ids[0])).reason is WaitReason.QUEUED
        assert len(await claim(store, 3)) == 1
        assert {(await waiting(store, job_id)).reason for job_id in ids[1:]} == {WaitReason.BUDGET}


async def test_an_organisation_at_its_share_waits_for_others(store: JobStore) -> None:
    """It runs four jobs, which is more than half of all, while another waits: its next one says so, the other's not."""
    ids = await submit(store, 6, organization="many")
    assert len(await claim(store, 4)) == 4
    (other,) = await submit(store, organization="other")
    assert (await waiting(store, ids[-1])).reason is WaitReason.FAIR_SHARE
    assert (await waiting(store, other)).reason is WaitReason.QUEUED


async def test_it_writes_nothing(store: JobStore, raw: RawRedis) -> None:
    """A reading call: it answers while the server takes no writes."""
    ids = await submit(store, 3)
    await raw("CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        assert (await waiting(store, ids[-1])).ahead == 2
    finally:
        await raw("CONFIG", "SET", "min-replicas-to-write", 0)
