"""Jobs whose worker was lost: how they are found, and when they are given up."""

from __future__ import annotations

from shared.job import Claim
from shared.store.calls import LOSSES_MAX
from shared.store.job_store import JobStore
from tests.support.checks import RawRedis
from tests.support.store import (
    breaches,
    claim,
    claim_one,
    complete,
    drain,
    error_of,
    lose,
    make_stale,
    status_of,
    submit,
)


async def test_the_fourth_loss_of_a_worker_fails_the_job(store: JobStore, raw: RawRedis) -> None:
    """A job that kills each worker ends as WorkerLost; its 49 neighbours all complete (I7)."""
    ids = await submit(store, 50)
    poison = ids[7]
    for life in range(1 + LOSSES_MAX):
        worker = f"w{life}"
        held: list[Claim] = []
        while poison not in {one.job_id for one in held}:
            found = await claim(store, 50, worker, suspect=not any(one.suspect for one in held))
            assert sum(one.suspect for one in [*held, *found]) <= 1
            for one in found:
                if one.suspect and one.job_id != poison:
                    await complete(store, one)
                else:
                    held.append(one)
        await lose(store, raw, *held)
    await drain(store)
    assert await error_of(store, poison) == "WorkerLost"
    assert {await status_of(store, job_id) for job_id in ids if job_id != poison} == {"completed"}
    assert await breaches(store, raw, ids) == []


async def test_only_the_suspect_counts_when_its_worker_is_lost(store: JobStore, raw: RawRedis) -> None:
    """Jobs that happened to run beside a suspect are not suspects afterwards."""
    first = await claim_one(store)
    await lose(store, raw, first)
    await submit(store, 3)
    held = await claim(store, 10, "w2")
    await lose(store, raw, *held)
    assert sorted(one.suspect for one in await claim(store, 10, "w3")) == [False, False, False, True]


async def test_a_worker_never_recovers_what_it_holds(store: JobStore, raw: RawRedis) -> None:
    """Stale leases of the asking worker itself stay its own."""
    held = await claim_one(store)
    await make_stale(raw, held)
    assert (await store.upkeep.recover("w1", [held.token])).requeued == 0
    await complete(store, held)


async def test_recovery_takes_thousands_in_bounded_calls(store: JobStore, raw: RawRedis) -> None:
    """One call takes 64; it says that more are stale now, and repeated it takes all."""
    await submit(store, 300)
    held = await claim(store, 300)
    await make_stale(raw, *held)
    calls, taken = 0, 0
    while taken < 300:
        recovered = await store.upkeep.recover("w2", [])
        taken += recovered.requeued
        calls += 1
        assert recovered.requeued <= 64
        assert taken == 300 or recovered.next_ms == 0
    assert calls == 5
