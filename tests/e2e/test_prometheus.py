"""Prometheus itself scrapes the three services, and the dashboard's queries have answers."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.observe import command, configuration
from tests.e2e.conftest import StackMaker
from tests.support.dashboards import dashboard_queries, selectors
from tests.support.processes import free_port
from tests.support.stack import Stack

pytestmark = [
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
    pytest.mark.timeout(300),
]

WITHOUT_DATA = {"fleet:presswork_redis_commands:budget30d > 0"}
"""Nobody set a budget."""

NEEDS_PROVIDERS = (
    "presswork_provider_",
    "presswork_gate_",
    "presswork_wasted_",
    "presswork_cut_calls_",
    "presswork_queue_parked_",
    "presswork_unknown_finish_",
)
"""Metrics of calls to real providers, which no job of this test makes."""


class Prometheus:
    """A running Prometheus."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self.url = url

    async def ready(self) -> None:
        """Wait until it answers queries."""
        async with asyncio.timeout(30):
            while True:
                try:
                    if (await self._client.get(f"{self.url}/-/ready")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query; AssertionError when Prometheus refuses it."""
        answer = await self._client.get(f"{self.url}/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, answer.text
        result = answer.json()["data"]["result"]
        return [sample for sample in result if not math.isnan(float(sample["value"][1]))]

    async def rules(self) -> list[dict[str, Any]]:
        """All rules, and what became of their last evaluation."""
        groups = (await self._client.get(f"{self.url}/api/v1/rules")).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def until(self, expression: str, seconds: float = 60.0) -> list[dict[str, Any]]:
        """The samples of a query as soon as it has some."""
        async with asyncio.timeout(seconds):
            while True:
                if samples := await self.query(expression):
                    return samples
                await asyncio.sleep(0.2)


@asynccontextmanager
async def watching(running: Stack, folder: Path) -> AsyncIterator[Prometheus]:
    """Prometheus on the services of a stack, as `make observe` starts it, but scraping every second."""
    services = [running.gateway, running.notifier, *running.workers]
    targets: dict[str, list[str]] = {}
    for service in services:
        targets.setdefault(service.name, []).append(f"127.0.0.1:{service.port}")
    port = free_port()
    (folder / "prometheus.yml").write_text(configuration(targets, interval_seconds=1))
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command("prometheus", folder, port), stdout=log, stderr=log)
    prometheus = Prometheus(running.client, f"http://127.0.0.1:{port}")
    try:
        await prometheus.ready()
        yield prometheus
    finally:
        process.terminate()
        async with asyncio.timeout(30):
            await process.wait()


async def _some_jobs(running: Stack) -> None:
    """Enough jobs that some complete and some fail for good (none does with a chance below 1 in 10^7); every one is
    watched by a browser."""
    ids = await asyncio.gather(
        *(running.submit(number, parameters={"length": "short"}, maxAttempts=2) for number in range(40))
    )
    await asyncio.gather(*(running.follow(job_id) for job_id in ids))


async def test_the_rules_run_and_the_dashboard_has_data(stack: StackMaker, tmp_path: Path) -> None:
    """Every rule was evaluated without an error, and an idle system fires nothing; after some jobs every query of the
    dashboard that this system has figures for answers with data."""
    settings = {"DEMO_FAILURE_RATE": "0.6", "DEMO_TOKENS_PER_SECOND": "0"}
    async with stack(workers=2, **settings) as running, watching(running, tmp_path) as prometheus:
        await prometheus.until("count(up == 1) == 4")
        before = await prometheus.until('state:presswork_queue_jobs:max{state="completed"}')
        assert before[0]["value"][1] == "0"
        await _nothing_is_broken(prometheus)

        await _some_jobs(running)
        await _has_data(prometheus)
        stats = await running.stats()
        shown = await prometheus.until('sum(state:presswork_queue_jobs:max{state=~"completed|failed"}) == 40')
        workers = await prometheus.query("count by (job) (presswork_worker_slots)")
    assert (stats["completed"] + stats["failed"], len(shown)) == (40, 1)
    assert [(sample["metric"]["job"], sample["value"][1]) for sample in workers] == [("presswork-worker", "2")]


async def _nothing_is_broken(prometheus: Prometheus) -> None:
    evaluated = await prometheus.rules()
    assert [(rule["name"], rule["lastError"]) for rule in evaluated if rule.get("lastError")] == []
    assert await prometheus.query('ALERTS{alertstate="firing"}') == []


async def _has_data(prometheus: Prometheus) -> None:
    await prometheus.until("fleet:presswork_queue_jobs_failed_per_ended:ratio_delta10m > 0")
    expressions = {query.expression for query in dashboard_queries()} - WITHOUT_DATA
    for expression in sorted(expressions):
        if not all(_of_a_provider(selector.metric) for selector in selectors(expression)):
            await prometheus.until(expression)


def _of_a_provider(metric: str) -> bool:
    return metric.rpartition(":")[0].rpartition(":")[2].startswith(NEEDS_PROVIDERS) or metric.startswith(
        NEEDS_PROVIDERS
    )
