"""Settings of organisations over HTTP, and the audit trail of changes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest

from shared.settings import StoreSettings
from shared.store.audit_trail import Actor
from shared.store.job_store import open_store
from tests.support.callers import KEYS, OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import fields, problem, running_gateway
from tests.support.store import KEYS as NAMES
from tests.support.store import repeated

ORGANIZATIONS = "/api/admin/organizations"
AUDIT = "/api/admin/audit"
DEFAULTS = {
    "id": "alice", "weight": 1, "slotShare": None, "paused": False,
    "limits": dict.fromkeys((
        "submitsPerMinute", "queuedJobs", "queuedBytes", "delayedJobs", "runningJobs", "tokensPerMinute", "streams",
    )),
    "budget": {"monthUsd": None, "dayUsd": None},
    "retention": dict.fromkeys(("promptSeconds", "resultSeconds", "eventsSeconds", "usageDays")),
}  # fmt: skip


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with one operator, who is its caller."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as running:
        await make_key(running, "carol")  # until a busy machine answers
        running.headers.update(bearer(OPERATOR))
        yield running


async def test_what_is_given_changes_and_the_rest_stays(client: httpx.AsyncClient) -> None:
    """Null is the fleet's default again; amounts are exact; the answer is always the whole."""
    path = f"{ORGANIZATIONS}/alice"
    assert (await client.get(path)).json() == DEFAULTS
    changes: list[dict[str, Any]] = [
        {"weight": 3, "limits": {"queuedJobs": 100, "streams": 0}, "budget": {"monthUsd": 99.99, "dayUsd": 0.1}},
        {"paused": True, "limits": {"queuedJobs": None, "runningJobs": 5}, "retention": {"usageDays": 30}},
        {"slotShare": 25, "weight": None, "budget": {"dayUsd": None}},
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
    listed = (await client.get(ORGANIZATIONS)).json()["organizations"]
    assert [one["id"] for one in listed] == ["alice", "carol"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"weight": 0}, "weight"), ({"weight": 17}, "weight"), ({"weight": 1.5}, "weight"),
        ({"slotShare": 101}, "slotShare"),
        ({"limits": {"queuedJobs": -1}}, "limits.queuedJobs"), ({"limits": None}, "limits"),
        ({"limits": {"queued": 1}}, "limits.queued"), ({"budget": {"monthUsd": -0.01}}, "budget.monthUsd"),
        ({"retention": {"usageDays": 0}}, "retention.usageDays"), ({"paused": None}, "paused"),
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


async def test_every_change_is_in_the_audit_trail(client: httpx.AsyncClient) -> None:
    """By whom, from where, for which request and organisation; no key's text; newest first, in pages and as lines."""
    made = await make_key(client, "alice", "admin", "jobs:read", label="first")
    admin = bearer(made["key"])
    second = (await client.post(f"{KEYS}/{made['id']}/rotate", json={"overlapSeconds": 60}, headers=admin)).json()
    await client.patch(f"{ORGANIZATIONS}/alice", json={"weight": 2}, headers={"X-Request-Id": "request-7"})
    await client.delete(f"{KEYS}/{second['id']}", headers={"X-Request-Id": "no good id"})

    answer = await client.get(AUDIT, params={"organizationId": "alice"})
    entries = answer.json()["entries"]
    assert [entry["action"] for entry in entries] == [
        "key.revoked", "organization.changed", "key.rotated", "key.created"
    ]  # fmt: skip
    revoked, changed, rotated, created = entries
    assert (changed["details"], changed["requestId"]) == ({"changes": {"weight": 2}}, "request-7")
    assert revoked["details"] == {"id": second["id"]}
    assert len(revoked["requestId"]) == 16
    assert (rotated["by"], rotated["byOrganizationId"]) == (f"key:{made['id']}", "alice")
    assert (created["by"][:6], created["byOrganizationId"], created["address"]) == ("token:", "*", "127.0.0.1")
    assert made["key"] not in answer.text
    assert second["key"] not in answer.text

    assert (await client.get(AUDIT, headers=admin)).json()["entries"] == entries
    problem(await client.get(AUDIT, params={"organizationId": "bob"}, headers=admin), 403, "forbidden")
    everything = (await client.get(AUDIT)).json()["entries"]
    assert {entry["organizationId"] for entry in everything} == {"alice", "carol"}
    assert (await client.get(AUDIT, params={"organizationId": "*"})).json()["entries"] == []

    first = (await client.get(AUDIT, params={"organizationId": "alice", "limit": 3})).json()
    rest = (await client.get(AUDIT, params={"organizationId": "alice", "cursor": first["cursor"]})).json()
    assert first["entries"] + rest["entries"] == entries
    assert rest["cursor"] is None
    lines = await client.get(AUDIT, params={"organizationId": "alice", "format": "lines"})
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line) for line in lines.text.splitlines()] == entries
    problem(await client.get(AUDIT, params={"cursor": "x"}), 400, "invalid-request")


async def test_the_trail_is_capped_and_survives_damage(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old entries go; one that cannot be read hides no other."""
    monkeypatch.setattr("shared.store.tenant_settings.TRAIL_LENGTH", 100)
    async with open_store(StoreSettings(redis_url=redis_url), client_name="t") as store, RawRedis(redis_url) as raw:
        for number in range(400):
            change = partial(store.tenants.change, "alice", {"weight": number % 16 + 1}, Actor(key_id="test"))
            await repeated(change)
        assert await raw("XLEN", NAMES.fixed("audit_trail")) < 300
        await raw("XADD", NAMES.fixed("audit_trail"), "*", "o", "alice", "e", "{")
        page = await store.audit_trail.page("alice", every=False, cursor=None, limit=5)
        assert [one.entry.d["changes"]["weight"] for one in page.entries] == [16, 15, 14, 13, 12]
