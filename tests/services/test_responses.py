"""`/v1/responses` through OpenAI's own SDK: fields, errors, conversations, repeated requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from services.worker.providers import Action, Completion, GenerationRequest, Item, ProviderError
from shared.http.auth import Scope
from shared.job import JobError, Priority, Usage
from shared.settings import StoreSettings
from shared.store.job_store import JobStore
from tests.support.callers import OPERATOR, TOKENS, make_key
from tests.support.gateway import SUBMIT, body, running_gateway
from tests.support.openai_sdk import REQUIRED, open_sdk, request
from tests.support.worker import DONE, Scripted, running_worker

CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Name a fruit"}]},
    {"role": "assistant", "content": [{"type": "output_text", "text": "Quince", "annotations": [], "logprobs": []}]},
    {"role": "user", "content": "Another"},
]


IMAGE = {"type": "input_image", "image_url": "https://example.com/a.png"}


class Heard:
    """A provider that answers "Hello" and remembers the requests."""

    def __init__(self) -> None:
        self.requests: list[GenerationRequest] = []

    async def __call__(self, asked: GenerationRequest) -> AsyncIterator[Item]:
        """See `Provider.stream`."""
        self.requests.append(asked)
        yield "Hel"
        yield "lo"
        yield DONE


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that asks for no key."""
    async with running_gateway(redis_url, FOREGROUND_SECONDS="20") as running:
        yield running


@pytest.fixture
async def sdk(gateway: httpx.AsyncClient) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK before it."""
    async with open_sdk(str(gateway.base_url)) as client:
        yield client


@pytest.fixture
async def heard(redis_url: str) -> AsyncIterator[Heard]:
    """A worker behind it."""
    provider = Heard()
    settings = StoreSettings(redis_url=redis_url, lease_seconds=2.0)
    async with running_worker(settings, {"demo": Scripted(provider)}):
        yield provider


async def refused(call: Any, status: int, code: str, param: str | None = None) -> openai.APIStatusError:
    """The SDK's error of a call that must be refused so."""
    with pytest.raises(openai.APIStatusError) as raised:
        await call
    error = raised.value
    assert (error.status_code, error.code, error.param) == (status, code, param), error.body
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert error.response.headers["content-type"] == "application/json"
    return error


async def test_a_response_has_every_field_of_the_schema(sdk: openai.AsyncOpenAI, heard: Heard) -> None:
    """Created in the foreground: the text, its usage, and each required field, as it was asked."""
    asked = request(
        instructions="Sound warm.", metadata={"projectId": "p-1", "campaign": "spring"}, max_output_tokens=50,
        temperature=0.5, reasoning={"effort": "high"}, user="jane@example.com", safety_identifier="u-1",
        prompt_cache_key="k", service_tier="flex", top_p=1, tools=[], truncation="auto",
        text={"format": {"type": "text"}},
    )  # fmt: skip
    response = await sdk.responses.create(**asked)
    assert set(response.to_dict()) >= REQUIRED
    assert (response.status, response.output_text, response.model) == ("completed", "Hello", "demo:demo")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (1, 2, 3)
    assert response.metadata == asked["metadata"]
    assert (response.max_output_tokens, response.temperature, response.instructions) == (50, 0.5, "Sound warm.")
    assert (response.user, response.safety_identifier, response.service_tier) == ("jane@example.com", "u-1", "flex")
    assert (await sdk.responses.retrieve(response.id)).to_dict() == response.to_dict()
    (job,) = heard.requests
    assert (job.prompt, job.instructions, job.effort, job.max_tokens) == (asked["input"], "Sound warm.", "high", 50)


async def test_a_job_gets_its_owner_from_headers_and_fields(sdk: openai.AsyncOpenAI, store: JobStore) -> None:
    """Project and organisation by header or metadata, user by safety_identifier or user; else plain words."""
    with_headers = sdk.with_options(organization="org-1", project="proj-1")
    first = await with_headers.responses.create(**request(user="u-1", background=True))
    metadata = {"projectId": "p-2", "organizationId": "org-2"}
    second = await sdk.responses.create(
        **request(user="u-1", safety_identifier="u-2", metadata=metadata, service_tier="priority", background=True)
    )
    third = await sdk.responses.create(**request(background=True))
    found = [await store.status(response.id) for response in (first, second, third)]
    owners = [(job.spec.project_id, job.spec.user_id, job.organization_id, job.spec.priority) for job in found if job]
    assert owners == [
        ("proj-1", "u-1", "org-1", Priority.NORMAL),
        ("p-2", "u-2", "org-2", Priority.HIGH),
        ("default", "api", "default", Priority.NORMAL),
    ]


