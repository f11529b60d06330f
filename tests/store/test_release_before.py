"""Keys that the release before wrote, all kinds of jobs among them, are taken over as they stand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from shared.events import EventKind
from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.keys import GROUP
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.dumps import Dump
from tests.support.gates import A, B, routing
from tests.support.store import KEYS, STALE_MS, drain, new_job, status_of, unblock_gate, usage_rows

DUMP: Final = Path(__file__).parent / "data" / "release_before.json"
"""Of the commit before words and files changed: jobs that ended, wait, run, are delayed, throttled or retried."""

COUNTS: Final = {
    "queued": 11,
    "processing": 3,
    "completed": 3,
    "failed": 1,
    "cancelled": 1,
    "delayed": 2,
    "throttled": 3,
}


@pytest.fixture
async def dump(raw: RawRedis) -> Dump:
    """The dump, loaded."""
    seconds, micros = await raw("TIME")
    found = Dump(DUMP, int(seconds) * 1000 + int(micros) // 1000)
    await found.load(raw)
    return found


@pytest.fixture
async def taking_over(url: str, dump: Dump) -> AsyncIterator[JobStore]:
    """A store of this release on those keys."""
    assert dump.jobs
    async with open_store(StoreSettings(redis_url=url), client_name="after", routing=routing(A, B)) as store:
        yield store


async def test_ended_jobs_are_read_as_before(taking_over: JobStore, dump: Dump) -> None:
    """Results, event logs, sums, listings and idempotency keys."""
    stats = await taking_over.queries.stats()
    assert {name: getattr(stats, name) for name in COUNTS} == COUNTS

    for job_id in dump.jobs["completed"]:
        snapshot = await taking_over.status(job_id)
        assert snapshot is not None
        assert snapshot.outcome is not None
        assert (snapshot.outcome.result, snapshot.outcome.cost_usd) == ("Hello world", 0.25)
        page = await taking_over.events.read(job_id, None)
        texts = [json.loads(event.data)["text"] for event in page.events if event.kind is EventKind.DELTA]
        assert ("".join(texts), page.events[-1].kind, page.ended) == ("Hello world", EventKind.COMPLETED, True)
    assert await status_of(taking_over, *dump.jobs["failed"]) is JobStatus.FAILED
    assert await status_of(taking_over, *dump.jobs["cancelled"]) is JobStatus.CANCELLED

    again = await taking_over.submit(new_job("low", idempotency_key="key", fingerprint="f"))
    assert (again.job_id, again.created) == (dump.jobs["keyed"][0], False)


async def test_sums_go_on(taking_over: JobStore, raw: RawRedis, dump: Dump) -> None:
    """Usage that was booked before is in the sums, and listings go on."""
    today = int((await raw("TIME"))[0]) // 86_400
    (before,) = await usage_rows(taking_over, "org", today - 1, today)
    assert (before.jobs, before.input_tokens, before.output_tokens) == (2, 20, 10)
    page = await taking_over.queries.jobs("auth0|abc")
    assert {row.id for row in page.jobs} == set(dump.jobs["waiting"])


async def test_all_others_go_on_and_end_once(taking_over: JobStore, raw: RawRedis, dump: Dump) -> None:
    """Lost leases are recovered with what they wrote, due and throttled jobs run, and no key is left wrong."""
    accepted = [job_id for ids in dump.jobs.values() for job_id in ids]
    assert await breaches(taking_over, raw, accepted) == []
    for stream in (key for key in KEYS.streams if key != KEYS.fixed("line")):
        for entry_id, consumer, *_ in await raw("XPENDING", stream, GROUP, "-", "+", 10):
            await raw("XCLAIM", stream, GROUP, consumer, 0, entry_id, "IDLE", STALE_MS, "JUSTID")
    await taking_over.renew("finder", [])  # it knows the server's clock from here on
    await taking_over.maintenance.recover("finder", [])
    for job_id in dump.jobs["running"]:
        # For the scripts another server took over: the last text of a lease may be lost, which a gap says.
        kinds = [event.kind for event in (await taking_over.events.read(job_id, None)).events]
        assert kinds == [EventKind.GAP]

    for key in KEYS.due:
        for member in await raw("ZRANGE", key, 0, -1):
            await raw("ZADD", key, 1, member)
    for gate in (A, B):
        await unblock_gate(raw, gate)
    waiting = [kind for kind in dump.jobs if kind not in ("completed", "failed", "cancelled", "keyed")]
    await _drain_slowly(taking_over, sum(len(dump.jobs[kind]) for kind in waiting))
    assert {await status_of(taking_over, job_id) for kind in waiting for job_id in dump.jobs[kind]} == {
        JobStatus.COMPLETED
    }
    assert await breaches(taking_over, raw, accepted) == []


async def _drain_slowly(store: JobStore, count: int) -> None:
    """Until so many jobs are complete: gates that were blocked start slowly."""
    done = 0
    async with asyncio.timeout(60):
        while done < count:
            done += await drain(store)
            await asyncio.sleep(0.05)
    assert done == count
