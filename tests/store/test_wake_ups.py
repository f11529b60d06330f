"""Wake-ups: every script that makes work, or leaves some behind, wakes a sleeping worker (I1, I8, I12)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from shared.job import RetryReason
from shared.settings import StoreSettings
from shared.store.engine.constants import LOSSES_MAX
from shared.store.engine.items import JobItem
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport
from shared.store.transitions import Requeue
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, free, reroute, routing, throttle_all
from tests.support.gateway import subscribed
from tests.support.store import ERROR, KEYS, claim, claim_one, complete, lose, make_due, make_stale, submit

# The members of one sorted set do not depend on the server's kind.
pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)

Step = Callable[[], Awaitable[object]]
Scene = Callable[[JobStore, RawRedis], Awaitable[Step]]

SOON_MS, LATER_MS = 500, 60_000
"""Within a lease, and beyond one."""


async def _wakes(raw: RawRedis, gate: str = "") -> set[str]:
    key = KEYS.prefix("wake") + gate if gate else KEYS.fixed("wake")
    return {member.decode() for member in await raw("ZRANGE", key, 0, -1)}


async def _check(raw: RawRedis, step: Step, *expected: str, gate: str = "") -> None:
    await raw("DEL", KEYS.fixed("wake"), KEYS.prefix("wake") + gate)
    await step()
    assert await _wakes(raw, gate) == set(expected)


def _submit(delay_ms: int = 0) -> Scene:
    async def scene(store: JobStore, _: RawRedis) -> Step:
        return lambda: submit(store, delay_ms=delay_ms)

    return scene


def _claim(count: int, limit: int) -> Scene:
    async def scene(store: JobStore, _: RawRedis) -> Step:
        await submit(store, count)
        return lambda: claim(store, limit)

    return scene


def _requeue(reason: RetryReason, delay_ms: int = 0, losses: int = 0) -> Scene:
    async def scene(store: JobStore, raw: RawRedis) -> Step:
        held = await claim_one(store)
        await raw("HSET", KEYS.job(held.job_id), "losses", losses)
        return lambda: store.requeue(Requeue(held, reason, delay_ms=delay_ms, refund=False, error=ERROR))

    return scene


def _lost_often(losses: int) -> Scene:
    async def scene(store: JobStore, raw: RawRedis) -> Step:
        held = await claim_one(store)
        await raw("HSET", KEYS.job(held.job_id), "losses", losses - 1)
        await lose(store, raw, held)
        return lambda: claim(store, 5, "w2", suspect=2)

    return scene


async def _recover(store: JobStore, raw: RawRedis) -> Step:
    held = await claim_one(store)
    await make_stale(raw, held)
    return lambda: store.maintenance.recover("finder", [])


async def _leave(store: JobStore, _: RawRedis) -> Step:
    return lambda: store.maintenance.leave("w1")


def _promote(losses: int = 0) -> Scene:
    async def scene(store: JobStore, raw: RawRedis) -> Step:
        (job_id,) = await submit(store, delay_ms=LATER_MS)
        await raw("HSET", KEYS.job(job_id), "losses", losses)
        await make_due(raw, job_id)
        return store.maintenance.promote

    return scene


async def _audit_dropped_lease(store: JobStore, raw: RawRedis) -> Step:
    held = await claim_one(store)
    await raw("XACK", KEYS.fixed("line"), "workers", held.token[1:])
    return lambda: store.maintenance.audit("w2")


async def _audit_dropped_entry(store: JobStore, raw: RawRedis) -> Step:
    held = await claim_one(store)
    await raw("XACK", KEYS.fixed("line"), "workers", held.token[1:])
    await raw("XDEL", KEYS.fixed("line"), held.token[1:])
    # The page of records alone: counts that were wrong wake too, but only at the end of a long audit.
    return lambda: store._calls.run("audit_records", [JobItem(held.job_id)])


SCENES: dict[str, tuple[Scene, set[str]]] = {
    "a new job": (_submit(), {"job"}),
    "a new job that is due soon": (_submit(SOON_MS), {"look"}),
    "a new job that is due later": (_submit(LATER_MS), set()),
    "a claim that leaves some": (_claim(2, 1), {"job"}),
    "a claim that takes all": (_claim(2, 5), set()),
    "a claim of a suspect": (_lost_often(2), {"look"}),
    "a claim of an isolated job": (_lost_often(3), {"look", "job"}),
    "a retry at once": (_requeue(RetryReason.ERROR), {"job"}),
    "a retry that is due soon": (_requeue(RetryReason.ERROR, SOON_MS), {"look"}),
    "a retry that is due later": (_requeue(RetryReason.ERROR, LATER_MS), set()),
    "a release": (_requeue(RetryReason.DRAIN), {"job"}),
    "a release of a suspect": (_requeue(RetryReason.DRAIN, losses=2), {"look"}),
    "a recovery": (_recover, {"look", "job"}),
    "a worker that leaves": (_leave, {"job"}),
    "a due job": (_promote(), {"job"}),
    "a due job that lost workers": (_promote(losses=2), {"look", "job"}),
    "an audit that finds a lease of nobody": (_audit_dropped_lease, {"look", "job"}),
    "an audit that finds a job without an entry": (_audit_dropped_entry, {"look", "job"}),
}


@pytest.mark.parametrize("scene", SCENES)
async def test_who_is_woken(store: JobStore, raw: RawRedis, scene: str) -> None:
    """`job` wakes one worker for work, `look` one for work that only a poll finds; where nothing is to be done,
    none."""
    prepare, expected = SCENES[scene]
    step = await prepare(store, raw)
    await _check(raw, step, *expected)


async def test_what_a_gate_learns_wakes_for_its_jobs(one: JobStore, raw: RawRedis) -> None:
    """A gate that failed too often becomes available while a job waits for it; without a waiting job no worker is
    woken."""
    await _check(raw, lambda: one.report(A, CallReport.OK), gate=A)
    for _ in range(3):
        await one.report(A, CallReport.FAILED)
    await submit(one)
    await throttle_all(one)
    await _check(raw, lambda: one.report(A, CallReport.OK), "job", gate=A)


async def test_tokens_that_were_not_used_wake(url: str, raw: RawRedis) -> None:
    """The part of a reservation that a call did not need makes room for the next, which is not left to a timer."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(A, tpm=60_000)) as store:
        await submit(store, 2, max_tokens=30_000)
        (held,) = await claim(store)
        await _check(raw, lambda: store.report(A, CallReport.NONE, tokens=100 - held.reserved), "job", gate=A)


