"""Body limits, slow bodies and backpressure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest

from services.gateway.http import bodies
from services.gateway.submit import admission
from services.gateway.submit.batch import BATCH_BODY_MAX
from services.gateway.submit.single import BODY_MAX
from shared.job import JobStatus, Outcome
from shared.server import http11
from shared.store.job_store import JobStore
from shared.store.transitions import Finish
from tests.support.checks import RawRedis
from tests.support.gateway import BATCH, SUBMIT, body, problem, running_gateway
from tests.support.store import ERROR, claim

JSON = {"content-type": "application/json"}
SLOW = f"POST {SUBMIT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


async def _in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 50_000):
        yield content[start : start + 50_000]


@pytest.mark.parametrize(("path", "limit"), [(SUBMIT, BODY_MAX), (BATCH, BATCH_BODY_MAX)])
async def test_a_body_may_be_as_long_as_the_limit_and_no_longer(redis_url: str, path: str, limit: int) -> None:
    """One byte over the limit is 413, declared or in chunks; exactly the limit is read (and here 400)."""
    async with running_gateway(redis_url) as client:
        for content, status, slug in (
            (b" " * (limit + 1), 413, "body-too-large"),
            (b" " * limit, 400, "invalid-request"),
        ):
            problem(await client.post(path, content=content, headers=JSON), status, slug)
            problem(await client.post(path, content=_in_pieces(content), headers=JSON), status, slug)
        assert (await client.get("/api/ai/queue-stats")).json()["stats"]["queued"] == 0


async def test_a_good_body_may_come_in_chunks(redis_url: str) -> None:
    """A chunked upload of a long prompt is taken like any other."""
    content = json.dumps(body(prompt="x" * 60_000)).encode()
    async with running_gateway(redis_url) as client:
        assert (await client.post(SUBMIT, content=_in_pieces(content), headers=JSON)).status_code == 202


async def test_a_job_of_a_batch_may_be_as_long_as_a_job_alone(redis_url: str) -> None:
    """One that is too long is refused by itself, with a 413, and spoils no other."""
    async with running_gateway(redis_url) as client:
        jobs = [body(), body(metadata={"x": "x" * BODY_MAX}), body()]
        taken, refused, last = (await client.post(BATCH, json={"jobs": jobs})).json()["jobs"]
        assert (refused["error"]["status"], refused["error"]["type"]) == (413, "urn:presswork:problem:body-too-large")
        assert [taken["status"], last["status"]] == ["queued", "queued"]


async def test_the_gateway_works_on_after_refusing_a_flood(redis_url: str) -> None:
    """Uploads of 64 MiB are cut off, and others are served meanwhile and afterwards."""

    async def flood(client: httpx.AsyncClient) -> None:
        try:
            answer = await client.post(SUBMIT, content=_in_pieces(b"x" * (64 << 20)), headers=JSON)
            assert answer.status_code == 413
        except httpx.TransportError:
            pass  # cut off before the answer could be read

    async with running_gateway(redis_url) as client, asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(flood(client))
        for _ in range(20):
            assert (await client.post(SUBMIT, json=body())).status_code == 202


async def test_a_dawdling_body_is_given_up(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body whose rest does not come is 408, and the connection is closed: by the gateway itself, as other servers
    than ours have no deadline for it."""
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(http11, "BODY_SECONDS", 3600)
    async with running_gateway(redis_url) as client:
        place = urlsplit(str(client.base_url))
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(SLOW.encode() + b'{"pro')
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"urn:presswork:problem:body-too-slow" in answer


