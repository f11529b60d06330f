"""Counts of the queue, and why a job waits in it."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from shared.job import Claim
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from tests.support.budgets import priced
from tests.support.gates import block, routing, throttle_all
from tests.support.gateway import ISO, STATUS, SUBMIT, body, running_gateway
from tests.support.store import claim, complete, settle, submit


async def _claim(store: JobStore) -> Claim:
    return (await claim(store, 1))[0]


async def test_queue_stats_have_the_guides_shape(redis_url: str, store: JobStore) -> None:
    """`success`, the four counts of the guide and an ISO time with milliseconds; the five states add up (I3)."""
    async with running_gateway(redis_url) as client:
        empty = (await client.get("/api/ai/queue-stats")).json()
        assert empty["success"] is True
        assert {name: empty["stats"][name] for name in ("queued", "processing", "completed", "failed")} == {
            "queued": 0, "processing": 0, "completed": 0, "failed": 0,
        }  # fmt: skip
        assert ISO.fullmatch(empty["timestamp"])
        for _ in range(4):
            job = (await client.post(SUBMIT, json=body())).json()
        await client.post(job["links"]["cancel"])
        await complete(store, await _claim(store))
        await _claim(store)
        stats = (await client.get("/api/ai/queue-stats")).json()["stats"]
        assert (stats["queued"], stats["processing"], stats["completed"], stats["cancelled"]) == (1, 1, 1, 1)
        assert stats["failed"] == 0


async def test_the_backlog_is_what_workers_are_scaled_on(redis_url: str, store: JobStore) -> None:
    """It counts the jobs that could be claimed and those that run, not those that wait for their time or have ended."""
    async with running_gateway(redis_url) as client:

        async def stats() -> dict[str, int]:
            return dict((await client.get("/api/ai/queue-stats")).json()["stats"])

        assert (await stats())["backlog"] == 0
        for more in ({}, {}, {"delaySeconds": 600}):
            await client.post(SUBMIT, json=body(**more))
        assert (await stats())["backlog"] == 2
        held = await _claim(store)
        counts = await stats()
        assert (counts["queued"], counts["delayed"], counts["processing"], counts["backlog"]) == (2, 1, 1, 2)
        await complete(store, held)
        await complete(store, await _claim(store))
        assert (await stats())["backlog"] == 0
        schemas = (await client.get("/docs/openapi.json")).json()["components"]["schemas"]
    assert schemas["Counts"]["properties"]["backlog"] == {"type": "integer"}
    assert "backlog" in schemas["Counts"]["required"]


@pytest.mark.parametrize("frugal", ["0", "1"])
async def test_a_queued_job_says_why_it_waits(redis_url: str, store: JobStore, frugal: str) -> None:
    """Behind 30 of its own organisation it says so; when it runs, nothing. A caller who waits learns it
    where commands are not billed."""
    async with running_gateway(redis_url, FRUGAL=frugal) as client:
        ids = await submit(store, 31, organization="org-789")
        job = (await client.get(STATUS, params={"jobId": ids[-1]})).json()
        assert job["waiting"] == {"reason": "queued", "ahead": 30}
        job = (await client.get(STATUS, params={"jobId": ids[-1], "wait": 0.1})).json()
        assert ("waiting" in job) is (frugal == "0")
        await _claim(store)
        assert "waiting" not in (await client.get(STATUS, params={"jobId": ids[0]})).json()


async def test_a_job_behind_a_429_names_gate_and_second(redis_url: str) -> None:
    """The provider asked to wait for 120 s: `until` is that time."""
    gate = "demo:demo"
    async with (
        running_gateway(redis_url) as client,
        open_store(StoreSettings(redis_url=redis_url), client_name="worker", routing=routing(gate)) as worker,
    ):
        (job_id,) = await submit(worker, organization="org-789")
        await block(worker, gate, ms=120_000)
        until = time.time() + 120
        await throttle_all(worker)
        waiting = (await client.get(STATUS, params={"jobId": job_id})).json()["waiting"]
    assert (waiting["reason"], waiting["gate"], waiting["ahead"]) == ("rate_limited", gate, 0)
    assert abs(datetime.fromisoformat(waiting["until"]).timestamp() - until) < 5


async def test_a_job_over_its_budget_says_so(redis_url: str) -> None:
    """It was taken before the budget was spent; `ahead` is its place among those of its organisation."""
    async with (
        running_gateway(redis_url) as client,
        open_store(StoreSettings(redis_url=redis_url), client_name="worker", routing=priced("demo:demo")) as worker,
    ):
        ids = await submit(worker, 3, organization="org-789")
        await settle(worker, "org-789", day_nano_usd=0)
        assert await claim(worker, 5) == []
        found = [(await client.get(STATUS, params={"jobId": job_id})).json()["waiting"] for job_id in ids]
    assert [(one["reason"], one["ahead"]) for one in found] == [("budget", 0), ("budget", 1), ("budget", 2)]
