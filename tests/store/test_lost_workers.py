"""Jobs whose worker was lost: how they are found, how far they are isolated, and when they are given up (I6, I7)."""

from __future__ import annotations

import asyncio

import pytest

from shared.job import Claim, JobStatus
from shared.settings import StoreSettings
from shared.store.engine.constants import LOSSES_MAX
from shared.store.job_store import JobStore, open_store
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.store import KEYS, claim, claim_one, complete, drain, error_of, lose, make_stale, status_of, submit


async def _losses(raw: RawRedis, job_id: str) -> int:
    return int(await raw("HGET", KEYS.job(job_id), "losses") or 0)


async def _lost_often(store: JobStore, raw: RawRedis, times: int) -> str:
    """A job that lost so many workers."""
    (job_id,) = await submit(store)
    (held,) = await claim(store, 1, f"last-of-{job_id}", poll=False)
    await raw("HSET", KEYS.job(job_id), "losses", times - 1)
    await lose(store, raw, held)
    return job_id


class Fleet:
    """Workers of 50 slots that claim as the real one does, in which some jobs are poison: a worker that holds one dies
    of it."""

    def __init__(self, store: JobStore, raw: RawRedis, poison: set[str]) -> None:
        self.store, self.raw, self.poison = store, raw, poison
        self.deaths = 0

    async def live_once(self) -> bool:
        """One worker's life: it fills its slots, and dies or completes all. False: there was nothing for it."""
        name = f"w{self.deaths}"
        held: list[Claim] = []
        while len(held) < 50 and not any(one.isolated for one in held):
            room = 6 - sum(one.suspect for one in held)
            found = await self.store.claim(name, 50 - len(held), poll=True, suspect=room, alone=not held)
            held += found.claims
            assert sum(one.suspect for one in held) <= 6
            assert len(held) == 1 or not any(one.isolated for one in held)
            if not found.claims and not found.more:
                break
        if any(one.job_id in self.poison for one in held):
            self.deaths += 1
            await make_stale(self.raw, *held)
            while (await self.store.maintenance.recover("finder", [])).next_ms == 0:
                pass
        else:
            for one in held:
                await complete(self.store, one)
        return bool(held)


@pytest.mark.parametrize("poisonous", [1, 4])
async def test_poison_fails_and_its_neighbours_complete(store: JobStore, raw: RawRedis, poisonous: int) -> None:
    """Jobs that kill each worker end as WorkerLost after four counted losses; no innocent one fails (I7)."""
    ids = await submit(store, 50)
    poison = set(ids[7 : 7 + 9 * poisonous : 9])
    await store.maintenance.recover("finder", [])
    fleet = Fleet(store, raw, poison)
    while await fleet.live_once():
        pass
    assert {await error_of(store, job_id) for job_id in poison} == {"WorkerLost"}
    assert {await status_of(store, job_id) for job_id in ids if job_id not in poison} == {JobStatus.COMPLETED}
    assert fleet.deaths <= 4 * poisonous
    assert poisonous > 1 or fleet.deaths == 1 + LOSSES_MAX
    assert await breaches(store, raw, ids) == []


async def test_a_first_loss_is_taken_over_at_full_width(store: JobStore, raw: RawRedis) -> None:
    """All forty jobs of a dead worker run again at once, in one worker, none of them a suspect; `high` comes first."""
    low = await submit(store, 36, "low")
    high = await submit(store, 4, "high")
    await lose(store, raw, *await claim(store, 40, "gone"))
    again = await claim(store, 50, "w2", poll=False, suspect=False)
    assert {one.job_id for one in again} == {*low, *high}
    assert {one.job_id for one in again[:5]} > set(high)  # behind the one that stood in the line
    assert not any(one.suspect for one in again)


async def test_only_suspects_count_when_their_worker_is_lost(store: JobStore, raw: RawRedis) -> None:
    """Two suspects in one worker both count; a job lost once and an innocent one beside them do not."""
    suspects = [await _lost_often(store, raw, 2) for _ in range(2)]
    once = await _lost_often(store, raw, 1)
    (innocent,) = await submit(store, 1)
    held = await claim(store, 50, "w2", suspect=6)
    assert len(held) == 4
    await lose(store, raw, *held)
    assert [await _losses(raw, job_id) for job_id in (*suspects, once, innocent)] == [3, 3, 1, 0]


async def test_jobs_of_a_later_call_are_as_innocent(store: JobStore, raw: RawRedis) -> None:
    """A worker of two hundred jobs dies with a suspect: calls after the one that took it count no innocent either."""
    suspect = await _lost_often(store, raw, 2)
    ids = await submit(store, 200)
    held = await claim(store, 201, "w2")
    assert len(held) == 201
    await make_stale(raw, *held)
    while (found := await store.maintenance.recover("finder", [])).requeued:
        assert found.requeued <= 64
    assert await _losses(raw, suspect) == 3
    assert {await _losses(raw, job_id) for job_id in ids} == {0}


async def test_several_workers_recover_one_dead_one(store: JobStore, raw: RawRedis) -> None:
    """Two that recover in turns recover each job once, and count alike."""
    suspect = await _lost_often(store, raw, 2)
    ids = await submit(store, 100)
    await make_stale(raw, *await claim(store, 101, "w2"))
    requeued = 0
    async with open_store(store.settings, client_name="other") as other:
        await other.renew("f1", [])
        for i in range(4):
            await raw("DEL", KEYS.fixed("recoverer"))
            requeued += (await (store, other)[i % 2].maintenance.recover(f"f{i % 2}", [])).requeued
    assert requeued == 101
    assert (await _losses(raw, suspect), {await _losses(raw, job_id) for job_id in ids}) == (3, {0})
    assert await breaches(store, raw, [suspect, *ids]) == []


