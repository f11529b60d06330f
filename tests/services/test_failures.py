"""Failures by cause, redriven and discarded by the workers: exactly those that were meant, each once."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from services.worker.loops import task_run
from services.worker.loops.task_run import TaskRun
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from tests.support.callers import OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.failures import FAILURES, fail_jobs, origins, task_done
from tests.support.gateway import problem, running_gateway
from tests.support.store import KEYS, claim, submit
from tests.support.worker import Scripted, answers, ended, running_worker, until


async def test_a_group_is_redriven_exactly_and_once(client: httpx.AsyncClient, store: JobStore) -> None:
    """Three causes make three groups; two calls at once redrive one of them, each job once, and no other job."""
    redriven = await fail_jobs(store, 40, "Timeout")
    others = [*await fail_jobs(store, 20, "Authentication"), *await fail_jobs(store, 10, "Busy")]
    foreign = await fail_jobs(store, 5, "Timeout", "bob")
    found = (await client.get(FAILURES, params={"organizationId": "alice"})).json()
    assert [(group["errorType"], group["count"]) for group in found["groups"]] == [
        ("Timeout", 40), ("Authentication", 20), ("Busy", 10)
    ]  # fmt: skip
    first = found["groups"][0]
    assert first["firstAt"] <= first["lastAt"]
    assert first["jobIds"] == redriven[:-4:-1]
    assert found["cursor"] is None

    order = {"filter": {"errorType": "Timeout", "organizationId": "alice"}, "expected": 40}
    changed = problem(await client.post(f"{FAILURES}/redrive", json=order | {"expected": 39}), 409, "count-changed")
    assert changed["count"] == 40
    async with running_worker(store.settings, {"p": Scripted(answers)}):
        twice = await asyncio.gather(*(client.post(f"{FAILURES}/redrive", json=order) for _ in range(2)))
        done = [await task_done(client, answer.json()["taskId"]) for answer in twice if answer.status_code == 202]
        assert twice[0].status_code == 202 or twice[1].status_code == 202
        assert sum(task["done"] for task in done) == 40
    assert await origins(client, "alice") == Counter(redriven)
    assert await origins(client, "bob") == Counter()
    left = (await client.get(FAILURES, params={"groupBy": "organizationId,errorType"})).json()["groups"]
    counts = {(group["organizationId"], group["errorType"]): group["count"] for group in left}
    assert counts == {("alice", "Authentication"): 20, ("alice", "Busy"): 10, ("bob", "Timeout"): 5}
    assert len(others) == 30
    assert len(foreign) == 5


async def test_failures_are_discarded_by_their_ids(client: httpx.AsyncClient, store: JobStore) -> None:
    """Those that were named leave the groups and are not retried; of foreign ids nothing is touched or shown."""
    mine, theirs = await fail_jobs(store, 3, "Timeout"), await fail_jobs(store, 1, "Timeout", "bob")
    alice = bearer((await make_key(client, "alice", "admin"))["key"])
    order = {"jobIds": [*mine[:2], *theirs], "expected": 3}
    assert (
        problem(await client.post(f"{FAILURES}/discard", json=order, headers=alice), 409, "count-changed")["count"] == 2
    )
    accepted = await client.post(f"{FAILURES}/discard", json=order | {"expected": 2}, headers=alice)
    assert accepted.status_code == 202
    async with running_worker(store.settings, {"p": Scripted(answers)}):
        task = await task_done(client, accepted.json()["taskId"])
    assert (task["kind"], task["done"], task["count"]) == ("discard", 2, 2)
    left = (await client.get(FAILURES)).json()["groups"]
    assert [(group["count"], set(group["jobIds"])) for group in left] == [(2, {mine[2], *theirs})]
    entries = (await client.get("/api/admin/audit", params={"organizationId": "alice"})).json()["entries"]
    assert entries[0]["action"] == "failures.discard"
    assert entries[0]["details"]["count"] == 2


async def test_a_bound_key_sees_its_own_failures_alone(client: httpx.AsyncClient, store: JobStore) -> None:
    """Groups, redrives by filter and tasks of others are out of its reach."""
    await fail_jobs(store, 1, "Timeout")
    theirs = await fail_jobs(store, 2, "Authentication", "bob")
    alice = bearer((await make_key(client, "alice", "admin"))["key"])
    groups = (await client.get(FAILURES, headers=alice, params={"groupBy": "errorType,organizationId"})).json()
    assert [(one["errorType"], one["organizationId"], one["count"]) for one in groups["groups"]] == [
        ("Timeout", "alice", 1)
    ]
    problem(await client.get(FAILURES, headers=alice, params={"organizationId": "bob"}), 403, "forbidden")
    order: dict[str, Any] = {"filter": {"organizationId": "bob"}, "expected": 2}
    problem(await client.post(f"{FAILURES}/redrive", json=order, headers=alice), 403, "forbidden")
    order = {"jobIds": theirs, "expected": 2}
    assert (
        problem(await client.post(f"{FAILURES}/redrive", json=order, headers=alice), 409, "count-changed")["count"] == 0
    )
    accepted = (await client.post(f"{FAILURES}/redrive", json=order)).json()
    problem(await client.get(f"/api/admin/tasks/{accepted['taskId']}", headers=alice), 404, "not-found")
    assert (await client.get(f"/api/admin/tasks/{accepted['taskId']}")).json()["state"] == "running"


@pytest.mark.parametrize("of_one", [False, True])
async def test_buckets_add_up_to_the_groups(client: httpx.AsyncClient, store: JobStore, of_one: bool) -> None:
    """Of all failures, and of each group, over the same filter; a bound key's are of its own organisation."""
    before = datetime.now(UTC) - timedelta(hours=1)
    await fail_jobs(store, 7, "Timeout")
    await fail_jobs(store, 4, "Busy")
    await fail_jobs(store, 2, "Timeout", "bob")
    headers = bearer((await make_key(client, "alice", "admin"))["key"]) if of_one else {}
    expected = {"Timeout": 7 if of_one else 9, "Busy": 4}
    for params in ({}, {"from": before.isoformat()}, {"errorType": "Busy"}, {"to": before.isoformat()}):
        found = (await client.get(FAILURES, headers=headers, params=params)).raise_for_status().json()
        wanted = {} if "to" in params else {name: expected[name] for name in (params.get("errorType"),) if name}
        assert {group["errorType"]: group["count"] for group in found["groups"]} == (
            wanted or ({} if "to" in params else expected)
        )
        buckets = found["buckets"]
        assert sum(buckets["counts"]) == sum(group["count"] for group in found["groups"])
        columns = zip(*(group["counts"] for group in found["groups"]), strict=True)
        assert [sum(column) for column in columns] == (buckets["counts"] if found["groups"] else [])
        assert [sum(group["counts"]) for group in found["groups"]] == [group["count"] for group in found["groups"]]
        if "from" in params:
            assert buckets["seconds"] == 60
            assert datetime.fromisoformat(buckets["from"]) <= before
            assert len(buckets["counts"]) in (61, 62)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999Z"),
        ("9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", None),
        (None, "1970-01-01T00:00:00Z"),
    ],
)
async def test_any_time_makes_few_buckets(
    client: httpx.AsyncClient, store: JobStore, start: str | None, end: str | None
) -> None:
    """Before the first failure, at the end of all calendars, or backwards: the answer is as small, and adds up."""
    await fail_jobs(store, 3, "Timeout")
    params = {name: at for name, at in (("from", start), ("to", end)) if at is not None}
    found = (await client.get(FAILURES, params=params)).raise_for_status().json()
    count = 3 if len(params) == 2 and str(start) < str(end) else 0
    assert sum(group["count"] for group in found["groups"]) == sum(found["buckets"]["counts"]) == count
    assert 1 <= len(found["buckets"]["counts"]) <= 62


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"expected": 1}, "filter"),
        ({"filter": {}, "jobIds": ["ai-job-1700000000000-0aaaaaaaa"], "expected": 1}, "filter"),
        ({"filter": {"error": "x"}, "expected": 1}, "filter"),
        ({"jobIds": ["no job"], "expected": 1}, "jobIds"),
        ({"filter": {}}, "expected"),
        ({"filter": {"from": "yesterday"}, "expected": 1}, "from"),
    ],
)
async def test_an_order_that_is_not_clear_is_refused(client: httpx.AsyncClient, order: Any, field: str) -> None:
    """Neither or both of filter and ids, unknown fields, and no expectation: nothing is done."""
    refused = problem(await client.post(f"{FAILURES}/redrive", json=order), 400, "invalid-request")
    assert refused["errors"][0]["field"].startswith(field)


