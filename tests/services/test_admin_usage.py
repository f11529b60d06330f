"""Usage over all organisations: exact sums in groups, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.job import JobStatus, Outcome, Usage
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.transitions import Finish
from tests.support.callers import bearer, make_key
from tests.support.gateway import problem
from tests.support.store import KEYS, claim, submit

USAGE = "/api/admin/usage"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    """A store of a worker."""
    async with open_store(StoreSettings(redis_url=redis_url), client_name="test") as opened:
        yield opened


async def _use(store: JobStore, organization: str, cost: float | None, count: int = 1, **more: Any) -> None:
    """Jobs of an organisation that completed, each of this cost."""
    model = more.pop("model_used", "m")
    await submit(store, count, organization=organization, **more)
    for held in await claim(store, count):
        outcome = Outcome(
            result="x", provider="p", model=model, usage=Usage(input_tokens=10, output_tokens=5), cost_usd=cost
        )
        await store.finish(Finish(held, JobStatus.COMPLETED, outcome, number=1, offset=0, run_ms=1))


async def test_usage_is_summed_up_over_all_organizations(client: httpx.AsyncClient, store: JobStore) -> None:
    """Folded or not, in groups of any kind, the dearest first; the rest of them is one sum."""
    for _ in range(12):  # more than the ledger holds
        await _use(store, "alice", 0.000000001, 50)
    await _use(store, "bob", 0.5, project_id="q")
    await _use(store, "bob", None, model_used="m:2")
    await _use(store, "=cmd|' /C calc'!A0".replace(" ", ""), 0.25)

    found = (await client.get(USAGE)).json()
    assert found["groupBy"] == ["organization"]
    costs = [(group["organizationId"], group["jobs"], group["costUsd"]) for group in found["groups"]]
    assert costs == [("bob", 2, 0.5), ("=cmd|'/Ccalc'!A0", 1, 0.25), ("alice", 600, 0.0000006)]
    assert (found["totals"]["jobs"], found["totals"]["costUsd"]) == (603, 0.7500006)
    assert (found["totals"]["unknownCostJobs"], found["others"]) == (1, None)

    top = (await client.get(USAGE, params={"top": 1})).json()
    assert [group["organizationId"] for group in top["groups"]] == ["bob"]
    assert top["others"]["jobs"] == 601
    by_model = (await client.get(USAGE, params={"groupBy": "model"})).json()["groups"]
    assert [(one["provider"], one["model"], one["jobs"]) for one in by_model] == [("p", "m", 602), ("p", "m:2", 1)]
    params = {"groupBy": "day,organization,project", "organizationId": "bob"}
    fine = (await client.get(USAGE, params=params)).json()["groups"]
    assert [(one["organizationId"], one["projectId"]) for one in fine] == [("bob", "q"), ("bob", "p")]
    assert all(one["date"][:2] == "20" for one in fine)


async def test_the_table_holds_no_formula(client: httpx.AsyncClient, store: JobStore) -> None:
    """RFC 4180, and an apostrophe before what a spreadsheet would run; numbers stay numbers, without exponents."""
    for name in ("=1+1", "+1", "-1", "@x", 'say"so",'):
        await _use(store, name, 0.000000001, project_id=name)
    params = {"groupBy": "organization,project"}
    answer = await client.get(USAGE, params=params, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["vary"] == "Accept"
    assert answer.text.endswith("\r\n")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["organizationId"] for row in rows} == {"'=1+1", "'+1", "'-1", "'@x", 'say"so",'}
    assert {row["projectId"] for row in rows} == {row["organizationId"] for row in rows}
    assert {row["costUsd"] for row in rows} == {"0.000000001"}
    assert {row["inputTokens"] for row in rows} == {"10"}
    for accept in ("*/*", "application/json", "text/csv;q=0.1, application/json"):
        plain = await client.get(USAGE, params=params, headers={"Accept": accept})
        assert plain.headers["content-type"] == "application/json"


async def test_a_bound_key_reads_its_own_usage_alone(client: httpx.AsyncClient, store: JobStore) -> None:
    """Whatever it groups by."""
    await _use(store, "alice", 1.0)
    await _use(store, "bob", 2.0)
    alice = bearer((await make_key(client, "alice", "admin"))["key"])
    found = (await client.get(USAGE, headers=alice, params={"groupBy": "organization,day"})).json()
    assert [group["organizationId"] for group in found["groups"]] == ["alice"]
    assert found["totals"]["costUsd"] == 1.0
    problem(await client.get(USAGE, headers=alice, params={"organizationId": "bob"}), 403, "forbidden")


async def test_damaged_usage_hides_no_other(client: httpx.AsyncClient, store: JobStore) -> None:
    """The organisation is named instead; questions that cannot be answered are refused."""
    await _use(store, "alice", 1.0)
    day = int((await store._reads.execute("TIME"))[0]) // 86_400
    await store._reads.execute("SET", KEYS.usage("bob", day), "x")
    await store._reads.execute("ZADD", KEYS.fixed("usage_organizations"), day, "bob")
    found = (await client.get(USAGE)).json()
    assert ([group["organizationId"] for group in found["groups"]], found["unreadable"]) == (["alice"], ["bob"])
    for params in ({"groupBy": "user"}, {"groupBy": "day,"}, {"top": 0}, {"from": "2026-02-01", "to": "2026-01-01"}):
        problem(await client.get(USAGE, params=params), 400, "invalid-request")


async def test_usage_of_the_release_before_is_indexed_once(client: httpx.AsyncClient, store: JobStore) -> None:
    """The audit finds sums that no index names; afterwards it searches no more."""
    day = int((await store._reads.execute("TIME"))[0]) // 86_400
    await store._reads.execute("HSET", KEYS.usage("a b", day), "p p:m", "1 2 3 0 1000000000 0 0")
    assert (await client.get(USAGE)).json()["groups"] == []
    await store.maintenance.audit("w1")
    assert [one["organizationId"] for one in (await client.get(USAGE)).json()["groups"]] == ["a b"]
    await store._reads.execute("DEL", KEYS.fixed("audit"))
    await store._reads.execute("HSET", KEYS.usage("late", day), "p p:m", "1 2 3 0 1000000000 0 0")
    await store.maintenance.audit("w1")
    assert len((await client.get(USAGE)).json()["groups"]) == 1
