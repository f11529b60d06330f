"""Streams for Vercel's AI SDK: `job-events?format=ai-sdk` and `POST /api/ai/completion`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.gateway.ai_sdk import completion
from shared.http.auth import Scope
from shared.job import JobError, JobStatus, Outcome
from shared.settings import StoreSettings
from shared.store.job_store import JobStore
from shared.store.transitions import Finish
from tests.support.callers import TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import body, problem, running_gateway
from tests.support.job_life import JobLife
from tests.support.notifier import running_notifier
from tests.support.worker import DONE, Scripted, answers, running_worker, until, waits_for_ever

COMPLETION = "/api/ai/completion"

FIELDS = {
    "start": {"messageId", "messageMetadata"},
    "start-step": set(),
    "text-start": {"id"},
    "text-delta": {"id", "delta"},
    "text-end": {"id", "providerMetadata"},
    "finish-step": set(),
    "finish": {"messageMetadata"},
    "error": {"errorText"},
    "abort": set(),
}
"""Fields that the SDK's own schema allows, which takes no others: those of them that we use."""


def parts_of(text: str) -> list[dict[str, Any]]:
    """The parts of a whole stream, checked."""
    *blocks, done, nothing = text.split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    parts = [json.loads(block.removeprefix("data: ")) for block in blocks if block != ":"]
    for part in parts:
        assert set(part) - {"type"} <= FIELDS[part["type"]], part
    return parts


def kinds(parts: list[dict[str, Any]]) -> list[str]:
    """Their types."""
    return [part["type"] for part in parts]


def shown(parts: list[dict[str, Any]]) -> str:
    """The text that a reader sees who hides superseded parts."""
    hidden = {part["id"] for part in parts if part["type"] == "text-end" and "providerMetadata" in part}
    return "".join(part["delta"] for part in parts if part["type"] == "text-delta" and part["id"] not in hidden)


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that asks for no key."""
    async with running_gateway(redis_url) as running:
        yield running


async def streamed(client: httpx.AsyncClient, job_id: str, base: str = "") -> list[dict[str, Any]]:
    """The whole stream of a job that has ended."""
    answer = await client.get(f"{base}/api/ai/job-events?jobId={job_id}&format=ai-sdk")
    assert answer.status_code == 200
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert answer.headers["content-type"].startswith("text/event-stream")
    return parts_of(answer.text)


async def test_a_job_is_one_message(gateway: httpx.AsyncClient, store: JobStore, redis_url: str) -> None:
    """Its id is the job's, also in its metadata; its end has its cost. The notifier streams the same."""
    job = await JobLife(store).submit()
    await job.start()
    await job.write("one ")
    await job.complete("two")
    parts = await streamed(gateway, job.id)
    assert kinds(parts) == [
        "start", "start-step", "text-start", "text-delta", "text-delta", "text-end", "finish-step", "finish",
    ]  # fmt: skip
    assert (parts[0]["messageId"], parts[0]["messageMetadata"]["jobId"]) == (job.id, job.id)
    assert parts[-1]["messageMetadata"]["status"] == "completed"
    assert shown(parts) == "one two"
    async with running_notifier(StoreSettings(redis_url=redis_url)) as notifier:
        assert await streamed(gateway, job.id, notifier.url) == parts


async def test_every_connection_gets_the_message_from_its_start(gateway: httpx.AsyncClient, store: JobStore) -> None:
    """Live too, and without regard to a cursor."""
    job = await JobLife(store).submit()
    await job.start()
    await job.write("one ")
    url = f"/api/ai/job-events?jobId={job.id}&format=ai-sdk"
    async with (
        gateway.stream("GET", url, headers={"Last-Event-ID": "0-0.1"}) as first,
        gateway.stream("GET", url) as second,
    ):
        await job.write("two ")
        await job.complete("three")
        texts = [(await answer.aread()).decode() for answer in (first, second)]
    assert [shown(parts_of(text)) for text in texts] == ["one two three"] * 2