async def test_throttled_jobs_wake_for_their_deadline_and_for_room(one: JobStore, raw: RawRedis) -> None:
    """The deadline is nearer than a lease: the worker that throttles wakes another, because it may die; a promotion
    that sees room wakes one; and so does a claim that lets a suspect go which it may not take."""
    await submit(one, deadline_ms=1_500)
    (held,) = await claim(one)
    await _check(raw, lambda: reroute(one, held, CallReport.LIMITED, retry_ms=LATER_MS), "look")
    await submit(one, deadline_ms=1_500)
    await _check(raw, lambda: claim(one), "look")
    (suspect,) = await submit(one)
    await raw("HSET", KEYS.job(suspect), "losses", 2)
    await throttle_all(one)
    await free(raw, A)
    await _check(raw, one.maintenance.promote, "job", gate=A)
    await free(raw, A)
    await _check(raw, lambda: claim(one, 5, suspect=False), "look")


async def test_room_that_is_left_wakes_who_has_the_gate(one: JobStore, raw: RawRedis) -> None:
    """A claim that takes one of three which may go, and a worker that goes, leave the rest to another with the gate."""
    await block(one, A)
    await submit(one, 3)
    await throttle_all(one)
    await free(raw, A)
    await _check(raw, lambda: claim(one, 1), "job", gate=A)
    await _check(raw, lambda: one.maintenance.leave("w1"), "job", gate=A)


async def test_a_job_for_another_workers_gate_wakes_that_one(one: JobStore, raw: RawRedis) -> None:
    """The caller lacks the gate: workers with it sleep on its key, which expires when none comes."""
    await submit(one, route=(B,))
    assert await claim(one) == []
    assert await _wakes(raw, B) == {"look"}
    await block(one, A)
    assert await raw("PTTL", KEYS.prefix("wake") + B) > 0


async def test_a_cancel_of_a_running_job_notifies_its_worker(url: str, store: JobStore, raw: RawRedis) -> None:
    """At once over its channel, and with every renewal until the job ends; the list of requests goes by itself."""
    held = await claim_one(store)
    async with store.control("w1") as channel:
        await subscribed(url, KEYS.control("w1"))
        assert (await store.cancel(held.job_id)).state == "requested"
        assert await anext(channel) == held.job_id.encode()
    assert (await store.renew("w1", [held])).cancelled == {held.job_id}
    assert 0 < await raw("PTTL", KEYS.fixed("cancels")) <= 3_600_000


@pytest.mark.parametrize("end", ["recovered", "cancelled", "completed"])
async def test_an_end_notifies_with_its_own_number(url: str, store: JobStore, raw: RawRedis, end: str) -> None:
    """A reader that has all events but the last is notified of one that it has not."""
    held = await claim_one(store)
    await store.append(held, 2, "words")
    await raw("HSET", KEYS.job(held.job_id), "losses", LOSSES_MAX)
    async with store.subscriber.messages(KEYS.job_channel(held.job_id)) as channel:
        await subscribed(url, KEYS.job_channel(held.job_id))
        if end == "recovered":
            await lose(store, raw, held)
        elif end == "cancelled":
            await store.cancel(held.job_id, force=True)
        else:
            await complete(store, held, number=2)
        published = (await anext(channel)).decode()
    assert published == str((await store.events.read(held.job_id, None)).events[-1].id)
