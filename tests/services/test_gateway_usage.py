"""The usage call: sums by day, project and model, and refused requests."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.jobs.usage import ROWS_MAX, UsageBuilder
from shared.http.auth import hash_token
from shared.job import JobStatus, Outcome, Usage
from shared.settings import StoreSettings
from shared.store.job_store import open_store
from shared.store.keys import Keys
from shared.store.reading.usage import UsageRow
from shared.store.transitions import Finish
from tests.support.checks import RawRedis
from tests.support.gateway import fields, problem, running_gateway
from tests.support.store import claim, submit

USAGE = "/api/ai/usage"
EPOCH = datetime.date(1970, 1, 1)
NOTHING = {
    "jobs": 0, "inputTokens": 0, "outputTokens": 0, "cachedTokens": 0, "costUsd": 0.0, "unknownCostJobs": 0,
    "estimatedJobs": 0,
}  # fmt: skip


async def _record(redis_url: str, day: str, *lines: str, organization: str = "org-789") -> None:
    """Write lines into the ledger, as ends of jobs did on a past day."""
    number = (datetime.date.fromisoformat(day) - EPOCH).days
    async with RawRedis(redis_url) as raw:
        await raw("RPUSH", Keys().fixed("ledger"), *(f"completed {number} {organization} {line}" for line in lines))


async def _ask(client: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await client.get(USAGE, params={"organizationId": "org-789"} | query)
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.raise_for_status().json()
    return document


async def test_jobs_that_ended_are_in_the_sums_of_this_month(redis_url: str) -> None:
    """Without days the call answers the current UTC month, with the latest usage; no job costs nothing."""
    settings = StoreSettings(redis_url=redis_url)
    async with running_gateway(redis_url) as client, open_store(settings, client_name="test") as store:
        empty = await _ask(client)
        assert (empty["totals"], empty["days"], empty["organizationId"]) == (NOTHING, [], "org-789")
        await submit(store, 3, organization="org-789")
        for held in await claim(store):
            usage = Usage(input_tokens=100, output_tokens=20, cached_tokens=50)
            outcome = Outcome(result="x", provider="openai", model="m", usage=usage, cost_usd=0.000_000_123)
            await store.finish(Finish(held, JobStatus.COMPLETED, outcome, number=1, offset=0, run_ms=1))
        found = await _ask(client, **_around_now())
        month = await _ask(client)
        today = datetime.datetime.now(datetime.UTC).date()
    sums = {
        "jobs": 3, "inputTokens": 300, "outputTokens": 60, "cachedTokens": 150, "costUsd": 0.000_000_369,
        "unknownCostJobs": 0, "estimatedJobs": 0,
    }  # fmt: skip
    assert found["totals"] == sums
    (day,) = found["days"]
    model = {"provider": "openai", "model": "m"} | sums
    assert day["projects"] == [{"projectId": "p", "models": [model]} | sums]
    assert month["from"] == today.replace(day=1).isoformat()
    assert datetime.date.fromisoformat(month["to"]) + datetime.timedelta(days=1) == _next_month(today)


def _around_now() -> dict[str, str]:
    today = datetime.datetime.now(datetime.UTC).date()
    return {"from": str(today - datetime.timedelta(days=1)), "to": str(today + datetime.timedelta(days=1))}


def _next_month(day: datetime.date) -> datetime.date:
    return day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1, day=1)


async def test_days_projects_and_models_add_up_and_unknown_is_not_zero(redis_url: str) -> None:
    """Both bounds are included; a sum without any known cost is null, one with some says how many it lacks."""
    lines = ("b openai:x 1 2 3 1000000001 0", "a own:y:z 4 5 6 - 1", "b own:y:z 7 8 9 - 0")
    await _record(redis_url, "2024-02-28", "a openai:x 1 1 0 5 0")
    await _record(redis_url, "2024-02-29", *lines)
    await _record(redis_url, "2024-03-01", "a openai:x 1 1 0 0 0")
    await _record(redis_url, "2024-02-29", "a openai:x 1 1 0 7 0", organization="other")
    async with running_gateway(redis_url) as client:
        (leap,) = (await _ask(client, **{"from": "2024-02-29", "to": "2024-02-29"}))["days"]
        whole = await _ask(client, **{"from": "2024-02-28", "to": "2024-03-01"})
    assert leap["date"] == "2024-02-29"
    first, second = leap["projects"]
    assert (first["projectId"], first["jobs"], first["costUsd"], first["unknownCostJobs"]) == ("a", 1, None, 1)
    assert (first["models"][0]["provider"], first["models"][0]["model"]) == ("own", "y:z")
    assert (second["projectId"], second["jobs"], second["unknownCostJobs"]) == ("b", 2, 1)
    assert second["costUsd"] == 1.000000001
    assert [model["costUsd"] for model in second["models"]] == [1.000000001, None]
    assert [day["date"] for day in whole["days"]] == ["2024-02-28", "2024-02-29", "2024-03-01"]
    assert whole["days"][2]["projects"][0]["costUsd"] == 0
    assert whole["totals"] == {
        "jobs": 5, "inputTokens": 14, "outputTokens": 17, "cachedTokens": 18, "costUsd": 1.000000006,
        "unknownCostJobs": 2, "estimatedJobs": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "organizationId"),
        ("organizationId=a%20b", "organizationId"),
        ("organizationId=o&from=2024-2-1", "from"),
        ("organizationId=o&from=20240201", "from"),
        ("organizationId=o&from=2024-02-30", "from"),
        ("organizationId=o&from=", "from"),
        ("organizationId=o&from=1706745600", "from"),
        ("organizationId=o&to=2024-02-01T00:00:00Z", "to"),
        ("organizationId=o&to=%202024-02-01", "to"),
        ("organizationId=o&to=%EF%BC%92024-02-01", "to"),
        ("organizationId=o&from=2024-02-02&to=2024-02-01", "from"),
        ("organizationId=o&from=2024-01-01&to=2025-01-01", "to"),
        ("organizationId=o&from=0001-01-01&to=9999-12-31", "to"),
        ("organizationId=o&from=2024-02-01&from=2024-02-01", "from"),
    ],
)
async def test_a_bad_query_names_its_field(redis_url: str, query: str, field: str) -> None:
    """Dates are YYYY-MM-DD and nothing else, in order, at most 366 days."""
    async with running_gateway(redis_url) as client:
        assert fields(problem(await client.get(f"{USAGE}?{query}"), 400, "invalid-request")) == {field}


async def test_the_ends_of_the_calendar_are_days_like_others(redis_url: str) -> None:
    """366 days pass, also before the epoch, far in the future, and in a leap year."""
    async with running_gateway(redis_url) as client:
        for first, last in (("0001-01-01", "0002-01-01"), ("9999-01-01", "9999-12-31"), ("2024-01-01", "2024-12-31")):
            found = await _ask(client, **{"from": first, "to": last})
            assert (found["from"], found["to"], found["totals"], found["days"]) == (first, last, NOTHING, [])


async def test_a_bound_token_reads_its_own_sums(redis_url: str) -> None:
    """It need not name its organisation and may not name another; an operator's must name one (I9)."""
    tokens = f"{hash_token('operator')}\n{hash_token('alice')} alice"
    await _record(redis_url, "2024-02-29", "p a:b 1 1 0 7 0", organization="alice")
    days = {"from": "2024-02-29", "to": "2024-02-29"}
    async with running_gateway(redis_url, API_TOKENS=tokens) as client:
        client.headers["Authorization"] = "Bearer alice"
        own = (await client.get(USAGE, params=days)).json()
        assert (own["organizationId"], own["totals"]["jobs"]) == ("alice", 1)
        problem(await client.get(USAGE, params=days | {"organizationId": "bob"}), 403, "forbidden")
        client.headers["Authorization"] = "Bearer operator"
        problem(await client.get(USAGE, params=days), 400, "invalid-request")
        assert (await client.get(USAGE, params=days | {"organizationId": "alice"})).json() == own


