"""`responseSchema` at the door of the gateway, and as its answers show it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pydantic
import pytest

from shared.job import JobError, JobStatus, Outcome
from shared.store.job_store import JobStore
from shared.store.transitions import Finish
from tests.support.gateway import BATCH, SUBMIT, body, fields, problem, running_gateway
from tests.support.openai_sdk import Heard, refused, request
from tests.support.store import claim

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"headline": {"type": "string"}},
    "required": ["headline"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "name": "post", "schema": SCHEMA, "strict": True, "description": "A post"}


async def test_a_schema_reaches_the_job_and_its_retry(redis_url: str, store: JobStore) -> None:
    """Alone and in a batch; the request shows it again, and the retry of a failed job asks for the same."""
    given = body(responseSchema=SCHEMA)
    async with running_gateway(redis_url) as client:
        one = (await client.post(SUBMIT, json=given)).json()["jobId"]
        many = (await client.post(BATCH, json={"jobs": [given]})).json()["jobs"]
        for job_id in (one, many[0]["jobId"]):
            assert (await client.get(f"/api/ai/jobs/{job_id}/request")).json()["responseSchema"] == SCHEMA

        for held in await claim(store):
            failed = Outcome(error=JobError(type="SchemaMismatch", message="no"))
            await store.finish(Finish(held, JobStatus.FAILED, failed, number=1, offset=0, run_ms=1))
        retry = (await client.post(f"/api/ai/jobs/{one}/retry")).json()["jobId"]
        job = await store.status(retry)
    assert job is not None
    assert job.spec.response_schema == SCHEMA


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strin"}, "not valid"),
        ({"$ref": "https://example.com/s.json"}, "no other document"),
        ({"properties": {"a": {"$ref": "#"}}}, "refer to itself"),
        ({"enum": ["x" * 16_400]}, "longer than"),
        ({"properties": {"a": {"pattern": "(?=a)b"}}}, "properties/a/pattern"),
        ([], "object"),
        (True, "object"),
        ({"items": json.loads('{"not":' * 16 + "{}" + "}" * 16)}, "nested more than 16 deep"),
        ({"const": "nul \0"}, "NUL"),
    ],
)
async def test_a_schema_that_cannot_be_kept_is_refused(redis_url: str, schema: Any, said: str) -> None:
    """By the name of its field, also as one job of a batch, whose neighbour is taken."""
    async with running_gateway(redis_url) as client:
        document = problem(await client.post(SUBMIT, json=body(responseSchema=schema)), 400, "invalid-request")
        assert fields(document) == {"responseSchema"}
        assert said in document["errors"][0]["message"]
        jobs = [body(responseSchema=schema), body(responseSchema=SCHEMA)]
        bad, good = (await client.post(BATCH, json={"jobs": jobs})).json()["jobs"]
    assert fields(bad["error"]) == {"jobs[0].responseSchema"}
    assert good["status"] == "queued"


async def test_the_largest_schemas_keep_no_neighbour_waiting(redis_url: str) -> None:
    """Two hundred different ones in a batch are compiled one after the other, and others are served in between."""
    jobs = [body(responseSchema={"anyOf": [{"const": f"{i} {j}"} for j in range(450)]}) for i in range(200)]
    async with running_gateway(redis_url) as client:
        posted = asyncio.create_task(client.post(BATCH, json={"jobs": jobs}, timeout=60))
        served = 0
        while not posted.done():
            assert (await client.get("/health/live")).status_code == 200
            served += 1
        assert {one["status"] for one in (await posted).json()["jobs"]} == {"queued"}
    assert served > 20


async def test_a_response_keeps_its_format(sdk: openai.AsyncOpenAI, heard: Heard) -> None:
    """As it was asked for, at once and when it is retrieved; the provider gets the schema."""
    heard.says = '{"headline": "Spring"}'
    response = await sdk.responses.create(**request(text={"format": FORMAT}))
    shown = response.to_dict()
    assert (response.status, response.output_text) == ("completed", heard.says)
    assert shown["text"] == {"format": FORMAT}
    assert (await sdk.responses.retrieve(response.id)).to_dict() == shown
    assert heard.requests[0].response_schema == SCHEMA
    plain = await sdk.responses.create(**request(text={"format": {"type": "text"}}))
    assert plain.to_dict()["text"] == {"format": {"type": "text"}}


async def test_parse_of_the_sdk_reads_the_result(sdk: openai.AsyncOpenAI, heard: Heard) -> None:
    """`responses.parse` with a pydantic model, unchanged."""

    class Post(pydantic.BaseModel):
        headline: str

    heard.says = '{"headline": "Spring"}'
    response = await sdk.responses.parse(**request(), text_format=Post)
    assert response.output_parsed == Post(headline="Spring")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schema": None}, "text.format.schema"),
        ({"name": None}, "text.format.name"),
        ({"name": "no blanks"}, "text.format.name"),
        ({"type": "json_object"}, "text.format.type"),
        ({"type": "text"}, "text.format.name"),
        ({"schema": {"type": "strin"}}, "text.format.schema"),
        ({"schema": {"$ref": "https://example.com/"}}, "text.format.schema"),
    ],
)
async def test_a_format_that_cannot_be_kept_is_refused(
    sdk: openai.AsyncOpenAI, changes: dict[str, Any], field: str
) -> None:
    """With the name of the field in OpenAI's shape."""
    call = sdk.responses.create(**request(text={"format": FORMAT | changes}))
    await refused(call, 400, "invalid_request", field)
