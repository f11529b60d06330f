"""The pay-per-command profile: the cost of a job and a scrape, counted at the server; only speed is given up."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from shared.store.embedded.server import EmbeddedServer
from tests.e2e.conftest import StackMaker
from tests.support.checks import RawRedis
from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

CONNECTING = frozenset({"client|setname", "info"})
WAIT_MAX, STREAM_MAX = 20, 21
"""Commands of one job, inside scripts too (docs/upstash.md has them one by one)."""


async def commands(raw: RawRedis) -> Counter[str]:
    """Calls so far, once the services are quiet."""

    async def now() -> Counter[str]:
        text = (await raw("INFO", "commandstats")).decode()
        lines = [line.removeprefix("cmdstat_").split(":calls=") for line in text.splitlines() if "calls=" in line]
        return Counter({name: int(rest.split(",")[0]) for name, rest in lines if name not in CONNECTING})

    found: Counter[str] = Counter()
    async with asyncio.timeout(30):
        while (later := await now()) != found:
            found = later
            await asyncio.sleep(0.4)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def frugal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stack, RawRedis]]:
    """The three services with FRUGAL=1 for all tests of this file, scripts loaded and every connection open."""
    folder = tmp_path_factory.mktemp("frugal")
    settings = {"FRUGAL": "1", "DEMO_TOKENS_PER_SECOND": "200"}
    with EmbeddedServer(folder / "data") as server:
        async with running_stack(server, folder, settings) as running, RawRedis(server.url) as raw:
            yield await _warm(running), raw


async def _warm(running: Stack) -> Stack:
    first = await _submitted(running)
    await running.follow(first)
    await _waited(running, first)
    return running


async def _submitted(running: Stack) -> str:
    """A job without an idempotency key, which would cost two commands more."""
    job = {"projectId": "p", "userId": "u", "organizationId": "o", "prompt": "x", "parameters": {"length": "long"}}
    answer = await running.client.post(f"{running.gateway.url}/api/ai/generate-content", json=job)
    return str(answer.raise_for_status().json()["jobId"])


async def _waited(running: Stack, job_id: str) -> None:
    url = f"{running.gateway.url}/api/ai/job-status"
    answer = await running.client.get(url, params={"jobId": job_id, "wait": 20}, timeout=30)
    assert answer.json()["status"] == "completed"
    assert len(answer.json()["result"]) > 100


async def _streamed(running: Stack, job_id: str) -> None:
    reading = await running.follow(job_id)
    assert reading.problems() == []
    assert reading.kinds[-2:] == ["delta", "completed"]


@pytest.mark.parametrize(("see", "most"), [(_waited, WAIT_MAX), (_streamed, STREAM_MAX)])
async def test_what_a_job_costs(
    frugal: tuple[Stack, RawRedis], see: Callable[[Stack, str], Awaitable[None]], most: int
) -> None:
    """A job that is waited for, or streamed to a browser, takes no more commands than the documentation says."""
    running, raw = frugal
    before = await commands(raw)
    await see(running, await _submitted(running))
    spent = await commands(raw) - before
    assert spent.total() <= most, spent
    assert not {"subscribe", "unsubscribe", "xread", "exists"}.intersection(spent)


async def test_scrapes_probes_and_statistics_cost_next_to_nothing(frugal: tuple[Stack, RawRedis]) -> None:
    """Many rounds of requests by Prometheus, KEDA, a dashboard and an orchestrator cost one reading."""
    running, raw = frugal
    before = await commands(raw)
    for _ in range(20):
        for service in (running.gateway, running.notifier, *running.workers):
            for path in ("/metrics", "/health/live", "/health/ready"):
                assert (await running.client.get(f"{service.url}{path}")).status_code == 200
        await running.stats()
    spent = await commands(raw) - before
    # One reading of counts (a script), of the oldest and of the gates; a PING per service was at its start.
    assert spent.total() <= 40, spent
    body = (await running.client.get(f"{running.gateway.url}/api/ai/queue-stats")).json()
    assert body["redis"].keys() == {"commands", "measuredSeconds", "commandsPerDay", "commandsPerMonth"}
    assert body["redis"]["commands"] > 0


async def test_a_delayed_job_wakes_who_sleeps_for_minutes(frugal: tuple[Stack, RawRedis]) -> None:
    """Workers are notified of due times and of cancels: a job delayed by 1 s does not wait for a sleep of 5 minutes."""
    running, _ = frugal
    began = time.monotonic()
    await _waited(running, await running.submit(1, delaySeconds=1))
    assert 1 <= time.monotonic() - began < 60
    job_id = await running.submit(2, delaySeconds=600)
    answer = await running.client.post(f"{running.gateway.url}/api/ai/jobs/{job_id}/cancel")
    assert answer.json()["status"] == "cancelled"


async def test_recovery_works_with_the_lease_that_is_set(stack: StackMaker) -> None:
    """With a lease set by hand a killed worker's job is taken over after it, as in every profile."""
    async with stack(workers=2, FRUGAL="1", LEASE_SECONDS="2", DEMO_TOKENS_PER_SECOND="80") as running:
        job_id = await running.submit(1)
        await (await running.busy_worker()).kill()
        status = await running.end(job_id)
        assert status["status"] == "completed"
