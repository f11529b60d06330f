"""Settings of organisations over HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.callers import bearer, make_key
from tests.support.gateway import SUBMIT, fields, problem

ORGANIZATIONS = "/api/admin/organizations"
AUDIT = "/api/admin/audit"
DEFAULTS = {
    "id": "alice", "weight": 1, "slotShare": None, "paused": False,
    "limits": dict.fromkeys((
        "submitsPerMinute", "queuedJobs", "queuedBytes", "delayedJobs", "runningJobs", "tokensPerMinute",
        "streams",
    )),
    "budget": {"monthUsd": None, "dayUsd": None, "projects": {}},
    "retention": dict.fromkeys((
        "promptSeconds", "resultSeconds", "failedSeconds", "eventsSeconds", "usageDays",
    )),
    "usage": {
        "queued": 0, "running": 0, "queuedBytes": 0, "spentMonthUsd": None, "spentDayUsd": None, "reservedUsd": None,
        "projects": {},
    },
}  # fmt: skip


async def test_what_is_given_changes_and_the_rest_stays(client: httpx.AsyncClient) -> None:
    """Null is the fleet's default again; amounts are exact; the answer is always the whole."""
    path = f"{ORGANIZATIONS}/alice"
    assert (await client.get(path)).json() == DEFAULTS
    changes: list[dict[str, Any]] = [
        {"weight": 3, "limits": {"queuedJobs": 100, "streams": 0}},
        {"paused": True, "limits": {"queuedJobs": None, "runningJobs": 5, "tokensPerMinute": 60_000}},
        {"slotShare": 25, "weight": None},
        {"retention": {"promptSeconds": 0, "resultSeconds": 60, "usageDays": 30}},
        {"retention": {"resultSeconds": None, "failedSeconds": 1, "eventsSeconds": 31_536_000}},
        {},
    ]
    wanted: dict[str, Any] = json.loads(json.dumps(DEFAULTS))
    for change in changes:
        for name, value in change.items():
            if isinstance(value, dict):
                wanted[name] |= value
            else:
                wanted[name] = 1 if (name, value) == ("weight", None) else value
        answer = await client.patch(path, json=change)
        assert (answer.status_code, answer.json()) == (200, wanted)
        assert (await client.get(path)).json() == wanted
    assert (await client.patch(path, json={"paused": False})).json()["paused"] is False
    first = (await client.get(ORGANIZATIONS, params={"limit": 1})).json()
    rest = (await client.get(ORGANIZATIONS, params={"cursor": first["cursor"]})).json()
    assert [one["id"] for one in first["organizations"] + rest["organizations"]] == ["alice", "carol"]
    assert rest["cursor"] is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"weight": 0}, "weight"), ({"weight": 17}, "weight"), ({"weight": 1.5}, "weight"),
        ({"slotShare": 101}, "slotShare"),
        ({"limits": {"queuedJobs": -1}}, "limits.queuedJobs"), ({"limits": None}, "limits"),
        ({"limits": {"queued": 1}}, "limits.queued"), ({"paused": None}, "paused"),
        ({"budget": {"dayUsd": -1}}, "budget.dayUsd"), ({"budget": {"yearUsd": 1}}, "budget.yearUsd"),
        ({"retention": {"promptSeconds": -1}}, "retention.promptSeconds"), ({"retention": None}, "retention"),
        ({"retention": {"resultSeconds": 0}}, "retention.resultSeconds"),
        ({"retention": {"eventsSeconds": 31_536_001}}, "retention.eventsSeconds"),
        ({"retention": {"usageDays": 1.5}}, "retention.usageDays"), ({"retention": {"days": 1}}, "retention.days"),
        ({"color": "red"}, "color"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_bad_setting_is_named_and_nothing_changes(
    client: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    """Strictly, field by field."""
    document = problem(await client.patch(f"{ORGANIZATIONS}/alice", json=change), 400, "invalid-request")
    assert {name.partition(".")[0] for name in fields(document)} == {field.partition(".")[0]}
    assert (await client.get(f"{ORGANIZATIONS}/alice")).json() == DEFAULTS


async def test_a_bound_administrator_reads_its_own_alone(client: httpx.AsyncClient) -> None:
    """It changes nothing; another organisation is as good as none."""
    admin = bearer((await make_key(client, "alice", "admin"))["key"])
    await client.patch(f"{ORGANIZATIONS}/bob", json={"weight": 2})
    assert (await client.get(f"{ORGANIZATIONS}/alice", headers=admin)).json() == DEFAULTS
    assert [one["id"] for one in (await client.get(ORGANIZATIONS, headers=admin)).json()["organizations"]] == ["alice"]
    problem(await client.patch(f"{ORGANIZATIONS}/alice", json={"weight": 2}, headers=admin), 403, "operators-only")
    for method in ("GET", "PATCH"):
        answers = [
            await client.request(method, f"{ORGANIZATIONS}/{name}", json={"weight": 2}, headers=admin)
            for name in ("bob", "nobody", "a%20b")
        ]
        assert len({answer.content for answer in answers}) == 1
        problem(answers[0], 404, "not-found")


async def test_settings_act_at_once(client: httpx.AsyncClient) -> None:
    """A limit refuses by name, another organisation goes on; a pause refuses with 403 and ends with the pause."""
    path = f"{ORGANIZATIONS}/alice"
    key = bearer((await make_key(client, "alice", "jobs:write", "stats:read"))["key"])
    other = bearer((await make_key(client, "bob", "jobs:write"))["key"])
    wanted = {"projectId": "p", "userId": "u", "prompt": "x"}
    for limit, times in (("submitsPerMinute", 2), ("queuedJobs", 3)):
        await client.patch(path, json={"limits": {limit: times}})
        accepted = []
        while (answer := await client.post(SUBMIT, json=wanted, headers=key)).status_code == 202:
            accepted.append(answer.json()["jobId"])
        assert problem(answer, 429, "organization-limit")["limit"] == limit
        assert answer.headers["ratelimit-policy"].startswith(f'"{limit}";q={times}')
        assert (await client.post(SUBMIT, json=wanted, headers=other)).status_code == 202
        await client.patch(path, json={"limits": {limit: None}})

    await client.patch(path, json={"paused": True})
    problem(await client.post(SUBMIT, json=wanted, headers=key), 403, "organization-paused")
    usage = (await client.get(path)).json()["usage"]
    own = (await client.get("/api/ai/queue-stats", headers=key)).json()
    assert (usage["queued"], usage["running"]) == (own["stats"]["queued"], own["stats"]["processing"]) == (3, 0)
    await client.patch(path, json={"paused": False})
    assert (await client.post(SUBMIT, json=wanted, headers=key)).status_code == 202


async def test_a_bound_key_counts_its_own_jobs(client: httpx.AsyncClient) -> None:
    """Of queue-stats it sees its organisation's jobs and nothing of the fleet; an operator's key sees all."""
    keys = {name: bearer((await make_key(client, name, "jobs:write", "stats:read"))["key"]) for name in ("a", "b")}
    for name, jobs in (("a", 2), ("b", 3)):
        for _ in range(jobs):
            wanted = {"projectId": "p", "userId": "u", "prompt": "x"}
            assert (await client.post(SUBMIT, json=wanted, headers=keys[name])).status_code == 202
    answers = {name: (await client.get("/api/ai/queue-stats", headers=key)).json() for name, key in keys.items()}
    assert {name: answer["stats"]["queued"] for name, answer in answers.items()} == {"a": 2, "b": 3}
    assert all({"redis"} & set(answer) == set() for answer in answers.values())
    assert all({"throttled", "waiting"} & set(answer["stats"]) == set() for answer in answers.values())
    assert (await client.get("/api/ai/queue-stats")).json()["stats"]["queued"] == 5


async def test_a_budget_is_settled_and_acts_at_once(client: httpx.AsyncClient) -> None:
    """In USD, exact to the nano; one of nothing refuses with 402 until the next period, null ends it."""
    path = f"{ORGANIZATIONS}/alice"
    key = bearer((await make_key(client, "alice", "jobs:write"))["key"])
    wanted = {"projectId": "p", "userId": "u", "prompt": "x", "maxCostUsd": 0.5}
    answer = (await client.patch(path, json={"budget": {"monthUsd": 12.345678901, "dayUsd": 0.1}})).json()
    assert answer["budget"] == {"monthUsd": 12.345678901, "dayUsd": 0.1, "projects": {}}
    spent = {name: answer["usage"][name] for name in ("spentMonthUsd", "spentDayUsd", "reservedUsd")}
    assert spent == {"spentMonthUsd": 0, "spentDayUsd": 0, "reservedUsd": 0}
    assert (await client.post(SUBMIT, json=wanted, headers=key)).status_code == 202

    await client.patch(path, json={"budget": {"dayUsd": 0}})
    refused = await client.post(SUBMIT, json=wanted, headers=key)
    assert problem(refused, 402, "budget-exceeded")["limit"] == "day"
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    batch = await client.post(f"{SUBMIT}/batch", json={"jobs": [wanted, wanted]}, headers=key)
    assert [one["error"]["status"] for one in batch.json()["jobs"]] == [402, 402]
    assert (await client.patch(path, json={"budget": {"dayUsd": None}})).json()["budget"]["dayUsd"] is None
    assert (await client.post(SUBMIT, json=wanted, headers=key)).status_code == 202


@pytest.mark.parametrize("amount", [0, -1, "1", 1e9])
async def test_a_limit_of_cost_is_an_amount(client: httpx.AsyncClient, amount: object) -> None:
    """Above 0 and a number."""
    wanted = {"projectId": "p", "userId": "u", "organizationId": "alice", "prompt": "x", "maxCostUsd": amount}
    assert fields(problem(await client.post(SUBMIT, json=wanted), 400, "invalid-request")) == {"maxCostUsd"}


async def test_a_blocked_users_submits_are_refused(client: httpx.AsyncClient) -> None:
    """Of that user of that organisation alone, until it is unblocked; both are in the audit trail, also once each."""
    users = f"{ORGANIZATIONS}/alice/blocked-users"
    keys = {name: bearer((await make_key(client, name, "jobs:write", "admin"))["key"]) for name in ("alice", "bob")}
    wanted = {"projectId": "p", "userId": 'u"1', "prompt": "x"}
    for _ in range(2):
        assert (await client.post(users, json={"userId": 'u"1'})).json() == {"userIds": ['u"1']}
    document = problem(await client.post(SUBMIT, json=wanted, headers=keys["alice"]), 403, "user-blocked")
    assert [one["field"] for one in document["errors"]] == ["userId"]
    assert (await client.post(SUBMIT, json=wanted, headers=keys["bob"])).status_code == 202
    assert (await client.post(SUBMIT, json=wanted | {"userId": "u"}, headers=keys["alice"])).status_code == 202
    assert (await client.get(f"{ORGANIZATIONS}/alice")).json()["usage"]["queued"] == 1

    problem(await client.post(users, json={"userId": "u"}, headers=keys["alice"]), 403, "operators-only")
    problem(await client.get(users, headers=keys["bob"]), 404, "not-found")
    for _ in range(2):
        assert (await client.delete(f"{users}/u%221")).status_code == 204
    assert (await client.get(users, headers=keys["alice"])).json() == {"userIds": []}
    assert (await client.post(SUBMIT, json=wanted, headers=keys["alice"])).status_code == 202
    trail = (await client.get("/api/admin/audit", params={"organizationId": "alice"})).json()["entries"]
    assert [entry["action"] for entry in trail[:2]] == ["user.unblocked", "user.blocked"]


async def test_projects_have_budgets_of_their_own(client: httpx.AsyncClient) -> None:
    """Those that are named change, null takes one away; spending is shown, and a spent one refuses its own submits."""
    path = f"{ORGANIZATIONS}/alice"
    first = {"search": {"monthUsd": 2, "dayUsd": 0.5}, "chat": {"dayUsd": 0}}
    answer = (await client.patch(path, json={"budget": {"projects": first}})).json()
    assert answer["budget"] == {
        "monthUsd": None, "dayUsd": None,
        "projects": {"search": {"monthUsd": 2, "dayUsd": 0.5}, "chat": {"monthUsd": None, "dayUsd": 0}},
    }  # fmt: skip
    nothing = {"spentMonthUsd": 0, "spentDayUsd": 0, "reservedUsd": 0}
    assert answer["usage"]["projects"] == {"search": nothing, "chat": nothing}

    job = {"organizationId": "alice", "userId": "u", "prompt": "x"}
    refused = await client.post(SUBMIT, json=job | {"projectId": "chat"})
    assert "project" in problem(refused, 402, "budget-exceeded")["detail"]
    assert (await client.post(SUBMIT, json=job | {"projectId": "search"})).status_code == 202

    change = {"budget": {"projects": {"search": {"monthUsd": None}, "chat": None}}}
    answer = (await client.patch(path, json=change)).json()
    assert answer["budget"]["projects"] == {"search": {"monthUsd": None, "dayUsd": 0.5}}
    entry = (await client.get(AUDIT, params={"limit": 1})).text
    assert "day_nano_usd@chat" in entry


async def test_more_than_a_hundred_projects_with_budgets_are_refused(client: httpx.AsyncClient) -> None:
    """In one change 400, by one more later 409."""
    path = f"{ORGANIZATIONS}/alice"
    many = {f"p{i}": {"dayUsd": 1} for i in range(101)}
    assert (await client.patch(path, json={"budget": {"projects": many}})).status_code == 400
    many.pop("p0")
    assert (await client.patch(path, json={"budget": {"projects": many}})).status_code == 200
    one_more = await client.patch(path, json={"budget": {"projects": {"more": {"dayUsd": 1}}}})
    problem(one_more, 409, "too-many-project-budgets")
