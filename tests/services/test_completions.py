"""`POST /api/ai/completion`, as `useCompletion` of Vercel's AI SDK calls it: a job and its stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.gateway.ai_sdk import completion
from shared.http.auth import Scope
from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.job_store import JobStore
from tests.support.callers import TOKENS, bearer, make_key
from tests.support.gateway import body, problem, running_gateway
from tests.support.job_life import JobLife
from tests.support.ui_messages import kinds, parts_of, shown
from tests.support.worker import DONE, Scripted, answers, running_worker, until, waits_for_ever

COMPLETION = "/api/ai/completion"


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that asks for no key."""
    async with running_gateway(redis_url) as running:
        yield running


async def test_a_completion_is_a_job_and_its_stream(
    gateway: httpx.AsyncClient, store: JobStore, redis_url: str
) -> None:
    """As `useCompletion` asks: a prompt and the fields of a job; a bad one is a problem."""
    settings = StoreSettings(redis_url=redis_url, lease_seconds=2.0)
    async with running_worker(settings, {"demo": Scripted(answers)}):
        answer = await gateway.post(COMPLETION, json=body(prompt="world"))
    parts = parts_of(answer.text)
    assert shown(parts) == "Hello world"
    job = await store.status(parts[0]["messageId"])
    assert job is not None
    assert job.status is JobStatus.COMPLETED
    problem(await gateway.post(COMPLETION, json=body(prompt="")), 400, "invalid-request")


async def test_a_lost_attempt_ends_a_completion_with_an_error(gateway: httpx.AsyncClient, store: JobStore) -> None:
    """The hook cannot hide text: it gets the id of the job, which goes on."""
    job = JobLife(store, organization_id="org-789")
    async with gateway.stream("POST", COMPLETION, json=body()) as answer:
        (listed,) = (await gateway.get("/api/ai/jobs?organizationId=org-789")).json()["jobs"]
        job.id = listed["jobId"]
        await job.start()
        await job.write("lost")
        await job.retry()
        parts = parts_of((await answer.aread()).decode())
    assert parts[-1]["type"] == "error"
    assert job.id in parts[-1]["errorText"]
    await job.start()
    await job.complete("found")


async def test_a_reader_that_leaves_cancels_its_completion(
    gateway: httpx.AsyncClient, store: JobStore, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, unless the job ended; a reader of `job-events` cancels nothing."""
    monkeypatch.setattr(completion, "CANCEL_AFTER_S", 0.2)
    settings = StoreSettings(redis_url=redis_url, lease_seconds=2.0)
    provider = Scripted(waits_for_ever)
    async with running_worker(settings, {"demo": provider}):
        async with gateway.stream("POST", COMPLETION, json=body()) as answer:
            first = await anext(answer.aiter_lines())
        job_id = json.loads(first.removeprefix("data: "))["messageId"]

        async def cancelled() -> bool:
            job = await store.status(job_id)
            return job is not None and job.status is JobStatus.CANCELLED

        await until(cancelled)
        other = (await gateway.post("/api/ai/generate-content", json=body())).json()["jobId"]
        await provider.called(2)
        async with gateway.stream("GET", f"/api/ai/job-events?jobId={other}&format=ai-sdk") as answer:
            await anext(answer.aiter_lines())
        await asyncio.sleep(0.5)
        job = await store.status(other)
    assert job is not None
    assert not job.cancel_requested


async def test_a_completion_that_was_asked_for_again_goes_on(
    gateway: httpx.AsyncClient, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first reader left, but a repeat with the same key reads the job: it is cancelled once that one leaves too."""
    monkeypatch.setattr(completion, "CANCEL_AFTER_S", 0.2)
    job = JobLife(store, organization_id="org-789")
    asked: dict[str, Any] = {"json": body(), "headers": {"Idempotency-Key": "k-1"}}
    async with gateway.stream("POST", COMPLETION, **asked) as second:
        lines = second.aiter_lines()
        job.id = json.loads((await anext(lines)).removeprefix("data: "))["messageId"]
        async with gateway.stream("POST", COMPLETION, **asked) as first:
            await anext(first.aiter_lines())
        await asyncio.sleep(0.6)
        assert (await gateway.get(f"/api/ai/job-status?jobId={job.id}")).json()["status"] == "queued"

    async def cancelled() -> bool:
        found = await store.status(job.id)
        return found is not None and found.status is JobStatus.CANCELLED

    await until(cancelled)


async def test_a_completion_needs_both_scopes(redis_url: str) -> None:
    """It submits, and it reads."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as gateway:
        for scope in (Scope.JOBS_WRITE, Scope.EVENTS_READ):
            key = (await make_key(gateway, "org-789", str(scope)))["key"]
            problem(await gateway.post(COMPLETION, json=body(), headers=bearer(key)), 403, "insufficient-scope")


async def _one(_: object) -> AsyncIterator[Any]:
    yield DONE


async def test_an_empty_text_has_no_part(gateway: httpx.AsyncClient, redis_url: str) -> None:
    """Nothing was written."""
    settings = StoreSettings(redis_url=redis_url, lease_seconds=2.0)
    async with running_worker(settings, {"demo": Scripted(_one)}):
        parts = parts_of((await gateway.post(COMPLETION, json=body())).text)
    assert kinds(parts) == ["start", "start-step", "finish-step", "finish"]
