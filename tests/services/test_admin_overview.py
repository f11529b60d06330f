"""The fleet in a few figures, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from services.gateway.admin.overview import OverviewCall, Pace
from services.gateway.stats.stats_cache import StatsCache
from shared.http.auth import Identity
from shared.job import JobError, JobStatus, Outcome, Usage
from shared.store.job_store import JobStore
from shared.store.transitions import Finish
from shared.telemetry.command_budget import Meter
from tests.support.callers import OPERATOR, TOKENS, bearer, make_key
from tests.support.gateway import problem, running_gateway
from tests.support.store import claim, fail, submit

OVERVIEW = "/api/admin/overview"


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with one operator, who is its caller."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as running:
        running.headers.update(bearer(OPERATOR))
        yield running


async def test_the_overview_of_an_idle_fleet(client: httpx.AsyncClient) -> None:
    """Zero jobs, no age, no cost, and no pace before a second reading."""
    found = (await client.get(OVERVIEW)).raise_for_status().json()
    assert found.pop("timestamp").startswith("20")
    assert found.pop("redis")["commands"] > 0
    assert found == {
        "waiting": 0, "running": 0, "endedPerMinute": None, "oldestAgeSeconds": 0.0, "failures": [],
        "allCounted": True, "spentTodayUsd": 0.0,
    }  # fmt: skip


async def test_the_overview_of_a_busy_fleet(client: httpx.AsyncClient, store: JobStore) -> None:
    """Jobs of all organisations by what they do, failures by type, and the cost of those that ended."""
    for organization in ("alice", "bob"):
        await submit(store, 4, organization=organization)
    held = await claim(store, 5)
    for one, kind in zip(held, ("Broken", "Broken", "Alone"), strict=False):
        await fail(store, one, JobError(type=kind, message="no", retryable=False))
    usage = Usage(input_tokens=10, output_tokens=5)
    outcome = Outcome(result="text", provider="p", model="m", usage=usage, cost_usd=0.25)
    await store.finish(Finish(held[3], JobStatus.COMPLETED, outcome, number=1, offset=0, run_ms=1))

    found = (await client.get(OVERVIEW)).raise_for_status().json()
    assert (found["waiting"], found["running"], found["spentTodayUsd"]) == (3, 1, 0.25)
    assert found["failures"] == [{"errorType": "Broken", "count": 2}, {"errorType": "Alone", "count": 1}]
    assert found["oldestAgeSeconds"] >= 0


async def test_all_who_watch_share_one_reading(store: JobStore) -> None:
    """Soon after a reading another one costs no command, also with new jobs."""
    call = OverviewCall(store, StatsCache(store.queries.stats, 0.0), Meter())
    first = await call.read(Identity())
    await submit(store, 2)
    assert (await call.read(Identity())).timestamp == first.timestamp


async def test_the_overview_is_for_operators_alone(client: httpx.AsyncClient) -> None:
    """A bound administrator learns no figure of the fleet."""
    bound = bearer((await make_key(client, "alice", "admin"))["key"])
    problem(await client.get(OVERVIEW, headers=bound), 403, "operators-only")


def test_the_pace_is_that_of_the_last_minute() -> None:
    """None before a second reading; then of the time since a reading about a minute ago; never below zero."""
    pace = Pace()
    readings = [(0.0, 100), (0.5, 100), (30.0, 130), (60.0, 160), (90.0, 160), (120.0, 160), (150.0, 10)]
    assert [pace.per_minute(at, ended) for at, ended in readings] == [None, None, 60.0, 60.0, 30.0, 0.0, 0.0]
