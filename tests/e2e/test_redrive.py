"""A redrive of many failed jobs, done by workers that die (I1, I2)."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from shared.settings import StoreSettings
from shared.store.job_store import open_store
from tests.support.callers import OPERATOR, TOKENS, bearer, make_key
from tests.support.failures import FAILURES, fail_jobs, origins, task_done
from tests.support.gateway import running_gateway
from tests.support.processes import ServiceProcess
from tests.support.worker import until

LEASE = 2.0


@pytest.mark.timeout(300)
async def test_400_of_1000_failures_are_redriven_exactly_over_a_kill(redis_url: str, tmp_path: Path) -> None:
    """Three causes are three groups; two calls at once, and kill -9 of the worker in the middle: each job of one cause
    is made again once and ends, and no other job is touched."""
    environment = {
        "REDIS_URL": redis_url, "LEASE_SECONDS": str(LEASE), "DEMO_FIRST_TOKEN_MS": "0", "DEMO_TOKENS_PER_SECOND": "0"
    }  # fmt: skip
    async with (
        running_gateway(redis_url, API_TOKENS=TOKENS) as client,
        open_store(StoreSettings(redis_url=redis_url, lease_seconds=LEASE), client_name="test") as store,
    ):
        await make_key(client, "carol")
        client.headers.update(bearer(OPERATOR))
        wanted = await fail_jobs(store, 400, "RateLimited")
        await fail_jobs(store, 350, "Timeout")
        await fail_jobs(store, 250, "RateLimited", "bob")

        groups = (await client.get(FAILURES, params={"groupBy": "errorType,organizationId"})).json()["groups"]
        assert [group["count"] for group in groups] == [400, 350, 250]
        order = {"filter": {"errorType": "RateLimited", "organizationId": "alice"}, "expected": 400}
        both = await asyncio.gather(*(client.post(f"{FAILURES}/redrive", json=order) for _ in range(2)))
        tasks = [answer.json()["taskId"] for answer in both]

        async def begun() -> bool:
            done = [(await client.get(f"/api/admin/tasks/{task}")).json()["done"] for task in tasks]
            return sum(map(int, done)) > 20

        async with ServiceProcess("worker", environment, tmp_path / "first.log") as first:
            await until(begun)
            await first.kill()
        async with ServiceProcess("worker", environment, tmp_path / "second.log"):
            assert sum([(await task_done(client, task))["done"] for task in tasks]) == 400

            async def ended() -> bool:
                return (await store.queries.stats()).completed == 400

            await until(ended, 60)
        assert await origins(client, "alice") == Counter(wanted)
        assert await origins(client, "bob") == Counter()
        left = (await client.get(FAILURES, params={"groupBy": "errorType,organizationId"})).json()["groups"]
        assert [group["count"] for group in left] == [350, 250]
