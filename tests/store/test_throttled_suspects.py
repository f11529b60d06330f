"""Jobs that lost workers, at gates without room: isolation, limits, cancels and deadlines at once (I1, I7)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import WakeUp
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, free, routing, throttle_all
from tests.support.store import KEYS, claim, drain, error_of, lose, make_overdue, status_of, submit, unblock_gate

REQUESTS = 6
"""Place of `requests` in the state of a gate."""


async def _lost(store: JobStore, raw: RawRedis, times: int, **more: Any) -> str:
    """A job that lost so many workers, and waits."""
    (job_id,) = await submit(store, **more)
    (held,) = await claim(store, 1, f"last-of-{job_id}", poll=False)
    await raw("HSET", KEYS.job(job_id), "losses", times - 1)
    await lose(store, raw, held)
    return job_id


async def _age_pass(raw: RawRedis, job_id: str) -> None:
    """Half a minute passes since a gate let the job go."""
    gate, at, *rest = (await raw("HGET", KEYS.job(job_id), "pass")).decode().split(" ")
    await raw("HSET", KEYS.job(job_id), "pass", " ".join([gate, str(int(at) - 30_000), *rest]))


async def test_an_isolated_job_keeps_its_turn_at_a_gate_until_a_worker_is_empty(url: str, raw: RawRedis) -> None:
    """No worker is empty when its turn comes, and others wait for the busy gate when one is: it still runs, and
    does not go round. Another call is let through later for it."""
    settings = StoreSettings(redis_url=url)
    async with open_store(settings, client_name="limited", routing=routing(A, rpm=60)) as store:
        isolated = await _lost(store, raw, 3)
        ids = await submit(store, 5)
        await block(store, A)
        await throttle_all(store)
        await free(raw, A)
        await claim(store, 1, "busy", suspect=0, alone=False)
        assert (await raw("HGET", KEYS.job(isolated), "entry")).decode()[0] == "i"
        await _age_pass(raw, isolated)
        before = int((await raw("HGET", KEYS.fixed("gates"), A)).split()[REQUESTS])
        (alone,) = await claim(store, 1, "empty", suspect=6, alone=True)
        assert (alone.job_id, alone.isolated, alone.gate) == (isolated, True, A)
        assert int((await raw("HGET", KEYS.fixed("gates"), A)).split()[REQUESTS]) > before
        assert await breaches(store, raw, [isolated, *ids]) == []


@pytest.mark.parametrize(
    ("place", "losses"),
    [("throttled", 1), ("throttled", 2), ("throttled", 3), ("let go", 2), ("let go", 3), ("back", 3)],
)
async def test_they_end_once_wherever_they_wait(one: JobStore, raw: RawRedis, place: str, losses: int) -> None:
    """A cancel, a deadline and a run each end a job of one to three losses: throttled, let go, or just taken back."""
    cancelled, overdue, run = ids = [await _lost(one, raw, losses) for _ in range(3)]
    if place != "back":
        await block(one, A)
        for _ in range(3):
            # A claim takes one isolated job, and wakes a worker for the next.
            await throttle_all(one)
        assert (await one.queries.stats()).throttled == 3
    if place == "let go":
        await free(raw, A)
        assert await claim(one, 3, "busy", suspect=0, alone=False) == []
    assert (await one.cancel(cancelled)).state in ("cancelled", "requested")
    await make_overdue(raw, overdue)
    await one.maintenance.promote()
    await free(raw, A)
    for _ in range(4):
        await drain(one)
    assert await status_of(one, run) is JobStatus.COMPLETED
    assert await status_of(one, cancelled) is JobStatus.CANCELLED
    assert await error_of(one, overdue) == "DeadlineExceeded"
    assert await breaches(one, raw, ids) == []


async def test_an_isolated_job_that_ends_at_its_claim_notifies_for_the_next(one: JobStore, raw: RawRedis) -> None:
    """A claim takes one of them: when that one could not run, a worker comes for the others at once."""
    overdue, left = [await _lost(one, raw, 3) for _ in range(2)]
    await make_overdue(raw, overdue)
    await raw("DEL", KEYS.fixed("wake"))
    assert await claim(one) == []
    assert await error_of(one, overdue) == "DeadlineExceeded"
    assert await one.wait_for_work(2000) is WakeUp.POLL
    assert [held.job_id for held in await claim(one)] == [left]


async def test_an_isolated_job_is_not_passed_to_and_fro(url: str, raw: RawRedis) -> None:
    """One worker has its gate but holds others, an empty one has not: it is not passed on without a pause."""
    settings = StoreSettings(redis_url=url)
    owners = open_store(settings, client_name="owner", routing=routing(A))
    strangers = open_store(settings, client_name="stranger", routing=routing(B))
    async with owners as owner, strangers as stranger:
        job_id = await _lost(owner, raw, 3, route=(A,))
        assert await claim(stranger, 5, "stranger", suspect=1, alone=True) == []
        for _ in range(5):
            assert await claim(owner, 5, "busy", suspect=1, alone=False) == []
            assert await raw("HGET", KEYS.job(job_id), "entry") in (f"t{A}".encode(), b"t*")
        await unblock_gate(raw, A)
        (held,) = await claim(owner, 5, "empty", suspect=1, alone=True)
        assert held.job_id == job_id
        assert await breaches(owner, raw, [job_id]) == []
