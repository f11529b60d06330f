"""Throttled jobs of the commit before stood in one set for each chain: they are taken over and go on."""

from __future__ import annotations

from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, free, routing, throttle_all
from tests.support.store import KEYS, claim, complete, drain, error_of, make_overdue, status_of, submit

RANKS, WIDTH = {"high": 0, "normal": 1, "low": 2}, 3 * 10**15


async def _as_before(raw: RawRedis, job_id: str, chain: str, priority: str = "normal") -> None:
    """Move a throttled job to where the commit before kept it."""
    names = (await raw("HGET", KEYS.job(job_id), "entry")).decode()[1:]
    age = 0
    for name in names.split():
        age = int(await raw("ZSCORE", KEYS.prefix("throttled") + f"{name} org", job_id)) % WIDTH
        await raw("ZREM", KEYS.prefix("throttled") + f"{name} org", job_id)
    await raw("ZADD", KEYS.prefix("chain_set") + chain, RANKS[priority] * WIDTH + age, job_id)
    await raw("HSET", KEYS.job(job_id), "entry", f"p{chain}")
    await raw("HSET", KEYS.fixed("gates"), f"@{chain}", "99999999999999 3")


async def _plant(store: JobStore, raw: RawRedis) -> list[str]:
    """Jobs of the fleet's chain and of two of their own, as the commit before throttled them."""
    await block(store, A, B)
    fleet = await submit(store, 70)
    own = [*await submit(store, 2, "low", route=(B,)), *await submit(store, 2, "high", route=(B, A))]
    await throttle_all(store)
    # Gates were written with nine numbers.
    for gate in (A, B):
        state = (await raw("HGET", KEYS.fixed("gates"), gate)).decode().split()
        await raw("HSET", KEYS.fixed("gates"), gate, " ".join(state[:9]))
    await raw("HDEL", KEYS.fixed("gates"), "@*")
    for job_id in fleet:
        await _as_before(raw, job_id, f"{A} {B}")
    for job_id in own[:2]:
        await _as_before(raw, job_id, B, "low")
    for job_id in own[2:]:
        await _as_before(raw, job_id, f"{B} {A}", "high")
    return [*fleet, *own]


async def _promote_all(store: JobStore) -> None:
    while (await store.maintenance.promote()).next_ms == 0:
        pass


async def test_they_are_moved_and_run_in_order(two: JobStore, raw: RawRedis) -> None:
    """The first promotions move all of them, the fleet's into its queue, the others into those of their gates; a cancel
    finds them before and after; then they run, high first."""
    ids = await _plant(two, raw)
    assert (await two.cancel(ids[0])).state == "cancelled"
    assert await raw("ZSCORE", KEYS.prefix("chain_set") + f"{A} {B}", ids[0]) is None
    await _promote_all(two)
    assert await raw("KEYS", f"{KEYS.prefix('chain_set')}*") == []
    assert [name for name in await raw("HKEYS", KEYS.fixed("gates")) if name.startswith(b"@")] in (
        [b"@*"], [b"@*", b"@"], [b"@", b"@*"],
    )  # fmt: skip
    assert await breaches(two, raw, ids) == []
    assert (await two.cancel(ids[1])).state == "cancelled"
    await free(raw, B)
    first = await claim(two, 2)
    assert [held.job_id for held in first] == ids[-2:]
    for held in first:
        await complete(two, held)
    await free(raw, A, B)
    while (await two.queries.stats()).queued:
        await drain(two)
    assert await breaches(two, raw, ids) == []


async def test_their_deadlines_hold_before_they_are_moved(one: JobStore, raw: RawRedis) -> None:
    """Overdue in the old set: ended there."""
    await block(one, A)
    (job_id,) = await submit(one)
    await throttle_all(one)
    await _as_before(raw, job_id, A)
    await make_overdue(raw, job_id)
    await _promote_all(one)
    assert await error_of(one, job_id) == "DeadlineExceeded"
    assert await raw("KEYS", f"{KEYS.prefix('chain_set')}*") == []
    assert await breaches(one, raw, [job_id]) == []


async def test_the_audit_finds_those_that_nobody_lists(one: JobStore, raw: RawRedis) -> None:
    """A set of before without its mark, and a queue of today that lost a job."""
    await block(one, A)
    before, today = [*await submit(one), *await submit(one, route=(A,))]
    await throttle_all(one)
    await _as_before(raw, before, A)
    await raw("HDEL", KEYS.fixed("gates"), f"@{A}")
    await raw("ZREM", KEYS.prefix("throttled") + f"{A} org", today)
    assert (await one.maintenance.audit("w")).requeued == 1
    await _promote_all(one)
    assert await breaches(one, raw, [before, today]) == []
    assert {await status_of(one, job_id) for job_id in (before, today)} == {"queued"}


async def test_a_worker_of_before_may_run_beside(url: str, raw: RawRedis) -> None:
    """It writes a gate with fewer numbers, and drops unknown fields of queues: no job is forgotten."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(A)) as store:
        await block(store, A)
        ids = await submit(store, 3, route=(A,))
        await throttle_all(store)
        await raw("HSET", KEYS.fixed("gates"), A, "0 0 0 0 1 1 0 0 0")
        await raw("HDEL", KEYS.fixed("gates"), "@*", "@")
        assert [held.job_id for held in await claim(store)][:1] == ids[:1]
