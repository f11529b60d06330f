"""Connections of one organisation: streams, long polls and bodies have limits; another organisation feels nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.gateway.http.bodies import Head, read_body
from shared.http.auth import hash_token
from shared.http.organization_limits import BODY_BYTES, InUse
from shared.http.problems import Problem
from shared.job_ids import new_job_id
from shared.store.job_store import JobStore
from shared.telemetry.metrics import LimitMetrics
from tests.support.gateway import BATCH, STATUS, SUBMIT, body, problem, running_gateway, subscribed
from tests.support.job_life import JobLife
from tests.support.notifier import running_notifier
from tests.support.sse import Stream
from tests.support.store import settle

TOKENS = f"{hash_token('a')} org-a\n{hash_token('b')} org-b\n{hash_token('all')}"
A, B, OPERATOR = ({"Authorization": f"Bearer {token}"} for token in ("a", "b", "all"))


def _refused(answer: httpx.Response, limit: str) -> None:
    document = problem(answer, 429, "organization-limit")
    assert document["limit"] == limit
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["ratelimit-policy"].startswith(f'"{limit}";q=')
    assert answer.headers["ratelimit"].startswith(f'"{limit}";r=')


async def _retry_ms(url: str, headers: dict[str, str]) -> int:
    """The `retry:` of a stream that ends at once."""
    async with Stream(url, headers=headers) as stream:
        body = (await asyncio.wait_for(stream.body(), 60)).decode()
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return int(body.removeprefix("retry: "))


async def test_streams_beyond_the_limit_are_asked_to_come_later(store: JobStore) -> None:
    """EventSource gets 200 and a `retry:` of 5 to 15 s, other clients 429; a closed stream makes room for the next."""
    job, other = await JobLife(store, organization_id="org-a").submit(), JobLife(store, organization_id="org-b")
    await other.submit()
    running = running_notifier(store.settings, api_tokens=TOKENS, organization_streams=2)
    async with running as notifier, AsyncExitStack() as streams:
        url = notifier.events(job.id)
        first, _ = [await streams.enter_async_context(Stream(url, headers=headers)) for headers in (A, OPERATOR)]
        for headers in (A, OPERATOR):
            assert 5000 <= await _retry_ms(url, headers) <= 15_000
            async with Stream(url, headers=headers | {"Accept": "*/*"}) as refused:
                assert (refused.status, (await refused.json())["limit"]) == (429, "streams")
                assert refused.headers["ratelimit-policy"] == '"streams";q=2;qu="concurrent-requests"'
                assert refused.headers["ratelimit"] == '"streams";r=0;t=5'
        free = await streams.enter_async_context(Stream(notifier.events(other.id), headers=B))
        assert [event.kind for event in await free.take(1)] == ["queued"]
        assert await notifier.metric('presswork_organization_limit_refusals_total{limit="streams"}') == 4

        first.cut()
        async with asyncio.timeout(10):
            while await notifier.connections() > 2:
                await asyncio.sleep(0.02)
        again = await streams.enter_async_context(Stream(url, headers=A))
        assert [event.kind for event in await again.take(1)] == ["queued"]


async def test_an_organisations_own_limit_of_streams_holds(store: JobStore) -> None:
    """It comes before the fleet's, both ways, and a change acts within seconds."""
    job = await JobLife(store, organization_id="org-a").submit()
    await settle(store, "org-a", streams=1)
    running = running_notifier(store.settings, api_tokens=TOKENS, organization_streams=5)
    async with running as notifier, AsyncExitStack() as streams:
        url = notifier.events(job.id)
        await streams.enter_async_context(Stream(url, headers=A))
        assert 5000 <= await _retry_ms(url, A) <= 15_000
        await settle(store, "org-a", streams=0)
        async with asyncio.timeout(60):
            while (await streams.enter_async_context(Stream(url, headers=A | {"Accept": "*/*"}))).status == 429:
                await asyncio.sleep(0.2)


async def test_a_missing_job_is_missing_also_beyond_the_limit(store: JobStore) -> None:
    """Requests that open no stream hold no place: 404 as before."""
    async with running_notifier(store.settings, api_tokens=TOKENS, organization_streams=1) as notifier:
        for _ in range(3):
            async with Stream(notifier.events(new_job_id()), headers=A) as stream:
                assert stream.status == 404


