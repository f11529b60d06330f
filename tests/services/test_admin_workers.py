"""Workers over HTTP: who is there, and one that is drained."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.settings import StoreSettings
from shared.store.audit_trail import Actor
from shared.store.job_store import JobStore, open_store
from shared.store.workers import WorkerEntry
from tests.support.callers import OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import problem, running_gateway
from tests.support.store import KEYS, claim, submit

WORKERS = "/api/admin/workers"
ENTRY = WorkerEntry(host="box", release="1.2.3", slots=4)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with one operator, who is its caller."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as running:
        running.headers.update(bearer(OPERATOR))
        yield running


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[RawRedis]:
    """A connection of the operator to the server of the test."""
    async with RawRedis(redis_url) as connection:
        yield connection


async def test_workers_are_listed_with_the_jobs_they_hold(client: httpx.AsyncClient, store: JobStore) -> None:
    """By name, with what they said of themselves; one that has no job holds none."""
    await submit(store, 3)
    assert len(await claim(store, 2, consumer="w-b")) == 2
    for name in ("w-b", "w-a"):
        await store.workers.register(name, ENTRY)
    found = (await client.get(WORKERS)).raise_for_status().json()["workers"]
    assert [(one.pop("name"), one.pop("busy"), one.pop("jobsHeld"), one.pop("lastSeenAt")[:2]) for one in found] == [
        ("w-a", 0, 0, "20"), ("w-b", 2, 2, "20"),
    ]  # fmt: skip
    assert found == [{"host": "box", "release": "1.2.3", "slots": 4, "progress": True, "draining": False}] * 2


async def test_a_worker_is_drained_and_resumed(client: httpx.AsyncClient, store: JobStore) -> None:
    """Each order is kept, twice is as good as once, the trail has each change; a name that nobody has is 404."""
    await store.workers.register("w-a", ENTRY)
    for verb, draining in (("drain", True), ("drain", True), ("resume", False), ("resume", False)):
        answer = await client.post(f"{WORKERS}/w-a/{verb}")
        assert (answer.status_code, answer.json()) == (200, {"name": "w-a", "draining": draining})
        assert [one["draining"] for one in (await client.get(WORKERS)).json()["workers"]] == [draining]
        assert await store.workers.ordered("w-a") is draining
        problem(await client.post(f"{WORKERS}/w-b/{verb}"), 404, "not-found")
    trail = (await client.get("/api/admin/audit")).json()["entries"]
    assert [(entry["action"], entry["details"]) for entry in trail] == [
        ("worker.resumed", {"worker": "w-a"}), ("worker.drained", {"worker": "w-a"}),
    ]  # fmt: skip


async def test_workers_are_for_operators_alone(client: httpx.AsyncClient, store: JobStore) -> None:
    """A bound administrator neither sees nor orders any."""
    await store.workers.register("w-a", ENTRY)
    bound = bearer((await make_key(client, "alice", "admin"))["key"])
    problem(await client.get(WORKERS, headers=bound), 403, "operators-only")
    for verb in ("drain", "resume"):
        problem(await client.post(f"{WORKERS}/w-a/{verb}", headers=bound), 403, "operators-only")


async def test_a_damaged_entry_hides_no_other(client: httpx.AsyncClient, store: JobStore, raw: RawRedis) -> None:
    """An entry that cannot be read is left out."""
    await store.workers.register("w-a", ENTRY)
    await raw("HSET", KEYS.fixed("workers"), "w-b", "{", "w-c", "{}", "w-d", b"\xff")
    assert [one["name"] for one in (await client.get(WORKERS)).json()["workers"]] == ["w-a"]


async def test_a_worker_that_does_not_renew_makes_no_progress(redis_url: str, raw: RawRedis) -> None:
    """Its jobs are about to be taken over; an audit forgets one that was not seen for long, with its order."""
    async with open_store(StoreSettings(redis_url=redis_url, lease_seconds=1.0), client_name="t") as store:
        await store.workers.register("w-a", ENTRY)
        await store.workers.order("w-a", Actor(key_id="test"), drain=True)
        assert (await store.workers.read())[0].progress
        aged = b'{"host":"box","release":"1","slots":4,"at":1}'
        await raw("HSET", KEYS.fixed("workers"), "w-a", aged)
        (found,) = await store.workers.read()
        assert (found.progress, found.draining, found.seen_ms) == (False, True, 1)
        await submit(store)
        await claim(store, 1, consumer="w-b")  # the stream is there
        await store.maintenance.audit("w-b")
        assert await raw("HGETALL", KEYS.fixed("workers")) in ([], {})
