"""Writes that are refused while jobs are throttled: an answer at once, nothing lost, and limits that hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shared.errors import StoreUnavailable
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, free, reroute, routing, throttle_all
from tests.support.store import KEYS, claim, complete, drain, error_of, make_overdue, new_job, submit

ANSWER_S = 30.0
"""A refusal takes less than a millisecond; a loop that waits for a write to pass never ends."""


@pytest.fixture
async def without_replicas(raw: RawRedis) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """From the call on the server refuses writes, because it has too few replicas; after the test it does not."""

    async def refuse() -> None:
        await raw("CONFIG", "SET", "min-replicas-to-write", 1)

    yield refuse
    await raw("CONFIG", "SET", "min-replicas-to-write", 0)


async def test_every_script_answers_a_refusal_and_goes_on_afterwards(
    two: JobStore, raw: RawRedis, without_replicas: Callable[[], Awaitable[None]]
) -> None:
    """Jobs wait that could go, that are due and that are overdue: each call is refused in time, and with writes back
    every job comes to its end."""
    ids = await submit(two, 2)
    held = await claim(two, 2)
    await block(two, A, B)
    ids += [*await submit(two, 20, route=(A,)), *await submit(two, 23)]
    await throttle_all(two)
    await make_overdue(raw, *ids[42:45])
    ids += await submit(two, 1, delay_ms=1)
    await free(raw, A, B)
    await without_replicas()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: two.claim("w", 10, poll=True, suspect=True), lambda: two.claim("w", 10, poll=False, suspect=True),
        lambda: two.claim("w", 10, poll=True, suspect=True, known=[]), two.maintenance.promote,
        lambda: two.maintenance.promote(heads=True), lambda: two.submit(new_job()),
        lambda: two.report(A, CallReport.OK), lambda: reroute(two, held[0], CallReport.LIMITED),
    ]  # fmt: skip
    for call in calls:
        async with asyncio.timeout(ANSWER_S):
            with pytest.raises(StoreUnavailable, match="NOREPLICAS"):
                await call()
    await raw("CONFIG", "SET", "min-replicas-to-write", 0)
    assert await breaches(two, raw, ids) == []
    for one in held:
        await complete(two, one)
    while (await two.queries.stats()).queued:
        await drain(two)
    assert [await error_of(two, job_id) for job_id in ids[42:45]] == ["DeadlineExceeded"] * 3
    assert await breaches(two, raw, ids) == []


async def test_a_full_server_lets_throttled_jobs_go_and_ends_overdue_ones(two: JobStore, raw: RawRedis) -> None:
    """At maxmemory a gate's report, a release, a claim and an end pass: only submit needs memory."""
    await block(two, A, B)
    ids = await submit(two, 6)
    await throttle_all(two)
    await make_overdue(raw, *ids[4:])
    await free(raw, A)
    await raw("CONFIG", "SET", "maxmemory", 1)
    assert (await two.maintenance.promote()).promoted == 2
    for held in await claim(two):
        await two.report(held.gate, CallReport.NONE, tokens=1)
        await complete(two, held)
    await raw("CONFIG", "SET", "maxmemory", 0)
    stats = await two.queries.stats()
    assert (stats.completed, stats.failed, stats.queued) == (4, 2, 0)
    assert await breaches(two, raw, ids) == []


async def test_what_was_reserved_stays_reserved_when_the_rest_of_the_claim_fails(url: str, raw: RawRedis) -> None:
    """A claim lets a job go and then meets a stream that is none: the job's share of the limit is not given twice."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(A, rpm=6)) as store:
        await block(store, A)
        await submit(store, 3)
        await throttle_all(store)
        await free(raw, A)
        await raw("DEL", KEYS.fixed("high"))
        await raw("SET", KEYS.fixed("high"), "no stream")
        with pytest.raises(StoreUnavailable):
            await store.claim("w", 20, poll=True, suspect=True)
        await raw("DEL", KEYS.fixed("high"))
        starts = len(await claim(store)) + len(await claim(store)) + len(await claim(store))
        # One share, and the second that a late call may catch up.
        assert starts <= 2


@pytest.mark.parametrize("limit", [5_000, 20_000])
async def test_a_caller_may_ask_for_any_number(two: JobStore, limit: int) -> None:
    """More than Lua can unpack: a part comes, and the rest is announced."""
    await submit(two, 40)
    assert len((await two.claim("w", limit, poll=True, suspect=True)).claims) <= 40