async def test_waits_beyond_the_limit_are_refused(store: JobStore, redis_url: str) -> None:
    """While a call of an organisation waits, its next gets 429; without `wait` it is answered, and so are others'."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS, ORGANIZATION_LONG_POLLS="1") as client:
        jobs = {}
        for name, headers in (("org-a", A), ("org-b", B)):
            submitted = await client.post(SUBMIT, json=body(organizationId=name), headers=headers)
            jobs[name] = submitted.json()["jobId"]

        async def status(name: str, headers: dict[str, str], wait: float) -> httpx.Response:
            return await client.get(STATUS, params={"jobId": jobs[name], "wait": wait}, headers=headers)

        waiting = asyncio.create_task(status("org-a", A, 30))
        await subscribed(redis_url, store.keys.job_channel(jobs["org-a"]))
        _refused(await status("org-a", A, 0.05), "longPolls")
        assert (await status("org-a", A, 0)).status_code == 200
        assert (await status("org-b", B, 0.05)).status_code == 200

        await client.post(f"/api/ai/jobs/{jobs['org-a']}/cancel", headers=A)
        assert (await waiting).json()["status"] == "cancelled"
        await client.post(SUBMIT, json=body(organizationId="org-a"), headers=A)
        assert (await status("org-a", A, 0.05)).status_code == 200


def _batch(organization_id: str) -> dict[str, object]:
    """Some 60 KB."""
    return {"jobs": [body(organizationId=organization_id, prompt="x" * 500)] * 100}


async def _upload(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A body of 60,000 bytes that is announced, and awaited by the gateway."""
    place = urlsplit(str(client.base_url))
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    given = headers | {"Host": "localhost", "Content-Type": "application/json", "Content-Length": "60000"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in (given | {"Expect": "100-continue"}).items())
    writer.write(f"POST {SUBMIT} HTTP/1.1\r\n{lines}\r\n".encode())
    async with asyncio.timeout(10):
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_bytes_being_read_have_a_limit(redis_url: str) -> None:
    """While a long body of an organisation is on its way, another is refused; other callers' bodies are read."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS, ORGANIZATION_BODY_BYTES="100000") as client:
        reader, writer = await _upload(client, A)
        _refused(await client.post(BATCH, json=_batch("org-a"), headers=A), "bodyBytes")
        assert (await client.post(SUBMIT, json=body(organizationId="org-a"), headers=A)).status_code == 202
        assert (await client.post(BATCH, json=_batch("org-b"), headers=B)).status_code == 202
        assert (await client.post(BATCH, json=_batch("org-a"), headers=OPERATOR)).status_code == 202

        writer.write(b" " * 60_000)
        assert b" 400 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        metrics = (await client.get("/metrics")).text
        assert 'presswork_submits_refused_total{reason="organization-limit"} 1.0' in metrics
        assert (await client.post(BATCH, json=_batch("org-a"), headers=A)).status_code == 202


async def test_a_client_that_hangs_up_gives_its_bytes_back(redis_url: str) -> None:
    """A body that will never come is no part of what is being read."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS, ORGANIZATION_BODY_BYTES="100000") as client:
        _, writer = await _upload(client, A)
        writer.transport.abort()
        async with asyncio.timeout(10):
            while (await client.post(BATCH, json=_batch("org-a"), headers=A)).status_code == 429:
                await asyncio.sleep(0.02)


async def test_a_body_of_unknown_length_counts_as_it_comes() -> None:
    """A body in pieces is refused at the piece that is too much; one alone is never refused."""
    in_use = InUse(BODY_BYTES, lambda _: 100, LimitMetrics(CollectorRegistry()).refusals)
    head = Head(content_type=b"application/json")

    async def read(pieces: int) -> int:
        left = iter(range(pieces - 1, -1, -1))

        async def receive() -> Any:
            return {"type": "http.request", "body": b"x" * 30, "more_body": next(left) > 0}

        with in_use.held("org-a") as held:
            return len(await read_body(head, receive, 1000, held))

    assert await read(10) == 300
    with in_use.held("org-a") as other:
        other.grow(50)
        assert await read(2) == 60
        with pytest.raises(Problem, match="organization-limit"):
            await read(3)
    assert await read(10) == 300
