"""Records and logs that cannot be read are shown as such, and hide nothing else."""

from __future__ import annotations

import base64

import pytest

from shared.errors import JobUnreadable, StoreRejected
from shared.job import JobSnapshot, JobStatus, RetryReason
from shared.store.job_store import JobStore
from shared.store.reading.records import VERSION
from shared.store.results import UnreadableJob
from shared.store.transitions import Requeue
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.store import KEYS, claim, drain, make_stale, submit

DEEP = '{"a":' * 2000 + "1" + "}" * 2000
SPEC = '{"projectId":"p","userId":"u","organizationId":"org","prompt":"x","metadata":%s}'
DAMAGES = [
    ("spec", "{"),
    ("spec", None),
    ("spec", SPEC % DEEP),
    ("spec", SPEC % DEEP[200:-200]),
    ("spec", SPEC % ('{"a":' * 70 + "1" + "}" * 70)),
    ("v", str(VERSION + 1)),
    ("state", "paused"),
    ("state", b"\xff"),
    ("created", "9" * 30),
    ("created", "-1"),
    ("attempt", "9" * 5000),
    ("past", "x"),
    ("org", None),
]


@pytest.mark.parametrize(("field", "value"), DAMAGES, ids=lambda value: repr(value)[:20])
async def test_a_record_that_cannot_be_shown_is_shown_as_such(
    store: JobStore, raw: RawRedis, field: str, value: str | bytes | None
) -> None:
    """It has its row in the listing, hides no other, and its status and events name the fault."""
    ids = await submit(store, 3)
    key = KEYS.job(ids[1])
    await (raw("HDEL", key, field) if value is None else raw("HSET", key, field, value))
    rows = {job.id: job for job in (await store.queries.jobs("org")).jobs}
    assert set(rows) == set(ids)
    shown = rows.pop(ids[1])
    assert all(isinstance(job, JobSnapshot) for job in rows.values())
    if field == "past":
        assert isinstance(shown, JobSnapshot)  # no listing shows it
    else:
        assert isinstance(shown, UnreadableJob)
        assert shown.state in ("queued", "paused", "\ufffd")
    for read in (store.status(ids[1]), store.events.read(ids[1], None)):
        with pytest.raises(JobUnreadable):
            await read
    await raw("DEL", key)


async def test_what_is_no_record_at_all_hides_nothing(store: JobStore, raw: RawRedis) -> None:
    """A key of another type in a record's place is a row that cannot be read; bad limits are refused."""
    ids = await submit(store, 2)
    await raw("SET", KEYS.job(ids[0]), "x", "EX", 100)
    newest, oldest = (await store.queries.jobs("org")).jobs
    assert isinstance(newest, JobSnapshot)
    assert oldest == UnreadableJob(ids[0], "")
    with pytest.raises(ValueError, match="cursor"):
        await store.queries.jobs("org", limit=0)


async def test_a_forged_cursor_costs_no_walk_through_the_future(store: JobStore) -> None:
    """A listing's cursor names a day; one that has not come is refused, not walked back from day by day."""
    (job_id,) = await submit(store)
    forged = base64.urlsafe_b64encode(f"999999 {job_id}".encode()).decode()
    with pytest.raises(ValueError, match="cursor"):
        await store.queries.jobs("org", cursor=forged)


async def test_a_log_that_is_no_log_ends_its_job_and_nothing_else(store: JobStore, raw: RawRedis) -> None:
    """A job whose log is damaged cannot be requeued: nothing is left half-done, and recovery ends it as failed."""
    damaged, healthy = await submit(store, 2)
    first, second = await claim(store)
    await raw("SET", KEYS.log(damaged), "x")
    with pytest.raises(StoreRejected):
        await store.requeue(Requeue(first, RetryReason.ERROR, delay_ms=0, refund=False, error=None))
    assert await breaches(store, raw, [damaged, healthy]) == []
    await make_stale(raw, first, second)
    await store.renew("w2", [])
    done = await store.maintenance.recover("w2", [])
    assert (done.requeued, done.failed) == (1, 1)
    assert await breaches(store, raw, [damaged, healthy]) == []
    assert await drain(store) == 1
    job = await store.status(damaged)
    assert job is not None
    assert job.outcome is not None
    assert job.outcome.error is not None
    assert (job.status, job.outcome.error.type) == (JobStatus.FAILED, "Damaged")
