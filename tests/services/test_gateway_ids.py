"""Ids as identity providers make them: none of them shows or changes another's jobs (I9)."""

from __future__ import annotations

import datetime
from urllib.parse import quote

import httpx
import pytest

from shared.events import EventKind
from shared.http.auth import hash_token
from shared.job import JobStatus, Outcome, Usage
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.keys import decode_id, encode_id
from shared.store.transitions import Finish
from tests.support.checks import leaks
from tests.support.gateway import STATUS, SUBMIT, body, fields, problem, running_gateway
from tests.support.notifier import running_notifier
from tests.support.sse import Stream
from tests.support.store import claim

IDS = [
    "a", "a:b", "a%3Ab", "b", "{x}", "%7Bx%7D", "*", "?", "auth0|abc", "jane@example.com", "org_2x4", "\\", '"', "'",
    "[a-z]", "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "20786", "other", "-", "%", "%%", "~", "/../", "!" * 128,
]  # fmt: skip
"""Some are the result of encoding or decoding another one once or twice."""


def _as(organization: str) -> dict[str, str]:
    return {"Authorization": f"Bearer token {IDS.index(organization)}"}


@pytest.fixture
def tokens() -> str:
    """A token for each of the organisations."""
    return "\n".join(f"{hash_token(f'token {n}')} {organization}" for n, organization in enumerate(IDS))


def test_no_two_ids_are_one_part_of_a_key() -> None:
    """Encoding is injective, reversible and leaves ids of before as they are; no part separates or matches anything."""
    parts = [encode_id(text) for text in IDS]
    assert len(set(parts)) == len(IDS)
    assert [decode_id(part) for part in parts] == IDS
    assert all(not set(part) & set(' :{}*?[]\\"') for part in parts)
    assert encode_id("org-789_x.Y") == "org-789_x.Y"


async def _end_all(store: JobStore) -> None:
    for held in await claim(store, 100):
        usage = Usage(input_tokens=1, output_tokens=1)
        outcome = Outcome(result="x", provider="openai", model="m", usage=usage, cost_usd=0.5)
        await store.finish(Finish(held, JobStatus.COMPLETED, outcome, number=1, offset=0, run_ms=1))


async def test_every_id_is_administered_by_its_own_path(redis_url: str) -> None:
    """Encoded once, as clients do, a slash too: settings, and users that are blocked and no longer are."""
    async with running_gateway(redis_url) as client:
        for weight, name in enumerate(IDS[:16], start=1):
            path = f"/api/admin/organizations/{quote(name, safe='')}"
            assert (await client.patch(path, json={"weight": weight})).json()["id"] == name
        for weight, name in enumerate(IDS[:16], start=1):
            path = f"/api/admin/organizations/{quote(name, safe='')}"
            assert (await client.get(path)).json()["weight"] == weight

        for name in ("team/a", "/", "a%2Fb", "auth0|x/y", "/../"):
            path = f"/api/admin/organizations/{quote(name, safe='')}"
            assert (await client.get(path)).json()["id"] == name
            blocked = await client.post(f"{path}/blocked-users", json={"userId": name})
            assert blocked.json() == {"userIds": [name]}
            assert (await client.delete(f"{path}/blocked-users/{quote(name, safe='')}")).status_code == 204
            assert (await client.get(f"{path}/blocked-users")).json() == {"userIds": []}
        problem(await client.get("/api/admin/organizations/a/b"), 404, "not-found")


async def test_each_organisation_sees_its_own_and_nothing_else(redis_url: str, tokens: str) -> None:
    """Submit, repeat, list, sum up, and follow: with the same key and body each organisation has one job of its own."""
    settings = StoreSettings(redis_url=redis_url, organization_events=True)
    environment = {"API_TOKENS": tokens, "ORGANIZATION_EVENTS": "1"}
    async with (
        running_gateway(redis_url, **environment) as client,
        running_notifier(settings, api_tokens=tokens) as notifier,
        open_store(settings, client_name="test") as store,
    ):
        own = {organization: await _submit(client, organization) for organization in IDS}
        assert len(set(own.values())) == len(IDS)
        assert own == {organization: await _submit(client, organization) for organization in IDS}
        await _end_all(store)
        for organization, job_id in own.items():
            page = (await client.get("/api/ai/jobs", headers=_as(organization))).json()["jobs"]
            assert [(job["jobId"], job["organizationId"], job["userId"]) for job in page] == [
                (job_id, organization, organization)
            ]
            (day,) = (await client.get("/api/ai/usage", params=_today(), headers=_as(organization))).json()["days"]
            assert [(project["projectId"], project["jobs"]) for project in day["projects"]] == [(organization, 1)]
            foreign = own[IDS[IDS.index(organization) - 1]]
            answer = await client.get(STATUS, params={"jobId": foreign}, headers=_as(organization))
            problem(answer, 404, "not-found")
            url = f"{notifier.url}/api/ai/job-events"
            async with Stream(f"{url}?jobId={job_id}", headers=_as(organization)) as stream:
                assert (await stream.rest())[-1].kind == EventKind.COMPLETED
            query = httpx.QueryParams({"organizationId": organization, "lastEventId": "0-0"})
            async with Stream(f"{url}?{query}", headers=_as(organization)) as stream:
                assert [event.data["jobId"] for event in await stream.take(3)] == [job_id] * 3
    assert await leaks(redis_url) == []


async def _submit(client: httpx.AsyncClient, organization: str) -> str:
    job = body(organizationId=organization, projectId=organization, userId=organization)
    answer = await client.post(SUBMIT, json=job, headers={**_as(organization), "Idempotency-Key": "k"})
    return str(answer.raise_for_status().json()["jobId"])


def _today() -> dict[str, str]:
    today = datetime.datetime.now(datetime.UTC).date()
    return {"from": str(today - datetime.timedelta(days=1)), "to": str(today + datetime.timedelta(days=1))}


async def test_what_is_no_id_is_named(redis_url: str) -> None:
    """Spaces, control characters and non-ASCII characters are refused, in bodies and in queries."""
    async with running_gateway(redis_url) as client:
        for bad in ("", "a b", "a\t", "\x7f", "é", "x" * 129, "\u200b", " a"):
            for field in ("organizationId", "projectId", "userId"):
                answer = await client.post(SUBMIT, json=body(**{field: bad}))
                assert fields(problem(answer, 400, "invalid-request")) == {field}
            for path in ("/api/ai/jobs", "/api/ai/usage"):
                answer = await client.get(path, params={"organizationId": bad})
                assert fields(problem(answer, 400, "invalid-request")) == {"organizationId"}


async def test_a_path_that_its_client_resolved_deletes_no_organization(redis_url: str) -> None:
    """Browsers and curl send `…/blocked-users/..` as the organisation's own path and a slash: nobody who is called so
    can be blocked, and with the slash nothing is deleted."""
    async with running_gateway(redis_url) as client:
        path = "/api/admin/organizations/acme"
        for name in (".", ".."):
            answer = await client.post(f"{path}/blocked-users", json={"userId": name})
            assert fields(problem(answer, 400, "invalid-request")) == {"userId"}
        problem(await client.delete(f"{path}/"), 404, "not-found")
        assert (await client.get(path)).json()["paused"] is False
