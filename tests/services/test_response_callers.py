"""Callers of `/v1`: whose a response is, and what a key may do."""

from __future__ import annotations

import httpx
import openai

from shared.http.auth import Scope
from shared.job import Priority
from shared.store.job_store import JobStore
from tests.support.callers import OPERATOR, TOKENS, make_key
from tests.support.gateway import running_gateway
from tests.support.openai_sdk import Heard, open_sdk, refused, request


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


async def test_an_operator_who_names_an_organization_sees_of_no_other(sdk: openai.AsyncOpenAI, heard: Heard) -> None:
    """By header: every call of another's response is 404. By metadata: a conversation of another is continued no more
    than one that does not exist."""
    first = sdk.with_options(organization="org-1")
    other = sdk.with_options(organization="org-2")
    made = await first.responses.create(**request())
    for call in (
        other.responses.retrieve(made.id),
        other.responses.retrieve(made.id, stream=True),
        other.responses.cancel(made.id),
        other.responses.delete(made.id),
    ):
        await refused(call, 404, "not_found")
    assert (await first.responses.retrieve(made.id)).id == made.id

    going_on = request(previous_response_id=made.id)
    field, code = "previous_response_id", "previous_response_not_found"
    for elsewhere in (
        other.responses.create(**going_on),
        sdk.responses.create(**going_on),
        sdk.responses.create(**going_on, metadata={"organizationId": "org-2"}),
    ):
        await refused(elsewhere, 404, code, field)
    named = request(input=[{"role": "user", "content": "a"}, {"type": "item_reference", "id": made.output[0].id}])
    await refused(other.responses.create(**named), 404, code, "input[1].id")
    await sdk.responses.create(**going_on, metadata={"organizationId": "org-1"})
    assert len(heard.requests) == 2


async def test_paths_that_are_not_served_answer_in_the_same_form(gateway: httpx.AsyncClient) -> None:
    """404 and 405 below /v1, with the methods; outside of it errors are problem documents as ever."""
    for path in ("/v1", "/v1/chat/completions", "/v1/responses/a/b/c"):
        answer = await gateway.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    answer = await gateway.put("/v1/responses", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert (await gateway.post("/v1/responses", content=b"{")).status_code == 415
    assert (await gateway.post("/v1/responses", json={"input": 1})).json()["error"]["param"] == "input"
    assert (await gateway.get("/v2")).headers["content-type"] == "application/problem+json"
