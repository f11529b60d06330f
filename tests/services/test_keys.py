"""API keys over HTTP: made, listed, replaced, revoked; and what they may do."""

from __future__ import annotations

import asyncio
import datetime
import re
from typing import Any

import httpx
import pytest

from shared.identity.key_text import PATTERN
from shared.settings import StoreSettings
from shared.store.job_store import open_store
from tests.support.callers import KEYS, OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import BATCH, STATUS, SUBMIT, body, fields, problem, running_gateway
from tests.support.store import KEYS as NAMES
from tests.support.store import claim

UNKNOWN = "ai-job-1737465123456-0bc123def"


async def test_a_key_is_shown_once_and_stored_as_a_hash(redis_url: str) -> None:
    """The answer alone holds its text: neither a listing nor Redis does; its use is noted by the day."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client, RawRedis(redis_url) as raw:
        made = await make_key(client, "alice", "jobs:read", label="front end")
        assert re.fullmatch(PATTERN, made["key"])
        assert (made["organizationId"], made["scopes"], made["label"]) == ("alice", ["jobs:read"], "front end")
        assert (await client.get("/api/ai/jobs", headers=bearer(made["key"]))).json()["jobs"] == []
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        async with asyncio.timeout(10):
            while await raw("HGET", NAMES.api_key(made["id"]), "used") != today.encode():
                await asyncio.sleep(0.01)
        listed = await client.get(KEYS, params={"organizationId": "alice"}, headers=bearer(OPERATOR))
        (row,) = listed.json()["keys"]
        assert (row["id"], row["lastUsedOn"], row["revokedAt"]) == (made["id"], today, None)
        assert made["key"] not in listed.text
        for name in await raw("KEYS", "*"):
            assert made["key"].encode() not in await raw("DUMP", name)


async def test_rights_of_a_key(redis_url: str) -> None:
    """Its organisation is taken where the body names none; another one is 403, as is a call without its scope."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        key = bearer((await make_key(client, "alice", "jobs:write"))["key"])
        own = {name: value for name, value in body().items() if name != "organizationId"}
        answer = await client.post(SUBMIT, json=own, headers=key)
        assert answer.status_code == 202
        (batched, foreign) = (await client.post(BATCH, json={"jobs": [own, body()]}, headers=key)).json()["jobs"]
        assert batched["status"] == "queued"
        assert foreign["error"]["status"] == 403
        refused = problem(await client.get(STATUS, params={"jobId": UNKNOWN}, headers=key), 403, "insufficient-scope")
        assert "jobs:read" in refused["detail"]
        operator = bearer(OPERATOR)
        status = await client.get(STATUS, params={"jobId": answer.json()["jobId"]}, headers=operator)
        assert status.json()["organizationId"] == "alice"
        assert fields(problem(await client.post(SUBMIT, json=own, headers=operator), 400, "invalid-request")) == {
            "organizationId"
        }