async def test_messages_and_a_chain_reach_the_provider(sdk: openai.AsyncOpenAI, heard: Heard) -> None:
    """A conversation is passed on with its roles; the next response knows it, and its answer, but not its
    instructions."""
    first = await sdk.responses.create(**request(input=CONVERSATION, instructions="Sound warm."))
    second = await sdk.responses.create(**request(input="A third", previous_response_id=first.id))
    third = await sdk.responses.create(**request(input="The last", previous_response_id=second.id))
    assert third.previous_response_id == second.id
    told, _, all_of_it = heard.requests
    assert told.prompt == "Be brief.\n\nName a fruit\n\nQuince\n\nAnother"
    assert [str(turn.role) for turn in told.turns] == ["system", "user", "assistant", "user"]
    assert all_of_it.prompt == f"{told.prompt}\n\nHello\n\nA third\n\nHello\n\nThe last"
    assert all_of_it.instructions is None


async def test_only_a_kept_and_completed_response_can_be_continued(
    sdk: openai.AsyncOpenAI, gateway: httpx.AsyncClient, heard: Heard
) -> None:
    """One that runs is 400; one that is unknown, deleted, or whose request is not kept is 404, and names the field."""
    plain = (await gateway.post(SUBMIT, json=body())).json()["jobId"]
    await gateway.get(f"/api/ai/job-status?jobId={plain}&wait=20")
    gone = await sdk.responses.create(**request())
    await sdk.responses.delete(gone.id)
    field, code = "previous_response_id", "previous_response_not_found"
    for response_id in (plain, gone.id, "resp_123", "ai-job-1737465123456-0bc123def"):
        await refused(sdk.responses.create(**request(previous_response_id=response_id)), 404, code, field)
    assert len(heard.requests) == 2


async def test_a_response_under_way_cannot_be_continued(sdk: openai.AsyncOpenAI) -> None:
    """Its end is not known."""
    first = await sdk.responses.create(**request(background=True))
    await refused(sdk.responses.create(**request(previous_response_id=first.id)), 400, "invalid_request",
                  "previous_response_id")  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
        ({"top_p": 0.5}, "top_p"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format.type"),
        ({"reasoning": {"effort": "xhigh"}}, "reasoning.effort"),
        ({"background": True, "store": False}, "store"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"role": "user", "content": ""}]}, "input[0].content"),
        ({"input": [{"role": "assistant", "content": "hi"}]}, "input"),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input[0].type"),
        ({"input": "x" * 65_537}, "input"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"metadata": {"projectId": "not an id"}}, "metadata.projectId"),
        ({"user": "a b"}, "user"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"extra_body": {"seed": 1}}, "seed"),
        ({"extra_body": {"presswork": {"restart": "yes"}}}, "presswork.restart"),
    ],
)  # fmt: skip
async def test_what_cannot_be_served_is_refused_by_its_name(
    sdk: openai.AsyncOpenAI, changes: dict[str, Any], param: str
) -> None:
    """Each unsupported or bad field is 400, named in `param`."""
    await refused(sdk.responses.create(**request(**changes)), 400, "invalid_request", param)


async def test_sixteen_pairs_of_metadata_are_kept(sdk: openai.AsyncOpenAI) -> None:
    """Of 64 and 512 characters each: more than other jobs may have."""
    metadata = {f"{number:064d}": "x" * 512 for number in range(16)}
    response = await sdk.responses.create(**request(metadata=metadata, background=True))
    assert (await sdk.responses.retrieve(response.id)).metadata == metadata


async def test_models_are_listed_and_checked(redis_url: str) -> None:
    """Those of PROVIDERS, by either name; an unknown one is 404, one that the key may not use 403."""
    chain = "demo,openai:gpt-6-luna"
    async with running_gateway(redis_url, PROVIDERS=chain, API_TOKENS=TOKENS) as gateway:
        bound = (await make_key(gateway, "org-1", models=["demo:demo"]))["key"]
        every = (await make_key(gateway, "org-1"))["key"]
        url = str(gateway.base_url)
        async with open_sdk(url, key=bound) as limited, open_sdk(url, key=every) as free:
            assert [model.id async for model in free.models.list()] == ["demo:demo", "openai:gpt-6-luna"]
            assert [model.id async for model in limited.models.list()] == ["demo:demo"]
            assert (await free.models.retrieve("openai:gpt-6-luna")).owned_by == "openai"
            await refused(limited.models.retrieve("openai:gpt-6-luna"), 404, "model_not_found", "model")
            for name in ("gpt-6-luna", "openai:gpt-6-luna"):
                asked = request(model=name, background=True)
                assert (await free.responses.create(**asked)).model == name
                await refused(limited.responses.create(**asked), 403, "model_not_allowed", "model")
            await refused(free.responses.create(**request(model="gpt-4o")), 404, "model_not_found", "model")