async def test_a_retried_job_answers_the_same_id_for_ever(client: httpx.AsyncClient, store: JobStore) -> None:
    """Also when the new job is gone, to a retry and to a redrive; a retried job is no failure any more."""
    (job_id,) = await fail_jobs(store, 1, "Timeout")
    retry = f"/api/ai/jobs/{job_id}/retry"
    first = (await client.post(retry)).json()["jobId"]
    assert (await client.get("/api/ai/job-status", params={"jobId": job_id})).json()["retriedAs"] == first
    async with RawRedis(store.settings.redis_url) as raw:
        await raw("DEL", KEYS.job(first))
    assert (await client.post(retry)).json()["jobId"] == first
    assert (await client.get(FAILURES)).json()["groups"] == []
    order = {"jobIds": [job_id], "expected": 0}
    assert (await client.post(f"{FAILURES}/redrive", json=order)).json()["count"] == 0


async def test_a_cancelled_job_is_retried_with_its_prompt(client: httpx.AsyncClient, store: JobStore) -> None:
    """One that its worker ended keeps its prompt for that."""
    (job_id,) = await submit(store, organization="alice", prompt="say hello")
    provider = Scripted(answers)
    (held,) = await claim(store, 1)
    await store.cancel(held.job_id, force=True)
    retried = (await client.post(f"/api/ai/jobs/{job_id}/retry")).json()["jobId"]
    async with running_worker(store.settings, {"p": provider}):
        outcome = (await ended(store, retried)).outcome
    assert outcome is not None
    assert outcome.result == "Hello say hello"


