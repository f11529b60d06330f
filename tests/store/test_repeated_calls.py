"""Answers that are lost after the effect, and calls that are executed late: every transition is done once (I1-I3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from shared.errors import LeaseLost, PressworkError, StoreUnavailable
from shared.job import JobError, JobStatus, Outcome, RetryReason
from shared.store.job_store import JobStore
from shared.store.results import CallReport
from shared.store.transitions import Finish, Requeue, Reroute
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.faulty_transport import FaultyTransport
from tests.support.organization_counts import miscounted
from tests.support.store import claim, claim_one, complete, make_due, make_stale, new_job, submit

ERROR = JobError(type="Timeout", message="too slow", retryable=True)
Step = Callable[[], Awaitable[object]]


async def _submit(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
    jobs = [new_job(), new_job(idempotency_key="k", fingerprint="f"), new_job(delay_ms=5000)]
    await store.submit(jobs[1])
    await store.submit(jobs[2])
    return lambda: store.submit(jobs[0]), [job.id for job in jobs]


async def _claim(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
    ids = await submit(store, 3)
    return lambda: store.claim("w1", 5, poll=True, suspect=True, known=[]), ids


async def _append(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
    held = await claim_one(store)
    return lambda: store.append(held, 2, "text"), [held.job_id]


async def _finish(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
    held = await claim_one(store)
    return lambda: complete(store, held), [held.job_id]


async def _requeue(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
    held = await claim_one(store)
    return lambda: store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=5000, refund=False, error=ERROR)), [
        held.job_id
    ]


async def _release(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
    held = await claim_one(store)
    return lambda: store.requeue(Requeue(held, RetryReason.DRAIN, delay_ms=0, refund=True, error=None)), [held.job_id]


def _reroute(report: CallReport, *others: str) -> Callable[[JobStore, RawRedis], Awaitable[tuple[Step, list[str]]]]:
    async def scene(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
        held = await claim_one(store)
        return lambda: store.reroute(Reroute(
            held, "a:a", report, retry_after_ms=60_000, candidates=others, spent=None
        )), [held.job_id]  # fmt: skip

    return scene


async def _report(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
    return lambda: store.report("a:a", CallReport.OK), []


async def _cancel_waiting(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
    (job_id,) = await submit(store)
    return lambda: store.cancel(job_id), [job_id]


async def _cancel_running(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
    held = await claim_one(store)
    return lambda: store.cancel(held.job_id, force=True), [held.job_id]


async def _recover(store: JobStore, raw: RawRedis) -> tuple[Step, list[str]]:
    held = await claim_one(store)
    await make_stale(raw, held)
    return lambda: store.maintenance.recover("w2", []), [held.job_id]


async def _promote(store: JobStore, raw: RawRedis) -> tuple[Step, list[str]]:
    (job_id,) = await submit(store, delay_ms=60_000)
    await make_due(raw, job_id)
    return store.maintenance.promote, [job_id]


async def _renew(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
    held = await claim_one(store)
    return lambda: store.renew("w1", [held]), [held.job_id]


async def _leave(store: JobStore, _: RawRedis) -> tuple[Step, list[str]]:
    held = await claim_one(store)
    return lambda: store.maintenance.leave("w1"), [held.job_id]


SCENES = {
    "submit": _submit, "claim": _claim, "append": _append, "finish": _finish, "requeue": _requeue,
    "requeue released": _release, "cancel": _cancel_waiting, "cancel forced": _cancel_running,
    "reroute throttled": _reroute(CallReport.LIMITED), "reroute on": _reroute(CallReport.FAILED, "b:b"),
    "reroute stays": _reroute(CallReport.FAILED), "report": _report,
    "recover": _recover, "promote": _promote, "renew": _renew, "leave": _leave,
}  # fmt: skip


@pytest.mark.parametrize("scene", SCENES)
async def test_a_call_whose_answer_was_lost_can_be_repeated(store: JobStore, raw: RawRedis, scene: str) -> None:
    """The call took effect, its caller got an error and repeats it: the effect is there once."""
    faults = FaultyTransport(store)
    step, accepted = await SCENES[scene](store, raw)
    faults.lose(scene.split(maxsplit=1)[0])
    with pytest.raises(StoreUnavailable) as refused:
        await step()
    assert refused.value.sent
    await step()
    assert await breaches(store, raw, accepted) == []
    assert await miscounted(raw, accepted) == []


@pytest.mark.parametrize("scene", SCENES)
async def test_a_call_that_is_executed_late_changes_nothing_more(store: JobStore, raw: RawRedis, scene: str) -> None:
    """A call sat in a stalled server, its repetition ran first: executed after it, the first one breaks nothing."""
    faults = FaultyTransport(store)
    step, accepted = await SCENES[scene](store, raw)
    faults.delay(scene.split(maxsplit=1)[0])
    with pytest.raises(StoreUnavailable):
        await step()
    await step()
    before = await store.queries.stats()
    await faults.deliver()
    assert await store.queries.stats() == before
    assert await breaches(store, raw, accepted) == []
    assert await miscounted(raw, accepted) == []


@pytest.mark.parametrize("moment", ["waiting again", "run by another", "ended by another"])
async def test_a_replaced_lease_changes_nothing(store: JobStore, raw: RawRedis, moment: str) -> None:
    """Every write of a former holder, and its renewal, are refused at every later moment of the job (I4)."""
    old = await claim_one(store)
    await make_stale(raw, old)
    await store.maintenance.recover("w2", [])
    if moment != "waiting again":
        (new,) = await claim(store, 5, "w2")
        if moment == "ended by another":
            await complete(store, new, "theirs")
    before = sorted(await raw("HGETALL", store.keys.job(old.job_id)))
    for write in (
        lambda: store.append(old, 2, "mine"),
        lambda: complete(store, old, "mine"),
        lambda: store.requeue(Requeue(old, RetryReason.ERROR, delay_ms=0, refund=False, error=ERROR)),
        lambda: store.reroute(Reroute(old, "a:a", CallReport.LIMITED, retry_after_ms=9_000, candidates=[], spent=None)),
    ):
        with pytest.raises(LeaseLost):
            await write()
    assert (await store.renew("w1", [old])).lost == {old.token}
    assert sorted(await raw("HGETALL", store.keys.job(old.job_id))) == before
    assert await breaches(store, raw, [old.job_id]) == []


async def test_after_a_forced_cancel_only_usage_is_taken_from_the_worker(store: JobStore, raw: RawRedis) -> None:
    """The late settle of a cancelled job keeps usage and cost, once; state, text and events stay (I2)."""
    held = await claim_one(store)
    await store.append(held, 2, "partial ")
    assert (await store.cancel(held.job_id)).state == "requested"
    assert (await store.cancel(held.job_id, force=True)).state == "cancelled"
    events = (await store.events.read(held.job_id, None)).events
    for cost in (0.25, 99.0):
        outcome = Outcome(result="all of it", cost_usd=cost)
        with pytest.raises(LeaseLost):
            await store.finish(Finish(held, JobStatus.COMPLETED, outcome, number=2, offset=8, run_ms=5))
    snapshot = await store.status(held.job_id)
    assert snapshot is not None
    assert snapshot.outcome is not None
    assert (snapshot.status, snapshot.outcome.result, snapshot.outcome.cost_usd) == ("cancelled", "partial ", 0.25)
    assert [event.id for event in (await store.events.read(held.job_id, None)).events] == [e.id for e in events]
    assert await breaches(store, raw, [held.job_id]) == []


async def test_only_the_domains_errors_come_out_when_the_scripts_were_flushed(store: JobStore, raw: RawRedis) -> None:
    """SCRIPT FLUSH and a lost consumer group are repaired on the way; a flushed server makes leases lost."""
    held = await claim_one(store)
    await raw("SCRIPT", "FLUSH")
    await store.append(held, 2, "x")
    await raw("FLUSHALL")
    with pytest.raises(PressworkError):
        await complete(store, held)
    (job_id,) = await submit(store)
    assert [found.job_id for found in await claim(store)] == [job_id]
