"""Streams for Vercel's AI SDK: `job-events?format=ai-sdk`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.job import JobError, JobStatus, Outcome
from shared.settings import StoreSettings
from shared.store.job_store import JobStore
from shared.store.transitions import Finish
from tests.support.callers import TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import problem, running_gateway
from tests.support.job_life import JobLife
from tests.support.notifier import running_notifier
from tests.support.ui_messages import kinds, parts_of, shown


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
