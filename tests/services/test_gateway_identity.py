"""Tokens, and the isolation of organisations (I9)."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import httpx
import pytest

from shared.http.auth import hash_token
from shared.identity.key_text import new_key
from tests.support.checks import RawRedis
from tests.support.gateway import BATCH, STATUS, SUBMIT, body, problem, running_gateway
from tests.support.processes import ROOT
from tests.support.store import KEYS

OPERATOR, ALICE, BOB = "operators-token", "token-of-alice", "token-of-bob"
TOKENS = f"{hash_token(OPERATOR)}\n{hash_token(ALICE)} alice\n\n{hash_token(BOB).upper()} bob\n"


def _as(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _submit(client: httpx.AsyncClient, token: str, organization: str) -> str:
    answer = await client.post(SUBMIT, json=body(organizationId=organization), headers=_as(token))
    return str(answer.raise_for_status().json()["jobId"])


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"Basic {ALICE}", ALICE])
async def test_every_api_call_needs_a_token(
    redis_url: str, header: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a good bearer token every call is 401 with a challenge, and nothing is written; ops and docs are open."""
    monkeypatch.setattr("shared.identity.guesses.LIMIT", 1000)
    headers = {} if header is None else {"Authorization": header}
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        described = (await client.get("/openapi.json")).json()["paths"]
        api = {path: item for path, item in described.items() if path.startswith("/api/")}
        calls = [(path, method) for path, item in api.items() for method in item if method != "servers"]
        assert set(api) == {path for path, _ in calls}
        assert {SUBMIT, BATCH, STATUS, "/api/ai/usage", "/api/ai/jobs/{jobId}/cancel"} < {path for path, _ in calls}
        for path, method in calls:
            answer = await client.request(method.upper(), re.sub("{.*?}", "x", path), json=body(), headers=headers)
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        async with RawRedis(redis_url) as raw:
            assert set(await raw("KEYS", "*")) <= {KEYS.fixed("failover").encode()}
        for path in ("/health/live", "/health/ready", "/metrics", "/docs", "/docs/openapi.json"):
            assert (await client.get(path)).status_code == 200


async def test_a_query_is_read_once_its_caller_is_known(redis_url: str) -> None:
    """A bad one is 401 for a key that does not exist, which takes a look into Redis, and 400 for a caller."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        for path in ("/api/ai/jobs", "/api/ai/queue-stats", "/api/ai/usage"):
            for token, status, slug in ((new_key().text, 401, "unauthorized"), (ALICE, 400, "invalid-request")):
                problem(await client.get(f"{path}?unknown=1", headers=_as(token)), status, slug)


async def test_a_bound_token_acts_for_its_organization_alone(redis_url: str) -> None:
    """A body or a listing that names another organisation is 403, in a batch for that job alone."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        answer = await client.post(SUBMIT, json=body(organizationId="bob"), headers=_as(ALICE))
        problem(answer, 403, "forbidden")
        jobs = [body(organizationId="bob"), body(organizationId="alice")]
        foreign, own = (await client.post(BATCH, json={"jobs": jobs}, headers=_as(ALICE))).json()["jobs"]
        assert foreign["error"]["status"] == 403
        assert own["status"] == "queued"
        for path in ("/api/ai/jobs", "/api/ai/usage"):
            problem(await client.get(path, params={"organizationId": "bob"}, headers=_as(ALICE)), 403, "forbidden")


async def test_a_foreign_job_is_as_good_as_none(redis_url: str) -> None:
    """Another organisation's job gets exactly the answer of an unknown id, and is not changed."""
    unknown = "ai-job-1737465123456-0bc123def"
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        job = await _submit(client, ALICE, "alice")
        for method, path in (
            ("GET", f"{STATUS}?jobId=%s"), ("GET", f"{STATUS}?jobId=%s&wait=5"),
            ("POST", "/api/ai/jobs/%s/cancel"), ("POST", "/api/ai/jobs/%s/retry"),
        ):  # fmt: skip
            foreign = await client.request(method, path % job, headers=_as(BOB))
            nothing = await client.request(method, path % unknown, headers=_as(BOB))
            assert problem(foreign, 404, "not-found") == problem(nothing, 404, "not-found")
        for token in (ALICE, OPERATOR):
            status = await client.get(STATUS, params={"jobId": job}, headers=_as(token))
            assert status.json()["status"] == "queued"


async def test_a_listing_shows_own_jobs_without_naming_the_organization(redis_url: str) -> None:
    """A bound token's listing is its own organisation's; an operator must name one and may name any."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        own = await _submit(client, ALICE, "alice")
        other = await _submit(client, OPERATOR, "bob")
        page = (await client.get("/api/ai/jobs", headers=_as(ALICE))).json()
        assert [job["jobId"] for job in page["jobs"]] == [own]
        problem(await client.get("/api/ai/jobs", headers=_as(OPERATOR)), 400, "invalid-request")
        page = (await client.get("/api/ai/jobs?organizationId=bob", headers=_as(OPERATOR))).json()
        assert [job["jobId"] for job in page["jobs"]] == [other]


def _start(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.gateway", *arguments],
        input=stdin, capture_output=True, text=True, timeout=30, cwd=ROOT, check=False,
        env={"PATH": os.environ["PATH"], "REDIS_URL": "redis://127.0.0.1:1", **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"GATEWAY_HOST": "0.0.0.0"}, "API_TOKENS"),  # noqa: S104 - it is refused
        ({"API_TOKENS": "not-a-hash"}, "API_TOKENS line 1"),
        ({"API_TOKENS": f"{hash_token('x')} bäd"}, "API_TOKENS line 1"),
        ({"GATEWAY_PORT": "x"}, "GATEWAY_PORT"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
        ({"PUBLIC_EVENTS_URL": "javascript:x"}, "PUBLIC_EVENTS_URL"),
        ({"CORS_ALLOWED_ORIGINS": "localhost:3000"}, "CORS_ALLOWED_ORIGINS: expected origins as in https://"),
        ({"PROVIDERS": ":model"}, "PROVIDERS"),
        ({"MAX_ATTEMPTS": "11"}, "MAX_ATTEMPTS"),
        ({"REDIS_URL": ""}, "REDIS_URL"),
    ],
)
def test_a_bad_setting_stops_the_start_with_one_line(environment: dict[str, str], said: str) -> None:
    """A wrong or dangerous setting ends the process with status 2 and one line that names it."""
    ended = _start(**environment)
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert said in ended.stderr


def test_hash_token_makes_what_api_tokens_holds() -> None:
    """The documented command prints the hash of the token on standard input, without its line end."""
    ended = _start("hash-token", stdin="my-token\n")
    assert (ended.returncode, ended.stdout.strip()) == (0, hash_token("my-token"))
    assert _start("hash-token").returncode == 2
