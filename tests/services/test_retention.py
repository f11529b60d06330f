"""Retention of an organisation, through the gateway with a worker: what is over is gone, and what is gone is said."""

from __future__ import annotations

import httpx

from shared.store.job_store import JobStore
from tests.support.checks import RawRedis
from tests.support.failures import FAILURES, fail_jobs, task_done
from tests.support.gateway import STATUS, SUBMIT, body, problem
from tests.support.worker import Scripted, answers, running_worker, until

ALICE = "/api/admin/organizations/alice"


async def _settle(client: httpx.AsyncClient, **retention: int | None) -> None:
    answer = await client.patch(ALICE, json={"retention": retention})
    assert answer.status_code == 200, answer.text


async def test_after_two_seconds_nothing_of_a_job_is_left(
    client: httpx.AsyncClient, store: JobStore, redis_url: str
) -> None:
    """Completed, failed or cancelled: no status, no events, no place in a listing, and no key with its id."""
    await _settle(client, resultSeconds=2, failedSeconds=2)
    (failed,) = await fail_jobs(store, 1, "Timeout")
    cancelled = (await client.post(SUBMIT, json=body(organizationId="alice", delaySeconds=600))).json()["jobId"]
    assert (await client.post(f"/api/ai/jobs/{cancelled}/cancel")).status_code == 200
    async with RawRedis(redis_url) as raw, running_worker(store.settings, {"p": Scripted(answers)}):
        completed = (await client.post(SUBMIT, json=body(organizationId="alice"))).json()["jobId"]
        ids = [failed, cancelled, completed]

        async def gone() -> bool:
            answers_now = [await client.get(STATUS, params={"jobId": job_id}) for job_id in ids]
            groups = (await client.get(FAILURES, params={"organizationId": "alice"})).json()["groups"]
            return not groups and all(answer.status_code == 404 for answer in answers_now)

        await until(gone, 60)
        for job_id in ids:
            assert (await client.get("/api/ai/job-events", params={"jobId": job_id})).status_code == 404
            assert await raw("KEYS", f"*{job_id}*") == []
    assert (await client.get("/api/ai/jobs", params={"organizationId": "alice"})).json()["jobs"] == []
    everywhere = (await client.get(FAILURES)).json()["groups"]
    assert everywhere == []


async def test_a_prompt_that_is_gone_is_said(client: httpx.AsyncClient, store: JobStore) -> None:
    """By the request, the retry, the redrive of a job by its id, and the task that met it by a filter."""
    (kept,) = await fail_jobs(store, 1, "Timeout")
    await _settle(client, promptSeconds=0)
    (gone,) = await fail_jobs(store, 1, "Timeout")
    assert (await client.get(f"/api/ai/jobs/{kept}/request")).status_code == 200
    problem(await client.get(f"/api/ai/jobs/{gone}/request"), 409, "request-gone")
    document = problem(await client.post(f"/api/ai/jobs/{gone}/retry"), 409, "request-gone")
    assert "submit a new job" in document["detail"]

    redrive = f"{FAILURES}/redrive"
    refused = await client.post(redrive, json={"jobIds": [gone], "expected": 1})
    assert problem(refused, 409, "count-changed")["count"] == 0
    order = {"filter": {"organizationId": "alice"}, "expected": 2}
    accepted = (await client.post(redrive, json=order)).json()
    async with running_worker(store.settings, {"p": Scripted(answers)}):
        task = await task_done(client, accepted["taskId"])
    assert (task["done"], task["count"], task["promptsGone"]) == (1, 2, 1)
    left = (await client.get(FAILURES, params={"organizationId": "alice"})).json()["groups"]
    assert [group["jobIds"] for group in left] == [[gone]]