async def test_a_superseded_attempt_is_a_part_that_says_so(gateway: httpx.AsyncClient, store: JobStore) -> None:
    """It can be hidden; an attempt without text is no part."""
    job = await JobLife(store).submit()
    await job.start()
    await job.write("lost")
    await job.retry()
    await job.start()
    await job.retry()
    await job.start()
    await job.complete("found")
    parts = await streamed(gateway, job.id)
    ends = [part for part in parts if part["type"] == "text-end"]
    assert [end.get("providerMetadata") for end in ends] == [{"presswork": {"superseded": True}}, None]
    assert shown(parts) == "found"


async def test_a_stream_that_is_closed_before_its_end_says_so(store: JobStore, redis_url: str) -> None:
    """The SDK takes an end without an error for the end of the text; a stream that follows has it all."""
    job = await JobLife(store).submit()
    await job.start()
    await job.write("one ")
    async with running_gateway(redis_url, NOTIFIER_STREAM_SECONDS="0.3") as gateway:
        parts = await streamed(gateway, job.id)
        assert kinds(parts) == ["start", "start-step", "text-start", "text-delta", "error"]
        assert parts[-1]["errorText"] == f"{job.id}: the stream was interrupted, and the job goes on: resume it"
        await job.complete("two")
        assert shown(await streamed(gateway, job.id)) == "one two"


async def test_a_lost_log_is_one_delta(gateway: httpx.AsyncClient, store: JobStore, redis_url: str) -> None:
    """With the whole result."""
    job = await JobLife(store).submit()
    await job.start()
    await job.write("one ")
    await job.complete("two")
    async with RawRedis(redis_url) as raw:
        await raw("DEL", store.keys.log(job.id))
    parts = await streamed(gateway, job.id)
    assert kinds(parts) == ["start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish"]
    assert shown(parts) == "one two"


async def test_other_ends(gateway: httpx.AsyncClient, store: JobStore) -> None:
    """A failed job ends with an error that names it, a cancelled one is aborted with the text so far."""
    failed = await JobLife(store).submit()
    await failed.start()
    outcome = Outcome(error=JobError(type="Timeout", message="it took too long"))
    await store.finish(Finish(failed.claim, JobStatus.FAILED, outcome, number=1, offset=0, run_ms=1))
    parts = await streamed(gateway, failed.id)
    assert parts[-1] == {"type": "error", "errorText": f"{failed.id}: it took too long"}

    cancelled = await JobLife(store).submit()
    await store.cancel(cancelled.id)
    assert kinds(await streamed(gateway, cancelled.id)) == ["start", "start-step", "abort"]


async def test_bad_requests_for_such_a_stream_are_problems(redis_url: str, store: JobStore) -> None:
    """Another format, no job, another organisation's job, and no room are no streams: `fetch` reads the status."""
    job = await JobLife(store).submit()
    async with running_gateway(redis_url, API_TOKENS=TOKENS, GATEWAY_MAX_CONNECTIONS="2") as gateway:
        own, other = [(await make_key(gateway, name))["key"] for name in ("org-1", "org-2")]
        url = f"/api/ai/job-events?jobId={job.id}&format="
        problem(await gateway.get(f"{url}ai-sdk"), 401, "unauthorized")
        problem(await gateway.get(f"{url}text", headers=bearer(own)), 400, "invalid-request")
        problem(await gateway.get("/api/ai/job-events?format=ai-sdk", headers=bearer(own)), 400, "invalid-request")
        problem(await gateway.get(f"{url}ai-sdk", headers=bearer(other)), 404, "not-found")
        async with gateway.stream("GET", f"{url}ai-sdk", headers=bearer(own)):
            problem(await gateway.get(f"{url}ai-sdk", headers=bearer(own)), 503, "overloaded")


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
    """The hook cannot hide text: it is told the job, which goes on."""
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