async def test_sums_that_cannot_be_read_are_no_zero(redis_url: str) -> None:
    """A day whose sums are damaged answers 500 rather than less than was used."""
    async with RawRedis(redis_url) as raw:
        await raw("SET", Keys().prefix("usage") + "org-789:19782", "x")
    async with running_gateway(redis_url) as client:
        days = {"organizationId": "org-789", "from": "2024-02-29", "to": "2024-02-29"}
        problem(await client.get(USAGE, params=days), 500, "internal-error")


@given(st.integers(0, 2**23 * 10**9))
def test_a_cost_is_exact_to_the_nano(nano: int) -> None:
    """For any sum up to 8 million USD the number in the answer has exactly its digits."""
    row = UsageRow(
        day=0, project_id="p", provider="a", model="b", jobs=1, input_tokens=1, output_tokens=1, cached_tokens=0,
        cost_nano_usd=nano, unknown_cost_jobs=0, estimated_jobs=0,
    )  # fmt: skip
    built = UsageBuilder("o", EPOCH, EPOCH)
    built.add([row])
    cost = built.view.totals.cost_usd
    assert cost is not None
    assert Decimal(msgspec.json.encode(cost).decode()).scaleb(9) == nano


def _sums(field: str, jobs: int) -> tuple[str, str]:
    return field, f"{jobs} 1 1 0 1 0 0"


async def test_what_is_much_is_read_in_pieces_and_answered_in_part(redis_url: str) -> None:
    """A day of 3,000 projects, as older releases wrote it, keeps its sums and shows a thousand; many days end early."""
    async with RawRedis(redis_url) as raw:
        key, day = Keys().usage("org-789", 19_782), datetime.date(2024, 2, 29)
        for start in range(0, 3000, 500):
            fields = [part for n in range(start, start + 500) for part in _sums(f"p{n:04} a:m{n % 2}", 1 + (n < 900))]
            await raw("HSET", key, *fields)
        for later in range(1, 12):
            flat = [part for n in range(900) for part in _sums(f"p{n} a:b", 1)]
            await raw("HSET", Keys().usage("org-789", 19_782 + later), *flat)
    async with running_gateway(redis_url) as client:
        found = await _ask(client, **{"from": "2024-02-29", "to": "2024-03-31"})
        rest = await _ask(client, **{"from": found["next"], "to": "2024-03-31"})
    assert found["totals"]["jobs"] == 3900 + 11 * 900
    (other,) = (project for project in found["days"][0]["projects"] if project["projectId"] == "other")
    assert {model["model"] for model in other["models"]} == {"m0", "m1"}
    assert (other["jobs"], sum(project["jobs"] for project in found["days"][0]["projects"])) == (2000, 3900)
    rows = sum(len(project["models"]) for shown in found["days"] for project in shown["projects"])
    assert ROWS_MAX - 900 < rows <= ROWS_MAX
    assert found["next"] == (day + datetime.timedelta(days=len(found["days"]))).isoformat()
    assert (rest["next"], len(rest["days"])) == (None, 12 - len(found["days"]))
