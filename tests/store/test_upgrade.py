"""Keys of an older release, which had a stream for each priority and no counts of organisations."""

from __future__ import annotations

import msgspec
import pytest

from shared.job import JobStatus
from shared.store.job_store import JobStore
from shared.store.keys import GROUP, encode_id
from shared.store.transitions import Submit
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, block, free
from tests.support.organization_counts import counts_of, miscounted
from tests.support.store import KEYS, claim, complete, drain, make_stale, new_job, status_of, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


async def _record(raw: RawRedis, job: Submit, entry: str, created: int, **more: str | int) -> str:
    values = {
        "v": 1, "org": encode_id(job.spec.organization_id), "state": "queued", "spec": msgspec.json.encode(job.spec),
        "max_attempts": job.spec.max_attempts, "entry": entry, "created": created,
        "deadline": created + 86_400_000, **more,
    }  # fmt: skip
    await raw("HSET", KEYS.job(job.id), *[part for pair in values.items() for part in pair])
    return job.id


async def _now(raw: RawRedis) -> int:
    return int((await raw("TIME"))[0]) * 1000


async def _waiting(raw: RawRedis, queue: str, organization: str, count: int, priority: str = "normal") -> list[str]:
    """Jobs in a stream of an older release, the oldest first."""
    ids = []
    for _ in range(count):
        job = new_job(priority, organization=organization)
        entry = (await raw("XADD", KEYS.fixed(queue), "*", "j", job.id)).decode()
        letter = "a" if queue == "requeued" else queue[0]
        ids.append(await _record(raw, job, f"{letter}{entry}", int(entry.split("-")[0])))
    return ids


async def _running(raw: RawRedis, consumer: str) -> str:
    (job_id,) = await _waiting(raw, "normal", "a", 1)
    await raw("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", 1, "STREAMS", KEYS.fixed("normal"), ">")
    await raw("HSET", KEYS.job(job_id), "state", "processing", "attempt", 1, "started", 1, "worker", consumer)
    return job_id


async def test_waiting_jobs_of_all_organisations_join_their_backlogs(store: JobStore, raw: RawRedis) -> None:
    """Of every stream, one with 300 jobs and one with a few: shares are fair from the first claims on,
    high comes first, each runs once, and counts are right."""
    await claim(store, 1)  # makes the groups
    many = await _waiting(raw, "normal", "many", 300)
    ids = [*many, *await _waiting(raw, "requeued", "few", 2), *await _waiting(raw, "low", "few", 2, "low")]
    high = await _waiting(raw, "high", "many", 2, "high")
    ids += high
    assert await breaches(store, raw, ids) == []
    started = [held for _ in range(12) for held in await claim(store, 1)]
    assert {held.spec.organization_id for held in started[:3]} == {"many", "few"}
    assert set(high) <= {held.job_id for held in started}
    assert await breaches(store, raw, ids) == []
    for held in started:
        await complete(store, held)
    assert await drain(store) == len(ids) - len(started)
    assert await breaches(store, raw, ids) == []
    assert await miscounted(raw, ids) == []


async def test_what_ran_ends_or_comes_back(store: JobStore, raw: RawRedis) -> None:
    """A worker of an older release ends its job in its own way; the job of one that died runs again. Neither was
    counted as running, so neither is taken off."""
    await claim(store, 1)
    ended, lost = await _running(raw, "old"), await _running(raw, "gone")
    day = await _now(raw) // 86_400_000
    await raw("RPUSH", KEYS.fixed("ledger"), *[f"completed {day} a p a:b 1 1 0 5 0"] * 512)
    entry = (await raw("HGET", KEYS.job(ended), "entry")).decode()
    await raw("XACK", KEYS.fixed("normal"), GROUP, entry[1:])
    await raw("XDEL", KEYS.fixed("normal"), entry[1:])
    await raw("HSET", KEYS.job(ended), "state", "completed", "outcome", "{}", "ended", 1)
    await raw("PEXPIRE", KEYS.job(ended), 1000)
    token = (await raw("HGET", KEYS.job(lost), "entry")).decode()
    await raw("XCLAIM", KEYS.fixed("normal"), GROUP, "gone", 0, token[1:], "IDLE", 60_000, "JUSTID")
    assert (await store.maintenance.recover("finder", [])).requeued == 1
    (held,) = await claim(store, 5)
    assert (held.job_id, held.token[0]) == (lost, "q")
    assert (await counts_of(raw))["a"] == {"waiting": 0, "running": 1, "placed": 0, "kib": 0}
    await complete(store, held)
    assert not any((await counts_of(raw)).get("a", {}).values())
    assert await miscounted(raw, [lost]) == []


