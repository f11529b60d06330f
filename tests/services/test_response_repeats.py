"""Requests for a response that are repeated, take too long, or leave nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import openai

from shared.store.job_store import JobStore
from tests.support.gateway import running_gateway
from tests.support.openai_sdk import Heard, open_sdk, refused, request


async def test_a_wait_that_is_too_long_names_the_response(redis_url: str) -> None:
    """504 with the id, which the SDK does not repeat; the job goes on and can be fetched, cancelled and deleted."""
    async with (
        running_gateway(redis_url, FOREGROUND_SECONDS="0.2") as gateway,
        open_sdk(str(gateway.base_url)) as sdk,
    ):
        error = await refused(sdk.responses.create(**request()), 504, "response_pending")
        assert error.response.headers["x-should-retry"] == "false"
        (job,) = (await gateway.get("/api/ai/jobs?organizationId=default")).json()["jobs"]
        assert job["jobId"] in error.message
        assert (await sdk.responses.retrieve(job["jobId"])).status == "queued"
        for _ in range(2):
            assert (await sdk.responses.cancel(job["jobId"])).status == "cancelled"
        await sdk.responses.delete(job["jobId"])
        await refused(sdk.responses.retrieve(job["jobId"]), 404, "not_found")


async def test_a_response_that_is_not_stored_is_gone_after_its_answer(
    sdk: openai.AsyncOpenAI, heard: Heard, store: JobStore
) -> None:
    """Nothing of it is left, also after a stream; the stored one's request is kept for a chain."""
    gone = await sdk.responses.create(**request(store=False))
    stream = await sdk.responses.create(**request(store=False, stream=True))
    streamed = [event async for event in stream][-1].response
    kept = await sdk.responses.create(**request(store=True))
    assert (gone.output_text, streamed.output_text, gone.store) == ("Hello", "Hello", False)
    async with asyncio.timeout(10):
        while await store.status(gone.id) or await store.status(streamed.id):
            await asyncio.sleep(0.01)
    job = await store.status(kept.id)
    assert job is not None
    assert job.spec.prompt == heard.requests[0].prompt


async def test_a_head_is_no_answer(redis_url: str) -> None:
    """What is not to be stored is there after it, and gone after a GET; a stream has no head."""
    async with running_gateway(redis_url, FOREGROUND_SECONDS="0.2") as gateway:
        pending = await gateway.post("/v1/responses", json=request(store=False))
        (job,) = (await gateway.get("/api/ai/jobs?organizationId=default")).json()["jobs"]
        assert pending.status_code == 504
        await gateway.post(f"/api/ai/jobs/{job['jobId']}/cancel")

        path = f"/v1/responses/{job['jobId']}"
        answers = [await gateway.head(path) for _ in range(2)]
        assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"")] * 2
        assert (await gateway.head(f"{path}?stream=true")).status_code == 400
        assert (await gateway.get(path)).headers["content-length"] == answers[0].headers["content-length"]
        assert (await gateway.head(path)).status_code == 404


async def test_an_idempotency_key_gives_the_same_response(sdk: openai.AsyncOpenAI, heard: Heard) -> None:
    """Another body with it is 409, which the SDK is asked not to repeat."""
    headers = {"Idempotency-Key": "k-1"}
    first = await sdk.responses.create(**request(), extra_headers=headers)
    again = await sdk.responses.create(**request(), extra_headers=headers)
    assert again.id == first.id
    other = sdk.responses.create(**request(input="Another"), extra_headers=headers)
    error = await refused(other, 409, "idempotency_conflict")
    assert error.response.headers["x-should-retry"] == "false"
    assert len(heard.requests) == 1


async def test_a_repeat_of_the_sdk_finds_the_first_response(sdk: openai.AsyncOpenAI, heard: Heard) -> None:
    """Same body and counted as a repeat: one job; a new request with that body, another body or project: a new one."""

    def create(count: int | str, **changes: Any) -> Any:
        return sdk.responses.create(**request(**changes), extra_headers={"x-stainless-retry-count": str(count)})

    first = await create(0)
    assert (await create(1)).id == (await create(2)).id == first.id
    second = await create(0)
    assert (await create(1)).id == second.id != first.id
    assert (await create(1, input="Another")).id not in (first.id, second.id)
    for unsaid in ("-1", "1.5", "x"):
        assert (await create(unsaid)).id not in (first.id, second.id)
    elsewhere = sdk.with_options(project="proj-2").responses.create(
        **request(), extra_headers={"x-stainless-retry-count": "1"}
    )
    assert (await elsewhere).id not in (first.id, second.id)
    assert len(heard.requests) == 7


async def test_a_repeat_makes_the_job_that_never_arrived(sdk: openai.AsyncOpenAI, store: JobStore) -> None:
    """The first request was lost on its way to Redis: the repeat makes its job, once."""
    first = await sdk.responses.create(**request(background=True), extra_headers={"x-stainless-retry-count": "0"})
    await store.cancel(first.id)
    await store.delete(first.id)
    repeats = [
        await sdk.responses.create(**request(background=True), extra_headers={"x-stainless-retry-count": str(count)})
        for count in (1, 2)
    ]
    assert {response.id for response in repeats} == {first.id}
    assert {response.status for response in repeats} == {"queued"}
