"""Bad bodies: always a problem document that names what is wrong, never a 500, and nothing is written."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import pytest

from tests.support.gateway import BATCH, SUBMIT, body, fields, problem

JSON = {"content-type": "application/json"}
pytestmark = pytest.mark.asyncio(loop_scope="module")


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
async def test_a_bad_field_is_named(strict: httpx.AsyncClient, changes: dict[str, Any], field: str) -> None:
    """Each bad field gives 400 and is the one that the document names."""
    assert fields(problem(await strict.post(SUBMIT, json=body(**changes)), 400, "invalid-request")) == {field}


@pytest.mark.parametrize("name", ["projectId", "userId", "organizationId", "prompt"])
async def test_a_missing_field_is_named(strict: httpx.AsyncClient, name: str) -> None:
    """Each required field is missed by its name."""
    assert fields(problem(await strict.post(SUBMIT, json=_without(name)), 400, "invalid-request")) == {name}


async def test_all_bad_fields_are_named_at_once(strict: httpx.AsyncClient) -> None:
    """A body with many faults is answered with all of them, not with the first."""
    bad = {"prompt": 5, "extra": 1, "priority": "urgent", "parameters": {"a": None, "b": 1, "c": {}}}
    document = problem(await strict.post(SUBMIT, json=bad), 400, "invalid-request")
    missing = {"projectId", "userId", "organizationId"}
    assert fields(document) == missing | {"prompt", "extra", "priority", "parameters.a", "parameters.c"}


async def test_a_problem_stays_small(strict: httpx.AsyncClient) -> None:
    """10,000 unknown fields with long names are answered in a few kilobytes."""
    bad = {"x" * 10 + str(i): 1 for i in range(10_000)} | {"y" * 20_000: 1}
    answer = await strict.post(SUBMIT, json=bad)
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
async def test_what_is_no_such_json_is_refused(strict: httpx.AsyncClient, path: str, content: bytes) -> None:
    """Broken JSON, broken UTF-8, lone surrogates, huge numbers and deep nesting are 400 on both submit calls."""
    problem(await strict.post(path, content=content, headers=JSON), 400, "invalid-request")


async def test_bad_jobs_of_a_batch_write_nothing(strict: httpx.AsyncClient) -> None:
    """A batch of bad jobs alone is answered job by job and leaves no key behind."""
    jobs = [body(prompt="\0"), body(unknown=1), {}, None, body(idempotencyKey=""), body(idempotencyKey="é")]
    answers = (await strict.post(BATCH, json={"jobs": jobs})).json()["jobs"]
    assert [answer["error"]["status"] for answer in answers] == [400] * 6


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
async def test_a_bad_idempotency_key_is_named(strict: httpx.AsyncClient, key: str) -> None:
    """A key that is empty, too long or not printable ASCII is 400."""
    answer = await strict.post(SUBMIT, json=body(), headers=[(b"Idempotency-Key", key.encode())])
    assert fields(problem(answer, 400, "invalid-request")) == {"Idempotency-Key"}


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
@pytest.mark.parametrize("path", [SUBMIT, BATCH])
async def test_another_media_type_is_415_before_parsing(strict: httpx.AsyncClient, path: str, media: str) -> None:
    """A body that does not call itself JSON is not looked at, however good or bad it is."""
    headers = {"content-type": media} if media else {}
    for content in (json.dumps(body()).encode(), b"{"):
        problem(await strict.post(path, content=content, headers=headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("path", [SUBMIT, BATCH])
async def test_a_compressed_body_is_415_and_not_called_bad_json(strict: httpx.AsyncClient, path: str) -> None:
    """A compressed body is answered with the coding that is understood."""
    content = gzip.compress(json.dumps(body()).encode())
    answer = await strict.post(path, content=content, headers={**JSON, "content-encoding": "gzip"})
    assert "Content-Encoding" in problem(answer, 415, "unsupported-media-type")["detail"]
    assert answer.headers["accept-encoding"] == "identity"


async def test_bad_bodies_are_explained(strict: httpx.AsyncClient) -> None:
    """A word that is none of a few names them all; a body that is not there is called empty."""
    answer = await strict.post(SUBMIT, json=body(priority="urgent"))
    assert problem(answer, 400, "invalid-request")["errors"] == [
        {"field": "priority", "message": "must be one of high, normal, low"}
    ]
    answer = await strict.post(SUBMIT, headers=JSON)
    assert problem(answer, 400, "invalid-request")["errors"] == [{"field": "body", "message": "is empty"}]
