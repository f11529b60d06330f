"""Redis away: every call answers 503 within 2 s of its arrival, and all goes on by itself when Redis is back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from shared.job_ids import JOB_ID
from shared.store.embedded.server import EmbeddedServer
from shared.store.keys import Keys
from tests.support.gateway import BATCH, STATUS, SUBMIT, body, problem, running_gateway, subscribed
from tests.support.plain import NO_TLS
from tests.support.processes import ServiceProcess

ANSWERED_S = 25.0
"""A call gives up after 1 to 2 s on a quiet machine; one that did not would take 30 s, as it asks to wait so long."""

JOB = "ai-job-1737465123456-0bc123def"


async def _timed(client: httpx.AsyncClient, method: str, path: str, content: object) -> httpx.Response:
    began = time.monotonic()
    answer = await client.request(method, path, json=content)
    assert time.monotonic() - began < ANSWERED_S
    return answer


async def _ask_all(client: httpx.AsyncClient) -> list[httpx.Response]:
    """Each call once, all at the same time, each timed."""
    calls: list[tuple[str, str, object]] = [
        ("POST", SUBMIT, body()),
        ("POST", BATCH, {"jobs": [body(), body()]}),
        ("GET", f"{STATUS}?jobId={JOB}", None),
        ("GET", f"{STATUS}?jobId={JOB}&wait=30", None),
        ("GET", "/api/ai/queue-stats", None),
        ("GET", "/api/ai/jobs?organizationId=org-789", None),
        ("GET", "/api/ai/usage?organizationId=org-789", None),
        ("POST", f"/api/ai/jobs/{JOB}/cancel", None),
        ("POST", f"/api/ai/jobs/{JOB}/retry", None),
        ("GET", "/health/ready", None),
    ]
    return await asyncio.gather(*(_timed(client, *call) for call in calls))


async def _until_taken(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await client.post(SUBMIT, json=body())).status_code != 202:
            await asyncio.sleep(0.02)


async def test_a_silent_redis_is_503_in_time_on_every_call(server: EmbeddedServer, redis_url: str) -> None:
    """A server that keeps connections open and says nothing is 503 with Retry-After; live and metrics stay up."""
    async with running_gateway(redis_url) as client:
        await client.post(SUBMIT, json=body())
        server.pause()
        try:
            for answer in await _ask_all(client):
                problem(answer, 503, "store-unavailable")
                assert int(answer.headers["retry-after"]) > 0
            assert (await client.get("/health/live")).status_code == 200
            assert 'presswork_queue_jobs{state="queued"}' not in (await client.get("/metrics")).text
        finally:
            server.resume()
        await _until_taken(client)


async def test_a_503_after_sending_names_the_job_that_may_exist(server: EmbeddedServer, redis_url: str) -> None:
    """When the command had left already, the document names the job, and that id shows its fate later."""
    async with running_gateway(redis_url) as client:
        await client.post(SUBMIT, json=body())
        server.pause()
        try:
            document = problem(await client.post(SUBMIT, json=body()), 503, "store-unavailable")
        finally:
            server.resume()
        assert JOB_ID.match(document["jobId"])
        async with asyncio.timeout(30):
            while (answer := await client.get(STATUS, params={"jobId": document["jobId"]})).status_code == 503:
                await asyncio.sleep(0.02)
        assert answer.status_code in (200, 404)


async def test_a_redis_that_is_gone_is_503_in_time_and_comes_back(tmp_path: Path) -> None:
    """A killed server is 503 on every call; after its restart calls work again and accepted jobs are still there."""
    with EmbeddedServer(tmp_path / "valkey", aof=True) as server:
        async with running_gateway(server.url) as client:
            job = (await client.post(SUBMIT, json=body())).json()
            await asyncio.sleep(1.2)  # everysec: until the job is on disk
            server.kill()
            for answer in await _ask_all(client):
                problem(answer, 503, "store-unavailable")
            server.start()
            await _until_taken(client)
            assert (await client.get(job["links"]["status"])).json()["status"] == "queued"


async def test_sigterm_answers_who_waits_and_exits_0(redis_url: str, tmp_path: Path) -> None:
    """On SIGTERM a waiting status call is answered with the job as it stands, and the process ends with status 0."""
    gateway = ServiceProcess("gateway", {"REDIS_URL": redis_url}, tmp_path / "log")
    async with gateway, httpx.AsyncClient(verify=NO_TLS, base_url=gateway.url, timeout=35) as client:
        job = (await client.post(SUBMIT, json=body())).json()
        waiting = asyncio.create_task(client.get(f"{job['links']['status']}&wait=30"))
        await subscribed(redis_url, Keys().job_channel(job["jobId"]))
        began = time.monotonic()
        assert await gateway.stop() == 0
        assert time.monotonic() - began < 25
        assert (await waiting).json()["status"] == "queued"
    log = gateway.log.read_text()
    assert job["jobId"] in log
    assert "Write a post" not in log