async def test_a_job_lost_three_times_runs_alone(store: JobStore, raw: RawRedis) -> None:
    """Only a worker that holds nothing gets it, and nothing with it; the wake-up of that worker is left to the
    others."""
    isolated = await _lost_often(store, raw, 3)
    (other,) = await submit(store)
    (beside,) = await claim(store, 50, "w1", suspect=6, alone=False)
    assert beside.job_id == other
    await submit(store)
    (alone,) = await claim(store, 50, "w2", suspect=6, alone=True)
    assert (alone.job_id, alone.isolated, alone.suspect) == (isolated, True, True)
    assert (await store.wait_for_work(1000)).value
    assert len(await claim(store, 50, "w3", suspect=6, alone=True)) == 1


async def test_a_high_job_is_next_although_isolated_ones_wait(store: JobStore, raw: RawRedis) -> None:
    """A worker that takes one job at a time: a high one is among the next two (I8)."""
    for _ in range(4):
        await _lost_often(store, raw, 3)
    for _ in range(2):
        (high,) = await submit(store, 1, "high")
        order = []
        for _ in range(2):
            (held,) = await claim(store, 1, "w1", alone=True)
            order.append(held.job_id)
            await complete(store, held)
        assert high in order


async def test_suspects_leave_room_for_others(store: JobStore, raw: RawRedis) -> None:
    """They take half of the free slots at most."""
    for _ in range(4):
        await _lost_often(store, raw, 2)
    (high,) = await submit(store, 1, "high")
    assert high in [one.job_id for one in await claim(store, 2, "w1", suspect=6)]


async def test_a_suspect_of_the_release_before_is_taken_over(store: JobStore, raw: RawRedis) -> None:
    """A job that lost one worker and waits among the suspects runs, and counts as one if it is lost."""
    job_id = await _lost_often(store, raw, 2)
    await raw("HSET", KEYS.job(job_id), "losses", 1)
    await raw("HSET", KEYS.fixed("suspects"), "old-worker", "s1-1")
    (held,) = await claim(store, 50, "w1")
    assert (held.token[0], held.suspect) == ("s", False)
    await lose(store, raw, held)
    assert await _losses(raw, job_id) == 2


async def test_workers_that_died_with_suspects_are_forgotten(store: JobStore, raw: RawRedis) -> None:
    """`suspects` grows only while workers die, and the audit empties it."""
    await _lost_often(store, raw, 2)
    await lose(store, raw, *await claim(store, 50, "w1"))
    assert await raw("HLEN", KEYS.fixed("suspects")) == 1
    store._calls.scripts._constants = {**store._calls.scripts._constants, "consumer_idle_ms": -1}
    await store.maintenance.audit("w2")
    assert await raw("HLEN", KEYS.fixed("suspects")) == 0


async def test_a_worker_never_recovers_what_it_holds(store: JobStore, raw: RawRedis) -> None:
    """Stale leases of the asking worker itself stay its own."""
    held = await claim_one(store)
    await make_stale(raw, held)
    assert (await store.maintenance.recover("w1", [held.token])).requeued == 0
    await complete(store, held)


async def test_recovery_takes_thousands_in_bounded_calls(store: JobStore, raw: RawRedis) -> None:
    """One call takes 64; it says that more are stale now, and repeated it takes all."""
    await submit(store, 300)
    held = await claim(store, 300)
    await make_stale(raw, *held)
    calls, taken = 0, 0
    while taken < 300:
        recovered = await store.maintenance.recover("w2", [])
        taken += recovered.requeued
        calls += 1
        assert recovered.requeued <= 64
        assert taken == 300 or recovered.next_ms == 0
    assert calls == 5


@pytest.mark.parametrize("url", ["valkey"], indirect=True)
async def test_one_worker_polls_for_all_and_is_replaced(url: str, raw: RawRedis) -> None:
    """The others make one write and read one key; another one recovers two thirds of a lease later."""
    settings = StoreSettings(redis_url=url, lease_seconds=1.0)
    async with open_store(settings, client_name="first") as first, open_store(settings, client_name="other") as other:
        (held,) = await _claimed_by(first, "gone")
        for store, name in ((first, "a"), (other, "b")):
            await store.renew(name, [])
        assert (await first.maintenance.recover("a", [])).isolated == 0
        await make_stale(raw, held)
        refused = await other.maintenance.recover("b", [])
        assert (refused.requeued, refused.isolated, refused.unfinished) == (0, None, True)
        async with asyncio.timeout(30):
            while not (await other.maintenance.recover("b", [])).requeued:
                await asyncio.sleep(0.05)
        assert await drain(other) == 1


async def _claimed_by(store: JobStore, consumer: str) -> list[Claim]:
    await submit(store)
    return await claim(store, 1, consumer)


async def test_a_keeper_from_a_clock_that_went_back_is_none(store: JobStore, raw: RawRedis) -> None:
    """The server's clock stepped back by an hour: no worker waits for the one that recovered before."""
    held = await claim_one(store)
    await raw("SET", KEYS.fixed("recoverer"), "dead 99999999999999")
    await lose(store, raw, held)
    assert await _losses(raw, held.job_id) == 1