async def test_a_body_without_end_is_refused_at_the_limit(redis_url: str) -> None:
    """An upload in pieces is answered when it is beyond the limit, not when it is over."""
    piece = b"%x\r\n%s\r\n" % (1 << 16, b" " * (1 << 16))
    async with running_gateway(redis_url) as client:
        place = urlsplit(str(client.base_url))
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(SLOW.replace("Content-Length: 100", "Transfer-Encoding: chunked").encode())
        writer.write(piece * (BODY_MAX // (1 << 16) + 1))
        answer = await asyncio.wait_for(reader.readline(), 30)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_hangs_up_leaves_nothing(redis_url: str) -> None:
    """A connection cut in mid-body makes no job and no error."""
    async with running_gateway(redis_url) as client:
        place = urlsplit(str(client.base_url))
        _, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(SLOW.encode() + b'{"pro')
        await writer.drain()
        writer.transport.abort()
        assert (await client.get("/api/ai/queue-stats")).json()["stats"]["queued"] == 0
        assert (await client.post(SUBMIT, json=body())).status_code == 202


async def _refused(client: httpx.AsyncClient, path: str, content: object) -> httpx.Response:
    """The first 503, submitting until the gateway has noticed."""
    async with asyncio.timeout(30):
        while (answer := await client.post(path, json=content)).status_code == 202:
            await asyncio.sleep(0.02)
    return answer


async def _taken(client: httpx.AsyncClient) -> None:
    """Submit until the gateway has noticed that it may take a job again."""
    async with asyncio.timeout(30):
        while (answer := await client.post(SUBMIT, json=body())).status_code == 503:
            await asyncio.sleep(0.02)
    assert answer.status_code == 202


async def test_a_full_queue_refuses_until_there_is_room(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond MAX_QUEUED_JOBS submits are 503 with Retry-After; when jobs are gone they are taken again."""
    monkeypatch.setattr(admission, "FRESH_S", 0.05)
    async with running_gateway(redis_url, MAX_QUEUED_JOBS="3") as client:
        refused = await _refused(client, SUBMIT, body())
        problem(refused, 503, "queue-full")
        assert int(refused.headers["retry-after"]) > 0
        problem(await client.post(BATCH, json={"jobs": [body()]}), 503, "queue-full")
        metrics = (await client.get("/metrics")).text
        assert 'presswork_submits_refused_total{reason="queue-full"} 2.0' in metrics
        assert 'presswork_submits_refused_total{reason="store-full"} 0.0' in metrics
        page = (await client.get("/api/ai/jobs?organizationId=org-789&limit=100")).json()
        for job in page["jobs"]:
            await client.post(f"/api/ai/jobs/{job['jobId']}/cancel")
        await _taken(client)


async def _failed(client: httpx.AsyncClient, store: JobStore) -> str:
    """The path of the retry of a job that has failed."""
    job = (await client.post(SUBMIT, json=body())).json()
    (held,) = await claim(store)
    await store.finish(Finish(held, JobStatus.FAILED, Outcome(error=ERROR), number=1, offset=0, run_ms=1))
    return f"/api/ai/jobs/{job['jobId']}/retry"


async def test_a_full_queue_is_checked_now_and_then(redis_url: str) -> None:
    """However many submits are refused, Redis is asked for the figures every two seconds at most."""
    async with running_gateway(redis_url, MAX_QUEUED_JOBS="1") as client, RawRedis(redis_url) as raw:

        async def checks() -> int:
            lines = (await raw("INFO", "commandstats")).decode().splitlines()
            return int(next(line for line in lines if line.startswith("cmdstat_info:")).split("=")[1].split(",")[0])

        await _refused(client, SUBMIT, body())
        before, began = await checks(), asyncio.get_running_loop().time()
        for _ in range(20):
            problem(await client.post(SUBMIT, json=body()), 503, "queue-full")
        spent_s = asyncio.get_running_loop().time() - began
        assert await checks() - before <= 2 + spent_s / 2  # the test itself asked once


async def test_a_full_queue_refuses_retries_too(
    redis_url: str, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry makes a new job: beyond MAX_QUEUED_JOBS it is 503 like a submit, and counted with those refused."""
    monkeypatch.setattr(admission, "FRESH_S", 0.05)
    async with running_gateway(redis_url, MAX_QUEUED_JOBS="3") as client:
        retry = await _failed(client, store)
        await _refused(client, SUBMIT, body())
        problem(await client.post(retry), 503, "queue-full")
        assert 'presswork_submits_refused_total{reason="queue-full"} 2.0' in (await client.get("/metrics")).text
        page = (await client.get("/api/ai/jobs?organizationId=org-789&limit=100")).json()
        for job in page["jobs"]:
            await client.post(f"/api/ai/jobs/{job['jobId']}/cancel")
        async with asyncio.timeout(30):
            while (answer := await client.post(retry)).status_code == 503:
                await asyncio.sleep(0.02)
        assert answer.status_code == 202


async def test_a_retry_that_finds_no_memory_is_counted(redis_url: str, store: JobStore) -> None:
    """Redis itself refuses the new job of a retry: 503 store-full, counted, and the failed job is as it was."""
    async with running_gateway(redis_url) as client, RawRedis(redis_url) as raw:
        retry = await _failed(client, store)
        await raw("CONFIG", "SET", "maxmemory", "1")
        try:
            problem(await client.post(retry), 503, "store-full")
        finally:
            await raw("CONFIG", "SET", "maxmemory", "0")
        assert 'presswork_submits_refused_total{reason="store-full"} 1.0' in (await client.get("/metrics")).text
        assert (await client.get("/api/ai/queue-stats")).json()["stats"]["failed"] == 1


async def test_a_server_short_of_memory_is_spared(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 85 % of maxmemory on submits are 503, while status and cancel go on; with memory back they are taken."""
    monkeypatch.setattr(admission, "FRESH_S", 0.05)
    monkeypatch.setattr(admission, "ROOM_SHARE", 10**9)
    async with running_gateway(redis_url) as client, RawRedis(redis_url) as raw:
        job = (await client.post(SUBMIT, json=body())).json()
        await raw("SET", "much", "x" * (16 << 20))
        info = (await raw("INFO", "memory")).decode()
        used = int(next(line for line in info.splitlines() if line.startswith("used_memory:")).split(":")[1])
        await raw("CONFIG", "SET", "maxmemory", str(int(used * 1.1)))
        try:
            problem(await _refused(client, SUBMIT, body()), 503, "store-full")
            assert await raw("SET", "little", "x") == b"OK"  # Redis itself has room yet
            assert (await client.get(job["links"]["status"])).json()["status"] == "queued"
            assert (await client.post(job["links"]["cancel"])).json()["status"] == "cancelled"
        finally:
            await raw("CONFIG", "SET", "maxmemory", "0")
        await _taken(client)


async def test_an_unwatched_gateway_asks_redis_nothing(redis_url: str) -> None:
    """Between calls, and for scrapes within 5 s of another, no command is sent."""
    async with running_gateway(redis_url) as client, RawRedis(redis_url) as raw:

        async def commands() -> int:
            info = (await raw("INFO", "stats")).decode()
            return int(
                next(line for line in info.splitlines() if line.startswith("total_commands_processed")).split(":")[1]
            )

        assert 'presswork_queue_jobs{state="queued"} 0.0' in (await client.get("/metrics")).text
        before = await commands()
        for _ in range(10):
            assert (await client.get("/metrics")).status_code == 200
            assert (await client.get("/health/live")).status_code == 200
        await asyncio.sleep(0.3)
        assert await commands() - before == 1  # the first INFO itself