async def test_a_key_needs_the_scope_of_each_call(redis_url: str) -> None:
    """Without a key 401, without its scope 403; another organisation's response is 404."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as gateway:
        url = str(gateway.base_url)
        writes = (await make_key(gateway, "org-1", str(Scope.JOBS_WRITE)))["key"]
        other = (await make_key(gateway, "org-2"))["key"]
        async with open_sdk(url, key=writes) as sdk, open_sdk(url, key=other) as foreign, open_sdk(url) as none:
            await refused(none.responses.create(**request()), 401, "invalid_api_key")
            made = await sdk.responses.create(**request(background=True))
            for call in (
                sdk.responses.create(**request()),
                sdk.responses.create(**request(stream=True)),
                sdk.responses.retrieve(made.id),
                sdk.responses.retrieve(made.id, stream=True),
                sdk.responses.cancel(made.id),
                sdk.responses.delete(made.id),
            ):
                await refused(call, 403, "insufficient_scope")
            for call in (
                foreign.responses.retrieve(made.id),
                foreign.responses.retrieve(made.id, stream=True),
                foreign.responses.cancel(made.id),
                foreign.responses.delete(made.id),
            ):
                await refused(call, 404, "not_found")
            elsewhere = foreign.with_options(organization="org-1").responses.create(**request())
            await refused(elsewhere, 403, "forbidden", "OpenAI-Organization")
        async with open_sdk(url, key=OPERATOR) as sdk:
            assert (await sdk.responses.retrieve(made.id)).id == made.id


async def test_a_wait_that_is_too_long_names_the_response(redis_url: str) -> None:
    """504 with the id, which the SDK does not repeat; the job goes on and can be fetched, cancelled and deleted."""
    async with (
        running_gateway(redis_url, FOREGROUND_SECONDS="0.2") as gateway,
        open_sdk(str(gateway.base_url), retries=3) as sdk,
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


async def test_a_text_cut_at_its_limit_is_incomplete(redis_url: str, sdk: openai.AsyncOpenAI) -> None:
    """And says so; a failed job has an error and no output."""

    async def cut(asked: GenerationRequest) -> AsyncIterator[Item]:
        if asked.prompt == "fail":
            raise ProviderError(JobError(type="RequestRejected", message="no"), Action.FAIL)
        yield "Half"
        yield Completion(usage=Usage(input_tokens=1, output_tokens=1), finish_reason="length")

    settings = StoreSettings(redis_url=redis_url, lease_seconds=2.0)
    async with running_worker(settings, {"demo": Scripted(cut)}):
        half = await sdk.responses.create(**request())
        failed = await sdk.responses.create(**request(input="fail"))
    assert (half.status, half.output_text) == ("incomplete", "Half")
    assert half.incomplete_details is not None
    assert half.incomplete_details.reason == "max_output_tokens"
    assert half.output[0].status == "incomplete"
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.output) == ("failed", "invalid_prompt", [])


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


async def test_an_idempotency_key_gives_the_same_response(sdk: openai.AsyncOpenAI, heard: Heard) -> None:
    """Another body with it is 409, which the SDK is told not to repeat."""
    headers = {"Idempotency-Key": "k-1"}
    first = await sdk.responses.create(**request(), extra_headers=headers)
    again = await sdk.responses.create(**request(), extra_headers=headers)
    assert again.id == first.id
    other = sdk.responses.create(**request(input="Another"), extra_headers=headers)
    error = await refused(other, 409, "idempotency_conflict")
    assert error.response.headers["x-should-retry"] == "false"
    assert len(heard.requests) == 1


async def test_a_repeat_of_the_sdk_finds_the_first_response(sdk: openai.AsyncOpenAI, heard: Heard) -> None:
    """Same body and counted as a repeat: one job; a new request with that body, or another body: a new one."""

    def create(count: int, **changes: Any) -> Any:
        return sdk.responses.create(**request(**changes), extra_headers={"x-stainless-retry-count": str(count)})

    first = await create(0)
    assert (await create(1)).id == (await create(2)).id == first.id
    second = await create(0)
    assert (await create(1)).id == second.id != first.id
    assert (await create(1, input="Another")).id not in (first.id, second.id)
    assert len(heard.requests) == 3


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


async def test_paths_that_are_not_served_answer_in_the_same_form(gateway: httpx.AsyncClient) -> None:
    """404 and 405 below /v1, with the methods; outside of it errors are problem documents as ever."""
    for path in ("/v1", "/v1/chat/completions", "/v1/responses/a/b/c"):
        answer = await gateway.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    answer = await gateway.put("/v1/responses", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (await gateway.post("/v1/responses", content=b"{")).status_code == 415
    assert (await gateway.post("/v1/responses", json={"input": 1})).json()["error"]["param"] == "input"
    assert (await gateway.get("/v2")).headers["content-type"] == "application/problem+json"
