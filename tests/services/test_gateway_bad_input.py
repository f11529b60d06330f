"""Bad input: always a problem document that names the fault, never a 500, and nothing is written."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from shared.store.embedded.server import EmbeddedServer
from tests.support.checks import RawRedis
from tests.support.gateway import BATCH, STATUS, SUBMIT, body, fields, problem, running_gateway
from tests.support.store import KEYS

JSON = {"content-type": "application/json"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(server: EmbeddedServer) -> AsyncIterator[httpx.AsyncClient]:
    """One gateway for all bad input: its answer to one request may not depend on those before."""
    async with running_gateway(server.url) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def client(gateway: httpx.AsyncClient, server: EmbeddedServer) -> AsyncIterator[httpx.AsyncClient]:
    """The gateway before an empty server, which must still be empty after the test."""
    async with RawRedis(server.url) as raw:
        await raw("FLUSHALL")
        yield gateway
        # A new connection may have greeted the server (`failover_fence.py`).
        assert set(await raw("KEYS", "*")) <= {KEYS.fixed("failover").encode()}


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in body().items() if key != name}


BAD_FIELDS = [
    ({"prompt": 5}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": "x" * 65_537}, "prompt"),
    ({"prompt": "é" * 32_769}, "prompt"),
    ({"prompt": "nul \0 byte"}, "prompt"),
    ({"projectId": ""}, "projectId"),
    ({"projectId": "a" * 129}, "projectId"),
    ({"userId": "a b"}, "userId"),
    ({"userId": "a\x7f"}, "userId"),
    ({"organizationId": "org 1"}, "organizationId"),
    ({"organizationId": "é"}, "organizationId"),
    ({"unknown": 1}, "unknown"),
    ({"idempotencyKey": "k"}, "idempotencyKey"),
    ({"project_id": "p"}, "project_id"),
    ({"priority": "urgent"}, "priority"),
    ({"priority": 1}, "priority"),
    ({"parameters": []}, "parameters"),
    ({"parameters": {"tone": None}}, "parameters.tone"),
    ({"parameters": {"tone": {"deep": 1}}}, "parameters.tone"),
    ({"parameters": {"tone": "x" * 1025}}, "parameters.tone"),
    ({"parameters": {"tone": "é" * 513}}, "parameters.tone"),
    ({"parameters": {"tags": ["é" * 513]}}, "parameters.tags"),
    ({"parameters": {"tags": ["x"] * 33}}, "parameters.tags"),
    ({"parameters": {"count": 2**63}}, "parameters.count"),
    ({"parameters": {"nul": "\0"}}, "parameters"),
    ({"parameters": {"\0": "nul"}}, "parameters"),
    ({"parameters": {f"p{i}": i for i in range(65)}}, "parameters"),
    ({"parameters": {f"p{i}": i for i in range(10_000)}}, "parameters"),
    ({"maxTokens": 0}, "maxTokens"),
    ({"maxTokens": 1.5}, "maxTokens"),
    ({"maxTokens": "10"}, "maxTokens"),
    ({"maxTokens": True}, "maxTokens"),
    ({"temperature": 2.1}, "temperature"),
    ({"effort": "none"}, "effort"),
    ({"effort": 3}, "effort"),
    ({"delaySeconds": -1}, "delaySeconds"),
    ({"delaySeconds": 604_801}, "delaySeconds"),
    ({"maxAttempts": 0}, "maxAttempts"),
    ({"maxAttempts": 11}, "maxAttempts"),
    ({"timeoutSeconds": 3601}, "timeoutSeconds"),
    ({"deadlineSeconds": 0}, "deadlineSeconds"),
    ({"deadlineSeconds": 60, "delaySeconds": 60}, "deadlineSeconds"),
    ({"metadata": []}, "metadata"),
    ({"metadata": {"x": "y" * 4096}}, "metadata"),
    ({"metadata": {"x": ["\0"]}}, "metadata"),
    ({"provider": "nobody"}, "provider"),
    ({"model": "nothing"}, "model"),
]


@pytest.mark.parametrize(("changes", "field"), BAD_FIELDS, ids=lambda value: str(value)[:40])
async def test_a_bad_field_is_named(client: httpx.AsyncClient, changes: dict[str, Any], field: str) -> None:
    """Each bad field gives 400 and is the one that the document names."""
    assert fields(problem(await client.post(SUBMIT, json=body(**changes)), 400, "invalid-request")) == {field}


@pytest.mark.parametrize("name", ["projectId", "userId", "organizationId", "prompt"])
async def test_a_missing_field_is_named(client: httpx.AsyncClient, name: str) -> None:
    """Each required field is missed by its name."""
    assert fields(problem(await client.post(SUBMIT, json=_without(name)), 400, "invalid-request")) == {name}


async def test_all_bad_fields_are_named_at_once(client: httpx.AsyncClient) -> None:
    """A body with many faults is answered with all of them, not with the first."""
    bad = {"prompt": 5, "extra": 1, "priority": "urgent", "parameters": {"a": None, "b": 1, "c": {}}}
    document = problem(await client.post(SUBMIT, json=bad), 400, "invalid-request")
    missing = {"projectId", "userId", "organizationId"}
    assert fields(document) == missing | {"prompt", "extra", "priority", "parameters.a", "parameters.c"}


async def test_a_problem_stays_small(client: httpx.AsyncClient) -> None:
    """10,000 unknown fields with long names are answered in a few kilobytes."""
    bad = {"x" * 10 + str(i): 1 for i in range(10_000)} | {"y" * 20_000: 1}
    answer = await client.post(SUBMIT, json=bad)
    problem(answer, 400, "invalid-request")
    assert len(answer.content) < 16_384


BROKEN = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"5",
    b"{}{}",
    b"\xff\xfe",
    b'{"prompt":"\x00"}',
    b'{"prompt":NaN}',
    b'{"prompt":"\xed\xa0\x80"}',
    json.dumps(body()).encode()[:-1],
    json.dumps(body()).replace("Write", r"\ud800").encode(),
    json.dumps(body()).replace("Write", r"\udc00\ud800").encode(),
    json.dumps(body())[:-1].encode() + b',"temperature":1e999}',
    json.dumps(body())[:-1].encode() + b',"metadata":{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}}",
    json.dumps(body())[:-1].encode() + b',"metadata":{"x":' + b"9" * 5_000 + b"}}",
    json.dumps(body())[:-1].encode() + b',"parameters":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b"[" * 100_000,
]


@pytest.mark.parametrize("path", [SUBMIT, BATCH])
@pytest.mark.parametrize("content", BROKEN, ids=lambda value: repr(value[:30]))
async def test_what_is_no_such_json_is_refused(client: httpx.AsyncClient, path: str, content: bytes) -> None:
    """Broken JSON, broken UTF-8, lone surrogates, huge numbers and deep nesting are 400 on both submit calls."""
    problem(await client.post(path, content=content, headers=JSON), 400, "invalid-request")


async def test_bad_jobs_of_a_batch_write_nothing(client: httpx.AsyncClient) -> None:
    """A batch of bad jobs alone is answered job by job and leaves no key behind."""
    jobs = [body(prompt="\0"), body(unknown=1), {}, None, body(idempotencyKey=""), body(idempotencyKey="é")]
    answers = (await client.post(BATCH, json={"jobs": jobs})).json()["jobs"]
    assert [answer["error"]["status"] for answer in answers] == [400] * 6


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
async def test_a_bad_idempotency_key_is_named(client: httpx.AsyncClient, key: str) -> None:
    """A key that is empty, too long or not printable ASCII is 400."""
    answer = await client.post(SUBMIT, json=body(), headers=[(b"Idempotency-Key", key.encode())])
    assert fields(problem(answer, 400, "invalid-request")) == {"Idempotency-Key"}


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
@pytest.mark.parametrize("path", [SUBMIT, BATCH])
async def test_another_media_type_is_415_before_parsing(client: httpx.AsyncClient, path: str, media: str) -> None:
    """A body that does not call itself JSON is not read, good or bad."""
    headers = {"content-type": media} if media else {}
    for content in (json.dumps(body()).encode(), b"{"):
        problem(await client.post(path, content=content, headers=headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("path", [SUBMIT, BATCH])
async def test_a_compressed_body_is_415_and_not_called_bad_json(client: httpx.AsyncClient, path: str) -> None:
    """A compressed body is answered with the coding that is understood."""
    content = gzip.compress(json.dumps(body()).encode())
    answer = await client.post(path, content=content, headers={**JSON, "content-encoding": "gzip"})
    assert "Content-Encoding" in problem(answer, 415, "unsupported-media-type")["detail"]
    assert answer.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (f"{STATUS}?jobId=a&wait=abc", "wait: expected `number`"),
        (
            "/api/ai/jobs?organizationId=a&status=done",
            "must be one of queued, processing, completed, failed, cancelled",
        ),
        ("/api/ai/usage?organizationId=a&from=31.1.2026", "from: must be a date as in 2026-01-31"),
        ("/api/ai/usage?organizationId=a&to=2024-01-31", "and 2024-01-31, a missing day is of this month"),
    ],
)
async def test_a_bad_query_is_explained(client: httpx.AsyncClient, query: str, message: str) -> None:
    """The detail names the allowed values, also of fields that the caller left out."""
    assert message in problem(await client.get(query), 400, "invalid-request")["detail"]


async def test_bad_bodies_are_explained(client: httpx.AsyncClient) -> None:
    """A word that is none of a few names them all; a body that is not there is called empty."""
    answer = await client.post(SUBMIT, json=body(priority="urgent"))
    assert problem(answer, 400, "invalid-request")["errors"] == [
        {"field": "priority", "message": "must be one of high, normal, low"}
    ]
    answer = await client.post(SUBMIT, headers=JSON)
    assert problem(answer, 400, "invalid-request")["errors"] == [{"field": "body", "message": "is empty"}]


@pytest.mark.parametrize("job_id", ["x", "ai-job-0000000000000-000000000", "../../x", "%7Bx%7D", "*"])
async def test_an_unknown_job_is_404_everywhere(client: httpx.AsyncClient, job_id: str) -> None:
    """An id that names no job is 404 in any form."""
    problem(await client.get(f"{STATUS}?jobId={job_id}"), 404, "not-found")
    problem(await client.post(f"/api/ai/jobs/{job_id}/cancel"), 404, "not-found")
    problem(await client.post(f"/api/ai/jobs/{job_id}/retry"), 404, "not-found")


@pytest.mark.parametrize("job_id", ["", "%20", "+", "%00", "ai-job-0000000000000-00000000%0a", "x" * 65])
async def test_a_malformed_job_id_is_400(client: httpx.AsyncClient, job_id: str) -> None:
    """Empty, blank, with control characters or too long: the caller's code is wrong, and the answer says so."""
    for query in (f"{STATUS}?jobId={job_id}", f"{STATUS}?jobId={job_id}&wait=1"):
        assert fields(problem(await client.get(query), 400, "invalid-request")) == {"jobId"}
    if job_id not in ("", "+"):  # in a path they are another path, and a plus sign
        for verb in ("cancel", "retry"):
            answer = await client.post(f"/api/ai/jobs/{job_id}/{verb}")
            assert fields(problem(answer, 400, "invalid-request")) == {"jobId"}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (STATUS, "jobId"),
        (f"{STATUS}?jobId=a&jobId=b", "jobId"),
        (f"{STATUS}?jobId=a&wait=31", "wait"),
        (f"{STATUS}?jobId=a&wait=-1", "wait"),
        (f"{STATUS}?jobId=a&wait=nan", "wait"),
        (f"{STATUS}?jobId=a&wait=", "wait"),
        (f"{STATUS}?jobId=%ff", "query"),
        ("/api/ai/jobs", "organizationId"),
        ("/api/ai/jobs?organizationId=a%20b", "organizationId"),
        ("/api/ai/jobs?organizationId=a&status=done", "status"),
        ("/api/ai/jobs?organizationId=a&cursor=x", "cursor"),
        ("/api/ai/jobs?organizationId=a&cursor=%C3%A9", "cursor"),
        ("/api/ai/jobs?organizationId=a&limit=0", "limit"),
        ("/api/ai/jobs?organizationId=a&limit=101", "limit"),
        ("/api/ai/jobs?organizationId=a&limit=1.5", "limit"),
        ("/api/ai/jobs?organizationId=a&Limit=1", "Limit"),
        ("/api/ai/usage?organizationId=a&from=2026-01-01&from=2026-01-01", "from"),
        ("/api/ai/usage?organizationId=a&first=2026-01-01", "first"),
        ("/api/ai/queue-stats?a=1", "a"),
        (f"/api/ai/queue-stats?{'x' * 300}", "x" * 100),
        (f"{STATUS}?{'&' * 200}jobId=a", "query"),
    ],
)
async def test_a_bad_query_is_named(client: httpx.AsyncClient, path: str, field: str) -> None:
    """A query parameter that is missing, unknown, given twice or out of range is 400 and named."""
    assert fields(problem(await client.get(path), 400, "invalid-request")) == {field}


