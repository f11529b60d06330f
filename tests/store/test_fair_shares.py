"""Starts are shared out between organisations, whatever each of them has waiting (I11)."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from shared.job import RetryReason
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.organizations import OrganizationSettings
from shared.store.transitions import Requeue
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.organization_counts import miscounted
from tests.support.slots import Slots
from tests.support.store import ERROR, KEYS, claim, complete, drain, settle, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.mark.parametrize("slots", [1, 16])
async def test_ten_equal_organisations_get_equal_shares(store: JobStore, slots: int) -> None:
    """Each has a backlog, one of them of high jobs only: their starts are within 5 % of the mean."""
    for number in range(10):
        await submit(store, 60, "high" if number == 0 else "normal", organization=f"org-{number}")
    starts = await Slots(store, slots).run(400)
    assert len(starts) == 10
    assert max(starts.values()) <= 42
    assert min(starts.values()) >= 38


@pytest.mark.parametrize("slots", [16, 24])
async def test_slots_that_get_free_together_are_shared_too(store: JobStore, slots: int) -> None:
    """The rest that ten organisations cannot share equally goes to others in each round."""
    for number in range(10):
        await submit(store, 60, organization=f"org-{number}")
    starts: Counter[str] = Counter()
    for _ in range(10):
        started = await claim(store, slots, poll=False)
        starts.update(held.spec.organization_id for held in started)
        await asyncio.gather(*(complete(store, held) for held in started))
    assert starts.total() == 10 * slots
    assert set(starts.values()) == {slots}


@pytest.mark.parametrize("slots", [1, 2, 16])
async def test_starts_follow_the_weights(store: JobStore, slots: int) -> None:
    """Three to one, within 10 %, also when slots get free one by one."""
    await settle(store, "heavy", weight=3)
    for name in ("heavy", "light"):
        await submit(store, 400, organization=name)
    starts = await Slots(store, slots).run(400)
    assert 2.7 <= starts["heavy"] / starts["light"] <= 3.3


@pytest.mark.parametrize("slots", [1, 4, 16])
async def test_a_lone_job_starts_within_two_job_times(store: JobStore, slots: int) -> None:
    """Beside 2,000 high jobs of another organisation, of which many were delayed, retried and lost."""
    await submit(store, 2_000, "high", organization="flood")
    flood = Slots(store, slots)
    await flood.run(20)
    for _ in range(3):
        (job_id,) = await submit(store, organization="lone")
        await flood.run(2 * slots)
        assert "lone" in flood.starts[-2 * slots :]
        assert job_id


async def test_one_organisation_alone_uses_all_slots(store: JobStore, raw: RawRedis) -> None:
    """A claim takes as many of its jobs as there are slots, and leaves one in the line."""
    ids = await submit(store, 120)
    assert len(await claim(store, 50)) == 50
    assert len(await claim(store, 50, "w2")) == 50
    assert await raw("XLEN", KEYS.fixed("line")) == 101
    assert await miscounted(raw, ids) == []


async def test_slots_that_others_leave_are_used(store: JobStore) -> None:
    """Two organisations wait, one with few jobs: no slot stays free, and the rest is for the other."""
    await submit(store, 100, organization="many")
    await submit(store, 10, organization="few")
    shares = Counter(held.spec.organization_id for held in await claim(store, 50))
    assert shares == {"many": 40, "few": 10}


async def test_shares_leave_no_slot_free(url: str) -> None:
    """Two organisations may hold a tenth of the slots each: no slot stays free, and the rest is shared between them."""
    async with open_store(StoreSettings(redis_url=url, slot_share=10), client_name="t") as store:
        for name in ("a", "b"):
            await submit(store, 100, organization=name)
        shares = Counter(held.spec.organization_id for held in await claim(store, 50))
        assert shares.total() == 50
        assert min(shares.values()) >= 20


async def test_long_jobs_hold_no_more_than_their_share_of_the_slots(store: JobStore) -> None:
    """One has half of the running jobs, which never end: it starts none while the other has any."""
    await submit(store, 100, organization="long")
    held = await claim(store, 8)
    await submit(store, 20, organization="short")
    for other in held[4:]:
        await complete(store, other)
    for _ in range(12):
        found = await claim(store, 4)
        assert Counter(one.spec.organization_id for one in found)["long"] == 0
        for one in found:
            await complete(store, one)
        if not found:
            break
        if (await store.organizations.stats("short")).queued == 0:
            break
    assert [one.spec.organization_id for one in await claim(store, 4)] == ["long"] * 4


async def test_a_cap_holds_and_an_end_lets_the_next_in(store: JobStore, raw: RawRedis) -> None:
    """At most three run at once, beside others that are not concerned; an end wakes a worker for the fourth."""
    await settle(store, "capped", running_jobs=3)
    ids = await submit(store, 10, organization="capped")
    held = await claim(store, 50)
    assert len(held) == 3
    await raw("DEL", KEYS.fixed("wake"))
    assert await claim(store, 50, "w2") == []
    ids += await submit(store, 2, organization="other")
    assert {one.spec.organization_id for one in await claim(store, 50, "w2")} == {"other"}
    await raw("DEL", KEYS.fixed("wake"))
    await complete(store, held[0])
    assert await raw("ZSCORE", KEYS.fixed("wake"), "job") is not None
    assert len(await claim(store, 50, "w2")) == 1
    assert await miscounted(raw, ids) == []
    await settle(store, "capped", running_jobs=None)
    assert len(await claim(store, 50, "w3")) == 6
    assert await breaches(store, raw, ids) == []


async def test_a_retry_frees_the_place_below_a_cap(store: JobStore, raw: RawRedis) -> None:
    """A job that goes back makes room as one that ends does."""
    await settle(store, "capped", running_jobs=1)
    ids = await submit(store, 3, organization="capped")
    (held,) = await claim(store, 50)
    await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=60_000, refund=False, error=ERROR))
    await store.maintenance.promote()
    assert len(await claim(store, 50)) == 1
    assert await breaches(store, raw, ids) == []


async def test_a_paused_organisation_waits_and_goes_on(store: JobStore, raw: RawRedis) -> None:
    """Nothing of it starts, its running job ends, others run; then it goes on in its order."""
    ids = await submit(store, 5, organization="paused")
    (running,) = await claim(store, 1)
    await settle(store, "paused", paused=1)
    other = await submit(store, 1, organization="other")
    assert [held.job_id for held in await claim(store, 50, "w2")] == other
    assert await claim(store, 50, "w2") == []
    await complete(store, running)
    assert await claim(store, 50, "w2") == []
    assert await miscounted(raw, [*ids, *other]) == []
    await settle(store, "paused", paused=None)
    assert [held.job_id for held in await claim(store, 50, "w2")] == ids[1:]
    assert await breaches(store, raw, [*ids, *other]) == []


async def test_the_audit_corrects_what_is_counted(store: JobStore, raw: RawRedis) -> None:
    """Wrong or missing counts, and a backlog without an entry in the line: one audit repairs them; all jobs run."""
    ids = await submit(store, 5, organization="a") + await submit(store, 5, organization="b")
    held = await claim(store, 3)
    await raw("HDEL", KEYS.fixed("organizations"), "a")
    await raw("HINCRBY", KEYS.fixed("organizations"), "b", (7 << 27) + (9 << 43))
    for entry_id, fields in await raw("XRANGE", KEYS.fixed("line"), "-", "+"):
        if fields[1].decode() not in {one.job_id for one in held}:
            await raw("XDEL", KEYS.fixed("line"), entry_id)
            await raw("HSET", KEYS.job(fields[1].decode()), "entry", "b")
            await raw("ZADD", KEYS.prefix("backlog") + fields[3].decode(), 1, fields[1])
    assert (await store.maintenance.audit("w")).ran
    kib = [line for line in await miscounted(raw, ids) if "'kib'" not in line]
    assert kib == []
    for one in held:
        await complete(store, one)
    assert await drain(store) == 7
    assert await breaches(store, raw, ids) == []


async def test_an_organisation_is_counted_for_itself(store: JobStore) -> None:
    """Waiting, delayed, running and ended jobs of one beside another, before and after the ledger was folded (I3)."""
    await submit(store, 600, organization="a")
    await submit(store, 2, organization="a", delay_ms=60_000)
    await submit(store, 7, organization="b")
    ends = 0
    while ends < 560:
        for held in await claim(store, 20):
            await complete(store, held)
            ends += held.spec.organization_id == "a"
    (running,) = await claim(store, 1)
    stats = await store.organizations.stats("a")
    assert (stats.queued, stats.processing, stats.delayed) == (602 - ends - 1, 1, 2)
    assert (stats.completed, running.spec.organization_id) == (ends, "a")
    assert (await store.organizations.stats("b")).completed == 7
    assert (await store.organizations.stats("nobody")).queued == 0


async def test_defaults_hold_for_all_and_policies_for_one(url: str) -> None:
    """A fleet-wide cap, whose next job is let in by an end, and an organisation without one."""
    settings = StoreSettings(redis_url=url, organization_running_jobs=2)
    async with open_store(settings, client_name="t") as store:
        await settle(store, "free", running_jobs=0)
        for name in ("free", "a"):
            await submit(store, 10, organization=name)
        started = await claim(store, 50)
        assert Counter(held.spec.organization_id for held in started) == {"free": 10, "a": 2}
        await complete(store, next(held for held in started if held.spec.organization_id == "a"))
        assert [held.spec.organization_id for held in await claim(store, 50)] == ["a"]
        assert await store.organizations.read("free") == OrganizationSettings(running_jobs=0)
