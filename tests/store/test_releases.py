"""Records that another release wrote: newer ones are left to workers that know them."""

from __future__ import annotations

import pytest

from shared.errors import StoreUnavailable
from shared.job import Claim, JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from tests.support.checks import RawRedis
from tests.support.store import (
    KEYS,
    all_delayed,
    claim,
    claim_one,
    complete,
    drain,
    lose,
    make_due,
    make_stale,
    status_of,
    submit,
)

FOREIGN = {"newer": ("v", "2"), "no version": ("v", "two"), "unknown state": ("state", "resting")}


@pytest.fixture(params=FOREIGN)
def foreign(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A field of a record and a value that this release does not know."""
    return FOREIGN[request.param]


async def _record(raw: RawRedis, job_id: str) -> dict[bytes, bytes]:
    flat = await raw("HGETALL", KEYS.job(job_id))
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def test_a_waiting_job_is_left_to_those_who_know_it(
    store: JobStore, raw: RawRedis, foreign: tuple[str, str]
) -> None:
    """No claim runs, deletes or fails it, nor does one ask twice; recovery, audit and cancel leave it; its neighbours
    run; and when it is known it runs as if nothing had been."""
    strange, known = await submit(store, 2)
    before = await _record(raw, strange)
    await raw("HSET", KEYS.job(strange), *foreign)
    strangely = await _record(raw, strange)
    claims = await claim(store, 50, "w1")
    assert [one.job_id for one in claims] == [known]
    await complete(store, claims[0])
    assert not (await store.claim("w1", 50, poll=True, suspect=1, known=[])).claims
    assert not (await store.claim("w2", 50, poll=True, suspect=1)).more
    await _make_stale(raw, strange, "w1")
    found = await store.maintenance.recover("w2", [])
    assert (found.requeued, found.failed, found.next_ms) == (0, 0, None)
    await store.maintenance.audit("w2")
    with pytest.raises(StoreUnavailable, match="newer release"):
        await store.cancel(strange, force=True)
    assert await _record(raw, strange) == strangely
    await raw("HSET", KEYS.job(strange), foreign[0], before[foreign[0].encode()])
    await store.maintenance.recover("w2", [])
    (held,) = await claim(store, 50, "w2")
    assert (held.job_id, held.losses, held.attempt) == (strange, 0, 1)
    await complete(store, held)


async def _make_stale(raw: RawRedis, job_id: str, consumer: str) -> None:
    entry = (await raw("HGET", KEYS.job(job_id), "entry")).decode()
    await raw("XCLAIM", KEYS.fixed("line"), "workers", consumer, 0, entry[1:], "IDLE", 60_000, "JUSTID")


async def test_a_delayed_job_stays_delayed(store: JobStore, raw: RawRedis, foreign: tuple[str, str]) -> None:
    """Due and not known: it is asked for again in a lease, and hides nothing that is due behind it."""
    strange, known = await submit(store, 2, delay_ms=60_000)
    await raw("HSET", KEYS.job(strange), *foreign)
    await make_due(raw, strange, known)
    promoted = await store.maintenance.promote(limit=1)
    promoted = await store.maintenance.promote(limit=1) if promoted.next_ms == 0 else promoted
    assert promoted.promoted == 1
    assert await all_delayed(raw) == [strange]
    assert await drain(store) == 1
    assert await status_of(store, known) is JobStatus.COMPLETED


async def test_thousands_of_foreign_jobs_hide_no_lost_one(store: JobStore, raw: RawRedis) -> None:
    """Entries of a release that was rolled back go stale with an older worker: recovery goes on behind them."""
    ids = await submit(store, 600)
    for job_id in ids:
        await raw("HSET", KEYS.job(job_id), "v", 2)
    while (await store.claim("old", 64, poll=False, suspect=0)).more:
        pass
    for job_id in ids:
        if (await raw("HGET", KEYS.job(job_id), "entry")).startswith(b"q"):
            await _make_stale(raw, job_id, "old")
    held = await claim_one(store, "gone")
    await make_stale(raw, held)
    calls, requeued = 0, 0
    while True:
        found = await store.maintenance.recover("finder", [])
        calls, requeued = calls + 1, requeued + found.requeued
        if found.next_ms != 0:
            break
    assert (requeued, calls <= 4) == (1, True)


async def test_a_job_that_can_never_start_ends(store: JobStore, raw: RawRedis) -> None:
    """A record that no claim can adopt is released some twenty times, blames no worker, and fails."""
    (job_id,) = await submit(store)
    deadline = await raw("HGET", KEYS.job(job_id), "deadline")
    await raw("HSET", KEYS.job(job_id), "deadline", "soon")
    for _ in range(21):
        assert await claim(store, 50, "w1") == []
        entry = (await raw("HGET", KEYS.job(job_id), "entry")).decode()
        await raw("XCLAIM", KEYS.fixed("line"), "workers", "w1", 0, entry[1:], "IDLE", 60_000, "JUSTID")
        await raw("HSET", KEYS.job(job_id), "deadline", deadline)
        await store.maintenance.recover("finder", [])
        await raw("HSET", KEYS.job(job_id), "deadline", "soon")
    record = await _record(raw, job_id)
    assert (record[b"state"], record[b"losses"]) == (b"failed", b"0")


async def test_a_lost_claim_is_answered_however_many_leases_there_are(url: str) -> None:
    """A worker of 1,500 leases loses the answer of one more claim: the jobs come when it asks again."""
    async with open_store(StoreSettings(redis_url=url, lease_seconds=15.0), client_name="t") as store:
        await submit(store, 1500)
        held: list[Claim] = []
        while len(held) < 1500:
            held += await claim(store, 500)
        late = await submit(store, 3)
        assert len((await store.claim("w1", 5, poll=True, suspect=1)).claims) == 3  # the answer that was lost
        again = await store.claim("w1", 5, poll=True, suspect=1, known=[one.token for one in held])
        assert {one.job_id for one in again.claims} == set(late)
        assert len((await store.renew("w1", held)).lost) == 0


async def test_a_suspect_of_this_release_stays_one(store: JobStore, raw: RawRedis) -> None:
    """Losses are kept over a retry, a delay and a release."""
    held = await claim_one(store)
    await raw("HSET", KEYS.job(held.job_id), "losses", 1)
    await lose(store, raw, held)
    (suspect,) = await claim(store)
    assert (suspect.suspect, suspect.token[0]) == (True, "s")
