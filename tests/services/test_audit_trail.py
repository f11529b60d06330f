"""The audit trail of changes."""

from __future__ import annotations

import json
from functools import partial

import httpx
import pytest
from msgspec import structs

from shared.settings import StoreSettings
from shared.store.api_keys import ApiKey
from shared.store.audit_trail import Actor
from shared.store.job_store import open_store
from tests.support.callers import KEYS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import SUBMIT, problem
from tests.support.store import KEYS as NAMES
from tests.support.store import repeated

AUDIT = "/api/admin/audit"


async def test_every_change_is_in_the_audit_trail(client: httpx.AsyncClient) -> None:
    """By whom, from where, for which request and organisation; no key's text; newest first, in pages and as lines."""
    made = await make_key(client, "alice", "admin", "jobs:read", label="first")
    admin = bearer(made["key"])
    second = (await client.post(f"{KEYS}/{made['id']}/rotate", json={"overlapSeconds": 60}, headers=admin)).json()
    third = await make_key(client, "alice", "jobs:read")
    await client.delete(f"{KEYS}/{third['id']}", headers={"X-Request-Id": "request-7"})
    await client.delete(f"{KEYS}/{second['id']}", headers={"X-Request-Id": "no good id"})

    answer = await client.get(AUDIT, params={"organizationId": "alice"})
    entries = answer.json()["entries"]
    assert [entry["action"] for entry in entries] == [
        "key.revoked", "key.revoked", "key.created", "key.rotated", "key.created"
    ]  # fmt: skip
    revoked, changed, _, rotated, created = entries
    assert (changed["details"], changed["requestId"]) == ({"id": third["id"]}, "request-7")
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


async def test_cancels_and_deletions_are_in_the_trail_of_their_organisation(client: httpx.AsyncClient) -> None:
    """By whom, from where; once each, however often they are asked for; among the changes of keys, newest first, in
    pages; and not among all organisations' changes of settings."""
    made = await make_key(client, "alice")
    alice = bearer(made["key"])
    ids = []
    for _ in range(3):
        answer = await client.post(SUBMIT, json={"projectId": "p", "userId": "u", "prompt": "x"}, headers=alice)
        ids.append(answer.json()["jobId"])
    for _ in range(2):
        await client.post(f"/api/ai/jobs/{ids[0]}/cancel", headers=alice | {"X-Request-Id": "request-8"})
        await client.delete(f"/api/ai/jobs/{ids[1]}", headers=alice)
    await make_key(client, "alice")

    wanted = [("key.created", None), ("job.deleted", ids[1]), ("job.cancelled", ids[1]), ("job.cancelled", ids[0])]
    wanted.append(("key.created", None))
    entries, cursor = [], None
    while True:
        asked: dict[str, str | int] = {"organizationId": "alice", "limit": 2}
        asked |= {"cursor": cursor} if cursor else {}
        page = (await client.get(AUDIT, params=asked)).json()
        entries += page["entries"]
        if (cursor := page["cursor"]) is None:
            break
    assert [(entry["action"], entry["details"].get("jobId")) for entry in entries] == wanted
    cancelled = entries[3]
    assert (cancelled["by"], cancelled["byOrganizationId"]) == (f"key:{made['id']}", "alice")
    assert (cancelled["address"], cancelled["requestId"]) == ("127.0.0.1", "request-8")
    everything = (await client.get(AUDIT)).json()["entries"]
    assert {entry["action"] for entry in everything} == {"key.created"}


async def test_the_trail_is_capped_and_survives_damage(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old entries go; one that cannot be read hides no other."""
    monkeypatch.setattr("shared.store.api_keys.TRAIL_LENGTH", 100)
    key = ApiKey(id="k0", digest="0" * 64, organization_id="alice", scopes=("jobs:read",))
    async with open_store(StoreSettings(redis_url=redis_url), client_name="t") as store, RawRedis(redis_url) as raw:
        for number in range(400):
            await repeated(partial(store.api_keys.create, structs.replace(key, id=f"k{number}"), Actor(key_id="test")))
        assert await raw("XLEN", NAMES.fixed("audit_trail")) < 300
        await raw("XADD", NAMES.fixed("audit_trail"), "*", "o", "alice", "e", "{")
        page = await store.audit_trail.page("alice", every=False, cursor=None, limit=5)
        assert [one.entry.d["id"] for one in page.entries] == ["k399", "k398", "k397", "k396", "k395"]