async def test_all_bad_parameters_are_named_at_once(client: httpx.AsyncClient) -> None:
    """A query with many faults is answered with all of them, as a body is, also of calls that change something."""
    answer = await client.get("/api/ai/jobs?organizationId=a%20b&status=done&limit=0&offset=3")
    assert fields(problem(answer, 400, "invalid-request")) == {"organizationId", "status", "limit", "offset"}
    for verb in ("cancel", "retry"):
        answer = await client.post(f"/api/ai/jobs/x/{verb}?force=1&why=no")
        document = problem(answer, 400, "invalid-request")
        assert document["errors"] == [{"field": name, "message": "unknown field"} for name in ("force", "why")]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", SUBMIT, "POST"),
        ("HEAD", BATCH, "POST"),
        ("DELETE", SUBMIT, "POST"),
        ("POST", STATUS, "GET"),
        ("PUT", "/api/ai/queue-stats", "GET"),
        ("GET", "/api/ai/jobs/x/cancel", "POST"),
        ("POST", "/metrics", "GET"),
    ],
)
async def test_a_wrong_method_is_405_with_allow(client: httpx.AsyncClient, method: str, path: str, allow: str) -> None:
    """A method that a call does not have is 405 and says which it has; OPTIONS says the same."""
    answer = await client.request(method, path)
    assert answer.status_code == 405
    assert allow in answer.headers["allow"]
    options = await client.options(path)
    assert options.status_code == 204
    assert allow in options.headers["allow"]


@pytest.mark.parametrize("path", ["/nope", "/api/ai/nope", "/api/ai/jobs/x/nope", "/docs/assets/nope.js"])
async def test_an_unknown_path_is_a_problem_document_too(client: httpx.AsyncClient, path: str) -> None:
    """404 of the router has the same shape as every other error."""
    problem(await client.get(path), 404, "not-found")
