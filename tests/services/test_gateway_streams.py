"""Event streams on the gateway's own origin: those of the notifier, without a notifier."""

from __future__ import annotations

import asyncio
import hashlib

import httpx

from shared.store.job_store import JobStore
from tests.support.gateway import problem, running_gateway
from tests.support.job_life import JobLife
from tests.support.sse import Stream
from tests.support.upstash import TOKEN, running_upstash


def _events(client: httpx.AsyncClient, job_id: str, prefix: str = "") -> str:
    return f"{str(client.base_url).rstrip('/')}{prefix}/api/ai/job-events?jobId={job_id}"


async def test_a_job_is_followed_live_and_resumed_at_the_gateway(redis_url: str, store: JobStore) -> None:
    """Every step arrives as it happens; a reader that was cut goes on where it was; who has the end gets 204."""
    job = await JobLife(store).submit()
    async with running_gateway(redis_url, ROOT_PATH="/presswork") as client:
        async with Stream(_events(client, job.id)) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["x-content-type-options"] == "nosniff"
            assert [event.kind for event in await stream.take(1)] == ["queued"]
            await job.start()
            await job.write("one ")
            seen = await stream.take(2)
        await job.complete("two")
        async with Stream(_events(client, job.id, "/presswork"), last_event_id=seen[-1].id) as stream:
            *_, end = await stream.rest()
        assert (end.kind, end.data["result"]) == ("completed", "one two")
        async with Stream(_events(client, job.id), last_event_id=end.id) as stream:
            assert stream.status == 204


async def test_tokens_and_limits_hold_for_streams_too(redis_url: str, store: JobStore) -> None:
    """Without the token there is no stream, and beyond half of the connections a reader is asked to come back."""
    job = await JobLife(store).submit()
    tokens = {"API_TOKENS": hashlib.sha256(b"secret").hexdigest()}
    async with running_gateway(redis_url, GATEWAY_MAX_CONNECTIONS="2", **tokens) as client:
        problem(await client.get(f"/api/ai/job-events?jobId={job.id}"), 401, "unauthorized")
        headers = {"Authorization": "Bearer secret"}
        async with Stream(_events(client, job.id), headers=headers) as first:
            assert [event.kind for event in await first.take(1)] == ["queued"]
            async with Stream(_events(client, job.id), headers=headers) as second:
                assert second.status == 200
                assert await second.rest() == []
                assert (second.retry_ms or 0) >= 1000


async def test_streams_end_when_the_gateway_stops(redis_url: str, store: JobStore) -> None:
    """A stop ends them within a moment, and asks their readers to come back."""
    job = await JobLife(store).submit()
    loop = asyncio.get_running_loop()
    async with running_gateway(redis_url) as client:
        stream = Stream(_events(client, job.id))
        await stream.__aenter__()
        await stream.take(1)
        began = loop.time()
    assert loop.time() - began < 30
    assert await stream.rest() == []
    stream.cut()


async def test_over_rest_a_stream_is_read_by_the_clock(redis_url: str, store: JobStore) -> None:
    """Without notifications the job's events still come, a little later."""
    job = await JobLife(store).submit()
    async with running_upstash(redis_url) as upstash:
        rest = {
            "REDIS_TRANSPORT": "rest", "UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": TOKEN
        }  # fmt: skip
        async with running_gateway(redis_url, **rest) as client, Stream(_events(client, job.id)) as stream:
            await stream.take(1)
            await job.start()
            await job.write("one ")
            await job.complete("two")
            assert [event.kind for event in await stream.rest()][-1] == "completed"
