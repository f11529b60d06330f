"""The main job with the gateway on REST, and worker and notifier on TCP to the same server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from shared.job_ids import JOB_ID
from shared.store.embedded.server import EmbeddedServer
from tests.support.checks import leaks
from tests.support.front_end import FrontEnd
from tests.support.gateway import BATCH, STATUS, SUBMIT, body, problem
from tests.support.plain import NO_TLS
from tests.support.processes import ServiceProcess
from tests.support.readings import Reading
from tests.support.upstash import TOKEN, Upstash, running_upstash

pytestmark = pytest.mark.timeout(300)


class RestStack:
    """A running system whose gateway knows Redis over REST only."""

    def __init__(
        self, upstash: Upstash, client: httpx.AsyncClient, notifier: ServiceProcess, gateway: ServiceProcess
    ) -> None:
        self.upstash = upstash
        self.client = client
        self.notifier = notifier
        self.gateway = gateway

    async def follow(self, job_id: str) -> Reading:
        """Everything a browser sees of a job."""
        return await FrontEnd(self.client, [self.gateway.url], [self.notifier.url]).follow(job_id)


@asynccontextmanager
async def rest_stack(folder: Path, *, workers: int = 1, **settings: str) -> AsyncIterator[RestStack]:
    """The three services; without a worker jobs wait."""
    with EmbeddedServer(folder / "data", aof=False) as server:
        async with running_upstash(server.url) as upstash, AsyncExitStack() as exits:
            over_rest = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": TOKEN}
            over_tcp = {
                "REDIS_URL": server.url,
                "DEMO_FIRST_TOKEN_MS": "50",
                "DEMO_TOKENS_PER_SECOND": "200",
                **settings,
            }
            gateway = ServiceProcess("gateway", over_rest, folder / "gateway.log")
            others = [ServiceProcess("notifier", over_tcp, folder / "notifier.log")]
            others += [ServiceProcess("worker", over_tcp, folder / f"worker-{i}.log") for i in range(workers)]
            for service in (gateway, *others):
                await exits.enter_async_context(service)
            client = await exits.enter_async_context(httpx.AsyncClient(verify=NO_TLS, base_url=gateway.url, timeout=35))
            yield RestStack(upstash, client, others[0], gateway)
            assert {"SUBSCRIBE", "BZPOPMIN", "PSUBSCRIBE"}.isdisjoint(upstash.commands)
            log = gateway.log.read_text()
            assert "redis_over_rest" in log
            assert TOKEN not in log
        if workers:
            assert await leaks(server.url) == []


async def test_the_guides_calls_and_the_stream(tmp_path: Path) -> None:
    """Submit, repeat, batch, wait, stream, list and statistics work as over TCP."""
    async with rest_stack(tmp_path) as running:
        client, key = running.client, {"Idempotency-Key": "one"}
        first = (await client.post(SUBMIT, json=body(), headers=key)).json()
        again = await client.post(SUBMIT, json=body(), headers=key)
        assert (again.status_code, again.json()["jobId"]) == (202, first["jobId"])
        problem(await client.post(SUBMIT, json=body(prompt="other"), headers=key), 409, "idempotency-conflict")
        reading = await running.follow(first["jobId"])
        assert reading.problems() == []
        batch = (await client.post(BATCH, json={"jobs": [body() for _ in range(20)]})).json()["jobs"]
        waits = [client.get(STATUS, params={"jobId": job["jobId"], "wait": 20}) for job in batch]
        statuses = [answer.json() for answer in await asyncio.gather(*waits)]
        assert {status["status"] for status in statuses} == {"completed"}
        assert all(status["result"] for status in statuses)
        stats = (await client.get("/api/ai/queue-stats")).json()["stats"]
        assert (stats["queued"], stats["processing"], stats["completed"]) == (0, 0, 21)
        listed = (await client.get("/api/ai/jobs", params={"organizationId": "org-789"})).json()["jobs"]
        assert {job["jobId"] for job in listed} == {first["jobId"], *(job["jobId"] for job in batch)}


async def test_cancelling_a_waiting_and_a_running_job(tmp_path: Path) -> None:
    """A cancel over REST ends a waiting job at once and a running one through its worker or by force."""
    async with rest_stack(tmp_path, DEMO_TOKENS_PER_SECOND="5") as running:
        client = running.client
        delayed = (await client.post(SUBMIT, json=body(delaySeconds=600))).json()
        assert (await client.post(delayed["links"]["cancel"])).json()["status"] == "cancelled"
        job = (await client.post(SUBMIT, json=body(parameters={"length": "long"}))).json()
        async with asyncio.timeout(30):
            while (await client.get(job["links"]["status"])).json()["status"] != "processing":
                await asyncio.sleep(0.05)
        assert (await client.post(job["links"]["cancel"])).json()["status"] == "cancelled"
        assert (await running.follow(job["jobId"])).kinds[-1] == "cancelled"


async def test_a_submit_whose_answer_is_lost_names_its_job(tmp_path: Path) -> None:
    """The 503 names the job, which is there; repeating it with its key answers the same job, and nothing runs twice."""
    async with rest_stack(tmp_path, workers=0) as running:
        client, upstash = running.client, running.upstash
        await client.get("/api/ai/queue-stats")
        await client.post(SUBMIT, json=body())  # its admission check has read the counts: no other request is due now
        upstash.lose = 1
        lost = problem(
            await client.post(SUBMIT, json=body(), headers={"Idempotency-Key": "k"}), 503, "store-unavailable"
        )
        assert JOB_ID.match(lost["jobId"])
        assert upstash.lose == 0
        assert (await client.get(STATUS, params={"jobId": lost["jobId"]})).json()["status"] == "queued"
        again = (await client.post(SUBMIT, json=body(), headers={"Idempotency-Key": "k"})).json()
        assert again["jobId"] == lost["jobId"]
        assert (await client.get("/api/ai/queue-stats")).json()["stats"]["queued"] == 2


async def test_an_endpoint_that_is_slow_or_refuses_is_503_in_time(tmp_path: Path) -> None:
    """Latency, a revoked token, errors of a proxy: 503 in time; all goes on by itself afterwards."""
    async with rest_stack(tmp_path, workers=0) as running:
        client, upstash = running.client, running.upstash
        for name, value, calm in [("latency_s", 120.0, 0.0), ("token", "rotated", TOKEN), ("status", 502, 0)]:
            setattr(upstash, name, value)
            began = asyncio.get_running_loop().time()
            for answer in await asyncio.gather(
                client.get("/api/ai/queue-stats"), client.post(SUBMIT, json=body()), client.get("/health/ready")
            ):
                problem(answer, 503, "store-unavailable")
            assert asyncio.get_running_loop().time() - began < 30
            setattr(upstash, name, calm)
            async with asyncio.timeout(30):
                while (await client.post(SUBMIT, json=body())).status_code != 202:
                    await asyncio.sleep(0.05)
