"""Every call of the OpenAPI document, with every foreign id and without its scope: a new call cannot be forgotten."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from shared.http.auth import Scope
from tests.support.callers import OPERATOR, TOKENS, bearer, make_key
from tests.support.gateway import SUBMIT, body, problem, running_gateway

UNKNOWN: Final = {
    "jobId": "ai-job-1737465123456-0bc123def",
    "keyId": "0" * 12,
    "id": "nobody",
    "taskId": "0" * 16,
    "gate": "nobody:none",
    "userId": "u",
}
"""Ids of nothing, by the names of the parameters that hold an id."""

NO_IDS: Final = {
    "organizationId", "status", "cursor", "limit", "from", "to", "wait", "Idempotency-Key", "Last-Event-ID",
    "lastEventId", "ticket", "format", "errorType", "provider", "projectId", "userId", "groupBy", "top", "gate",
}  # fmt: skip
"""Parameters that name no thing that belongs to an organisation, or that are checked by name: `organizationId`."""

BODIES: Final[dict[str, Any]] = {
    "/api/ai/generate-content": body(organizationId="alice"),
    "/api/ai/generate-content/batch": {"jobs": [body(organizationId="alice")]},
    "/api/ai/completion": body(organizationId="alice"),
    "/api/ai/event-tickets": {"jobId": UNKNOWN["jobId"]},
    "/api/admin/keys": {"organizationId": "alice", "scopes": ["admin"]},
    "/api/admin/keys/{keyId}/rotate": {},
    "/api/admin/organizations/{id}": {"weight": 2},
    "/api/admin/gates/{gate}": {"requestsPerMinute": 60},
    "/api/admin/organizations/{id}/blocked-users": {"userId": "u"},
    "/api/admin/failures/redrive": {"filter": {}, "expected": 0},
    "/api/admin/failures/discard": {"filter": {}, "expected": 0},
}
"""A good body of each call that takes one."""


class Call:
    """One operation of the document."""

    def __init__(self, path: str, method: str, described: dict[str, Any], schemas: dict[str, Any]) -> None:
        self.path, self.method = path, method.upper()
        self.scopes = frozenset(Scope(scope) for need in described["security"] for scope in need["bearer"])
        self.takes_body = "requestBody" in described
        self.statuses = {int(status) for status in described["responses"]}
        self.parameters = {held["name"]: held["in"] for held in described.get("parameters", ())}
        for name in _fields(described.get("requestBody", {}), schemas) & {*UNKNOWN, "organizationId"}:
            self.parameters[name] = "body"

    @property
    def ids(self) -> set[str]:
        """The names of its parameters that hold an id."""
        return set(self.parameters) - NO_IDS

    async def send(self, client: httpx.AsyncClient, token: str, **ids: str) -> httpx.Response:
        """Call it with good values, but for `ids`."""
        values = UNKNOWN | ids
        query = {name: values[name] for name in self.ids if self.parameters[name] == "query"}
        if self.parameters.get("organizationId") == "query":
            query["organizationId"] = ids.get("organizationId", "alice")
        path = re.sub(r"\{(\w+)\}", lambda found: values[found[1]], self.path)
        return await client.request(
            self.method, path, params=query, headers=bearer(token), json=self._content(ids) if self.takes_body else None
        )

    def _content(self, ids: dict[str, str]) -> dict[str, Any]:
        """Its good body, with those of these ids that belong into it."""
        given = {name: value for name, value in ids.items() if self.parameters.get(name) == "body"}
        content: dict[str, Any] = dict(BODIES[self.path])
        if "organizationId" in given and "jobId" in content:  # one or the other
            del content["jobId"]
        return content | given


def _fields(request: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """The names of the fields of a body."""
    names: set[str] = set()
    for content in request.get("content", {}).values():
        reference = content["schema"].get("$ref", "").rpartition("/")[2]
        names |= set(schemas.get(reference, {}).get("properties", ()))
    return names


async def calls_of(client: httpx.AsyncClient) -> list[Call]:
    """All calls that need a token."""
    document = (await client.get("/openapi.json")).json()
    paths, schemas = document["paths"], document["components"]["schemas"]
    return [
        Call(path, method, described, schemas)
        for path, item in paths.items()
        if path.startswith("/api/")
        for method, described in item.items()
    ]


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that asks for tokens, and whose streams end by themselves."""
    settings = {"API_TOKENS": TOKENS, "ORGANIZATION_EVENTS": "1", "NOTIFIER_STREAM_SECONDS": "0.2"}
    async with running_gateway(redis_url, **settings) as running:
        yield running


async def test_every_call_needs_its_scope(client: httpx.AsyncClient) -> None:
    """With every other scope it is 403 and names the missing one; with its own alone it is not."""
    calls = await calls_of(client)
    assert {scope for call in calls for scope in call.scopes} == set(Scope)
    keys = {scopes: await make_key(client, "alice", *map(str, scopes)) for scopes in {call.scopes for call in calls}}
    for scope in Scope:
        without = await make_key(client, "alice", *(str(other) for other in Scope if other is not scope))
        for call in calls:
            if scope not in call.scopes:
                continue
            assert {401, 403, 429, 503} <= call.statuses, call.path
            refused = problem(await call.send(client, without["key"]), 403, "insufficient-scope")
            assert refused["detail"] == f"{scope} is needed"
            granted = await call.send(client, keys[call.scopes]["key"])
            assert granted.status_code < 300 or granted.json()["type"] != refused["type"], (call.path, granted.text)


async def test_every_foreign_id_is_as_good_as_none(client: httpx.AsyncClient) -> None:
    """Byte for byte the answer for an id of nothing, with all scopes; and the thing itself is not changed."""
    job = (await client.post(SUBMIT, json=body(organizationId="bob"), headers=bearer(OPERATOR))).json()
    victim = await make_key(client, "bob")
    order = {"filter": {"organizationId": "bob"}, "expected": 0}
    task = (await client.post("/api/admin/failures/discard", json=order, headers=bearer(OPERATOR))).json()
    foreign = {"jobId": job["jobId"], "keyId": victim["id"], "id": "bob", "taskId": task["taskId"]}
    alice = await make_key(client, "alice", *map(str, Scope))
    tried = set()
    for call in await calls_of(client):
        assert call.ids <= set(foreign), f"{call.path}: say here how a foreign {call.ids - set(foreign)} is made"
        for name in call.ids:
            answer = await call.send(client, alice["key"], **{name: foreign[name]})
            nothing = await call.send(client, alice["key"])
            assert (answer.status_code, answer.content) == (nothing.status_code, nothing.content), call.path
            problem(answer, 404, "not-found")
            tried.add((name, call.scopes))
        if "organizationId" in call.parameters:
            problem(await call.send(client, alice["key"], organizationId="bob"), 403, "forbidden")
    assert len(tried) > 4
    status = await client.get(f"/api/ai/job-status?jobId={job['jobId']}", headers=bearer(victim["key"]))
    assert status.json()["status"] == "queued"


async def test_every_call_is_refused_to_an_altered_key(client: httpx.AsyncClient) -> None:
    """One character more, less or other: nothing is served."""
    made = (await make_key(client, "alice", *map(str, Scope)))["key"]
    calls = await calls_of(client)
    altered = (made[:-1], f"{made}0", made.swapcase(), made[:20] + made[20:].swapcase(), made.replace("pw_", "pw-"))
    for call, token in zip(calls, altered * len(calls), strict=False):
        assert (await call.send(client, token)).status_code in (401, 429), call.path