async def test_a_redrive_leaves_room_for_new_jobs(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While half of all jobs that may wait do, it makes none."""
    looks: list[bool] = []
    look = TaskRun._too_many_wait

    async def noted(self: TaskRun) -> bool:
        looks.append(await look(self))
        return looks[-1]

    monkeypatch.setattr(TaskRun, "_too_many_wait", noted)
    monkeypatch.setattr(task_run, "CHECK_S", 0.1)
    settings = StoreSettings(redis_url=redis_url, lease_seconds=2.0)
    async with (
        running_gateway(redis_url, API_TOKENS=TOKENS, MAX_QUEUED_JOBS="10") as client,
        open_store(settings, client_name="test") as store,
    ):
        client.headers.update(bearer(OPERATOR))
        ids = await fail_jobs(store, 3, "Timeout")
        others = await submit(store, 5, organization="bob", route=("q:q",))  # of a gate that the worker does not have
        order = {"filter": {}, "expected": 3}
        task_id = (await client.post(f"{FAILURES}/redrive", json=order)).json()["taskId"]

        async with running_worker(settings, {"p": Scripted(answers)}):
            await until(partial(_are, looks, 3))
            assert set(looks) == {True}
            assert await origins(client, "alice") == Counter()
            for job_id in others:
                await store.cancel(job_id)
            assert (await task_done(client, task_id))["done"] == 3
        assert await origins(client, "alice") == Counter(ids)


async def _are(found: list[bool], count: int) -> bool:
    return len(found) >= count


async def test_limits_hold_for_a_redrive(client: httpx.AsyncClient, store: JobStore) -> None:
    """Jobs that their organisation may not submit now are redriven later."""
    ids = await fail_jobs(store, 3, "Timeout")
    settings = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=2.0, organization_submits_per_minute=2)
    order = {"filter": {}, "expected": 3}
    task_id = (await client.post(f"{FAILURES}/redrive", json=order)).json()["taskId"]

    async def two_done() -> bool:
        return bool((await client.get(f"/api/admin/tasks/{task_id}")).json()["done"] == 2)

    async with running_worker(settings, {"p": Scripted(answers)}):
        await until(two_done)
        async with RawRedis(store.settings.redis_url) as raw:
            await raw("DEL", KEYS.prefix("submits") + "alice")
    async with running_worker(store.settings, {"p": Scripted(answers)}):
        assert (await task_done(client, task_id))["done"] == 3
    assert await origins(client, "alice") == Counter(ids)