async def test_an_idempotency_key_knows_both_ways_to_name_the_organization(redis_url: str) -> None:
    """Leaving it out, or naming the key's own, is the same body."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        key = bearer((await make_key(client, "alice"))["key"]) | {"Idempotency-Key": "once"}
        own = body(organizationId="alice")
        first = await client.post(SUBMIT, json=own, headers=key)
        del own["organizationId"]
        assert (await client.post(SUBMIT, json=own, headers=key)).json()["jobId"] == first.json()["jobId"]


async def test_a_key_is_held_to_its_models(redis_url: str) -> None:
    """Jobs that name none run on its models alone, also after a retry; another one is 403."""
    settings = StoreSettings(redis_url=redis_url)
    async with (
        running_gateway(redis_url, API_TOKENS=TOKENS, PROVIDERS="openai:a,anthropic:b,openai:c") as client,
        open_store(settings, client_name="t") as store,
    ):
        key = bearer((await make_key(client, "alice", models=["openai:c", "anthropic:b"]))["key"])
        own = body(organizationId="alice")
        for change in ({"model": "a"}, {"provider": "openai", "model": "a"}, {"providers": ["openai:c", "openai:a"]}):
            problem(await client.post(SUBMIT, json=own | change, headers=key), 403, "model-not-allowed")
        for change, chain in (({}, ["anthropic:b", "openai:c"]), ({"provider": "openai"}, ["openai:c"])):
            assert (await client.post(SUBMIT, json=own | change, headers=key)).status_code == 202
            (job,) = await claim(store, 1)
            assert job.spec.providers == chain


async def test_a_bound_administrator_gives_no_more_than_it_has(redis_url: str) -> None:
    """It makes, lists, replaces and revokes keys of its own organisation, with scopes that it has itself; those of
    others are not there."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        admin = bearer((await make_key(client, "alice", "admin", "jobs:read"))["key"])
        strong, foreign = await make_key(client, "alice"), await make_key(client, "bob")

        made = await client.post(KEYS, json={"scopes": ["jobs:read"]}, headers=admin)
        assert (made.status_code, made.json()["organizationId"]) == (201, "alice")
        for organization in ("bob", "*"):
            wanted = {"organizationId": organization, "scopes": ["jobs:read"]}
            problem(await client.post(KEYS, json=wanted, headers=admin), 403, "forbidden")
        wanted = {"scopes": ["jobs:read", "jobs:write"]}
        assert (
            "jobs:write"
            in problem(await client.post(KEYS, json=wanted, headers=admin), 403, "insufficient-scope")["detail"]
        )
        problem(await client.post(f"{KEYS}/{strong['id']}/rotate", json={}, headers=admin), 403, "insufficient-scope")

        listed = (await client.get(KEYS, headers=admin)).json()["keys"]
        assert {row["organizationId"] for row in listed} == {"alice"}
        problem(await client.get(KEYS, params={"organizationId": "bob"}, headers=admin), 403, "forbidden")
        for method, path in (("DELETE", ""), ("POST", "/rotate")):
            answers = [
                await client.request(method, f"{KEYS}/{key_id}{path}", json={}, headers=admin)
                for key_id in (foreign["id"], "0" * 12, "no-id")
            ]
            assert len({answer.content for answer in answers}) == 1
            problem(answers[0], 404, "not-found")
        assert (await client.get("/api/ai/jobs", headers=bearer(foreign["key"]))).status_code == 200
        assert (await client.delete(f"{KEYS}/{strong['id']}", headers=admin)).status_code == 204
        problem(await client.get("/api/ai/jobs", headers=bearer(strong["key"])), 401, "unauthorized")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"scopes": []}, "scopes"),
    ({"scopes": ["jobs:all"]}, "scopes[0]"),
    ({"scopes": ["jobs:read"], "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
    ({"scopes": ["jobs:read"], "expiresAt": "2099-01-01T00:00:00"}, "expiresAt"),
    ({"scopes": ["jobs:read"], "expiresAt": "9999-12-31T23:59:59-23:59"}, "expiresAt"),
    ({"scopes": ["jobs:read"], "expiresAt": "9999-12-31T23:59:59.9999Z"}, "expiresAt"),
    ({"scopes": ["jobs:read"], "organizationId": "a b"}, "organizationId"),
    ({"scopes": ["jobs:read"], "organizationId": None}, "organizationId"),
    ({"scopes": ["jobs:read"], "models": ["gpt"]}, "models[0]"),
    ({"scopes": ["jobs:read"], "label": "a\nb"}, "label"),
    ({"scopes": ["jobs:read"], "key": "mine"}, "key"),
    ({}, "scopes"),
]


@pytest.mark.parametrize(("change", "field"), BAD, ids=str)
async def test_a_bad_request_for_a_key_names_its_field(redis_url: str, change: dict[str, Any], field: str) -> None:
    """Strictly decoded, as every body."""
    async with running_gateway(redis_url) as client:
        answer = await client.post(KEYS, json={"organizationId": "alice"} | change)
        assert field in fields(problem(answer, 400, "invalid-request"))


async def test_an_end_that_no_time_can_be_written_of_is_shown_as_the_last(redis_url: str) -> None:
    """An earlier release took such keys in: they are listed, and all others too."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client, RawRedis(redis_url) as raw:
        made = await make_key(client, "alice", expiresAt="2099-01-01T00:00:00Z")
        await raw("HSET", NAMES.api_key(made["id"]), "expires", 253_402_387_139_000)
        (row,) = (await client.get(KEYS, headers=bearer(OPERATOR))).json()["keys"]
        assert row["expiresAt"] == "9999-12-31T23:59:59.000Z"


async def test_bad_tokens_are_counted_and_told_to_wait(redis_url: str) -> None:
    """More than 20 a minute from one address: 429 instead of 401. A good key is served all the while, and neighbours
    behind a trusted proxy are counted by themselves."""
    settings = {"API_TOKENS": TOKENS, "TRUSTED_PROXIES": "127.0.0.0/8"}
    async with running_gateway(redis_url, **settings) as client:
        made = await make_key(client, "alice", "jobs:read")

        async def call(token: str, address: str = "198.51.100.1") -> httpx.Response:
            return await client.get("/api/ai/jobs", headers=bearer(token) | {"X-Forwarded-For": address})

        typed = made["key"][:-1] + ("0" if made["key"][-1] != "0" else "1")
        for number in range(20):
            problem(await call(typed if number % 2 else f"guess-{number}"), 401, "unauthorized")
        limited = await call("one-more")
        problem(limited, 429, "too-many-failures")
        assert 0 < int(limited.headers["retry-after"]) <= 60
        assert (await call(made["key"])).status_code == 200
        problem(await call("guess", "198.51.100.2"), 401, "unauthorized")
        metrics = (await client.get("/metrics")).text
    assert 'presswork_auth_failures_total{reason="unknown"} 12.0' in metrics
    assert 'presswork_auth_failures_total{reason="mistyped"} 10.0' in metrics


async def test_anonymous_callers_may_present_a_key(redis_url: str) -> None:
    """On a laptop that asks for no token a key is checked too, and holds its bearer to its rights."""
    async with running_gateway(redis_url) as client:
        answer = await client.post(KEYS, json={"organizationId": "alice", "scopes": ["jobs:read"]})
        key = bearer(answer.json()["key"])
        assert (await client.get("/api/ai/jobs", headers=key)).json()["jobs"] == []
        problem(await client.post(SUBMIT, json=body(), headers=key), 403, "insufficient-scope")
        problem(await client.get("/api/ai/jobs", headers=bearer("pw_nonsense")), 401, "unauthorized")
        assert (await client.post(SUBMIT, json=body(), headers=bearer("whatever"))).status_code == 202


async def test_options_name_every_method_of_a_path(redis_url: str) -> None:
    """Two calls share a path: OPTIONS names both."""
    async with running_gateway(redis_url) as client:
        answer = await client.options(KEYS)
        assert sorted(answer.headers["allow"].split(", ")) == ["GET", "HEAD", "OPTIONS", "POST"]
