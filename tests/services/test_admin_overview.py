"""The fleet in a few figures, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from services.gateway.admin.overview_reading import OverviewReading, Pace
from services.gateway.stats.stats_cache import StatsCache
from shared.job import JobError, JobStatus, Outcome, Usage
from shared.store.job_store import JobStore
from shared.store.reading.durations import HOUR_MS, bucket_of
from shared.store.transitions import Finish
from shared.telemetry.command_budget import Meter
from tests.support.callers import OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import problem, running_gateway
from tests.support.store import KEYS, claim, fail, submit

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
    assert found.pop("stats")["queued"] == 0
    assert found == {
        "waiting": 0, "running": 0, "endedPerMinute": None, "oldestAgeSeconds": 0.0, "failures": [],
        "allCounted": True, "spentTodayUsd": 0.0, "waitSeconds": None, "runSeconds": None, "hours": [],
        "redisBudget": None,
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
    assert (found["stats"]["queued"], found["stats"]["failed"]) == (3, 3)


async def test_the_overview_says_how_long_jobs_waited_and_ran(client: httpx.AsyncClient, store: JobStore) -> None:
    """Percentiles of the jobs that workers ended of late, of all organisations, and the same hour by hour."""
    await submit(store, 10, organization="alice")
    await submit(store, 10, organization="bob")
    for number, held in enumerate(await claim(store, 20)):
        ran_ms = 60_000 if number < 2 else 1000
        await store.finish(Finish(held, JobStatus.COMPLETED, Outcome(), number=1, offset=0, run_ms=ran_ms))

    found = (await client.get(OVERVIEW)).raise_for_status().json()
    assert found["runSeconds"]["p50"] == pytest.approx(1, rel=0.2)
    assert found["runSeconds"]["p95"] == pytest.approx(60, rel=0.2)
    assert 0 <= found["waitSeconds"]["p50"] <= found["waitSeconds"]["p95"] < 60
    assert sum(hour["jobs"] for hour in found["hours"]) == 20
    assert found["hours"][-1]["start"].endswith(":00:00.000Z")


async def test_percentiles_are_of_this_hour_and_the_last(client: httpx.AsyncClient, redis_url: str) -> None:
    """Slow jobs of two and more hours ago are in their own hours alone."""
    fast, slow = f"w{bucket_of(10)}=5 r{bucket_of(1000)}=5", f"w{bucket_of(90_000)}=9 r{bucket_of(600_000)}=9"
    async with RawRedis(redis_url) as raw:
        hour = int((await raw("TIME"))[0]) * 1000 // HOUR_MS
        for at, sums in ((hour - 3, slow), (hour - 1, fast), (hour, fast), (hour + 1, fast)):
            await raw("SET", KEYS.prefix("durations") + str(at), sums)

    found = (await client.get(OVERVIEW)).raise_for_status().json()
    assert found["runSeconds"]["p95"] == pytest.approx(1, rel=0.2)
    assert found["waitSeconds"]["p95"] < 1
    assert [row["jobs"] for row in found["hours"]][:2] == [9, 5]
    assert found["hours"][0]["runSeconds"]["p50"] == pytest.approx(600, rel=0.2)


async def test_commands_are_shown_beside_their_budget(redis_url: str) -> None:
    """REDIS_COMMANDS_BUDGET comes with the commands that it is for."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS, REDIS_COMMANDS_BUDGET="500000") as client:
        found = (await client.get(OVERVIEW, headers=bearer(OPERATOR))).raise_for_status().json()
    assert found["redisBudget"] == 500_000


async def test_all_who_watch_share_one_reading(store: JobStore) -> None:
    """Soon after a reading another one costs no command, also with new jobs."""
    figures = OverviewReading(store, StatsCache(store.queries.stats, 0.0), Meter())
    first = await figures.latest()
    await submit(store, 2)
    assert (await figures.latest()).timestamp == first.timestamp


async def test_the_overview_is_for_operators_alone(client: httpx.AsyncClient) -> None:
    """A bound administrator learns no figure of the fleet."""
    bound = bearer((await make_key(client, "alice", "admin"))["key"])
    problem(await client.get(OVERVIEW, headers=bound), 403, "operators-only")


def test_the_pace_is_that_of_the_last_minute() -> None:
    """None before a second reading; then of the time since a reading about a minute ago; never below zero."""
    pace = Pace()
    readings = [(0.0, 100), (0.5, 100), (30.0, 130), (60.0, 160), (90.0, 160), (120.0, 160), (150.0, 10)]
    assert [pace.per_minute(at, ended) for at, ended in readings] == [None, None, 60.0, 60.0, 30.0, 0.0, 0.0]