async def test_delayed_and_cancelled_jobs_are_found(store: JobStore, raw: RawRedis) -> None:
    """A due retry is made claimable; a waiting, a delayed and a running job are cancelled where they are."""
    await claim(store, 1)
    created = await _now(raw)
    due, later = new_job(organization="a"), new_job("low", organization="a")
    for job, letter, queue, score in ((due, "n", "due_normal", 1), (later, "l", "due_low", created + 60_000)):
        await _record(raw, job, f"d{letter}", created, due=score)
        await raw("ZADD", KEYS.fixed(queue), score, job.id)
    (waiting,) = await _waiting(raw, "high", "a", 1, "high")
    running = await _running(raw, "old")
    ids = [due.id, later.id, waiting, running]
    assert (await store.maintenance.promote()).promoted == 1
    for job_id in (later.id, waiting, running):
        await store.cancel(job_id, force=True)
        assert await status_of(store, job_id) is JobStatus.CANCELLED
    assert await drain(store) == 1
    assert await breaches(store, raw, ids) == []
    assert await miscounted(raw, ids) == []


async def test_due_jobs_come_by_priority(store: JobStore, raw: RawRedis) -> None:
    """A high one is first made claimable where one call has room for one, and a normal one is claimed before a low one,
    although the low one is the oldest and fell due first."""
    await claim(store, 1)
    created, ids = await _now(raw) - 1000, dict[str, str]()
    for order, priority in enumerate(("low", "normal", "high"), 1):
        job = new_job(priority, organization="a")
        ids[priority] = await _record(raw, job, f"d{priority[0]}", created + order, due=order)
        await raw("ZADD", KEYS.fixed(f"due_{priority}"), order, job.id)

    assert (await store.maintenance.promote(1)).promoted == 1
    assert [held.job_id for held in await claim(store)] == [ids["high"]]

    in_the_line = await submit(store, organization="a")  # so the others wait in the backlog, by rank
    assert (await store.maintenance.promote()).promoted == 2
    assert [held.job_id for held in await claim(store)] == [*in_the_line, ids["normal"], ids["low"]]


async def test_throttled_jobs_of_before_are_let_go(one: JobStore, raw: RawRedis) -> None:
    """They are in one queue for all organisations and were never counted: they run once the gate has room."""
    await block(one, A)
    created, ids = await _now(raw), list[str]()
    for number in range(3):
        job = new_job(organization=f"org-{number}")
        ids.append(await _record(raw, job, "p*", created, due=created + 1000))
        await raw("ZADD", KEYS.prefix("throttled") + "*", 3e15 + created * 1000 + number, job.id)
        await raw("ZADD", KEYS.fixed("throttled_deadlines"), created + 86_400_000, job.id)
    await raw("HDEL", KEYS.fixed("gates"), "@*", "@")
    assert (await one.cancel(ids[2])).state == "cancelled"
    await one.maintenance.promote()
    await free(raw, A)
    while (await one.queries.stats()).queued:
        await drain(one)
    assert [await status_of(one, job_id) for job_id in ids] == ["completed", "completed", "cancelled"]
    assert await breaches(one, raw, ids) == []
    assert await miscounted(raw, ids) == []


async def test_a_suspect_of_before_runs(store: JobStore, raw: RawRedis) -> None:
    """Its entry names no organisation: it is counted from its claim on."""
    await claim(store, 1)
    job = new_job(organization="a")
    entry = (await raw("XADD", KEYS.fixed("suspect"), "*", "j", job.id)).decode()
    await _record(raw, job, f"s{entry}", await _now(raw), losses=2)
    (held,) = await claim(store, 5)
    assert held.suspect
    assert await miscounted(raw, [job.id]) == []
    await make_stale(raw, held)
    await complete(store, held)
    assert await miscounted(raw, [job.id]) == []
