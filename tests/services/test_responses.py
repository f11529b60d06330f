"""`/v1/responses` through OpenAI's own SDK: fields, conversations, refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from services.worker.providers import Action, Completion, GenerationRequest, Item, ProviderError
from shared.job import JobError, Usage
from shared.settings import StoreSettings
from tests.support.gateway import SUBMIT, body
from tests.support.open_responses import REQUIRED
from tests.support.openai_sdk import Heard, refused, request
from tests.support.worker import Scripted, running_worker

CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Name a fruit"}]},
    {"role": "assistant", "content": [{"type": "output_text", "text": "Quince", "annotations": [], "logprobs": []}]},
    {"role": "user", "content": "Another"},
]


IMAGE = {"type": "input_image", "image_url": "https://example.com/a.png"}


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
    for response_id in (plain, gone.id, "resp_123", " ", "a\0", "ai-job-1737465123456-0bc123def"):
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
        ({"metadata": {"a": "\0"}}, "metadata"),
        ({"metadata": {"\0": "a"}}, "metadata"),
        ({"prompt_cache_key": "\0"}, "prompt_cache_key"),
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {}, "description": "\0"}}},
         "text.format.description"),
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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": [{"role": "user", "content": [IMAGE]}]}, "must be one of input_text, output_text, text"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "must be message"),
        ({"service_tier": "scale"}, "must be one of auto, default, flex, priority"),
        ({"text": {"format": {"type": "json_object"}}}, "must be one of text, json_schema"),
    ],
)
async def test_a_refusal_tells_the_words_that_are_taken(
    sdk: openai.AsyncOpenAI, changes: dict[str, Any], words: str
) -> None:
    """An image, an item that is no message, another tier or format: what may stand there instead."""
    with pytest.raises(openai.BadRequestError, match=words):
        await sdk.responses.create(**request(**changes))


async def test_sixteen_pairs_of_metadata_are_kept(sdk: openai.AsyncOpenAI) -> None:
    """Of 64 and 512 characters each: more than other jobs may have."""
    metadata = {f"{number:064d}": "x" * 512 for number in range(16)}
    response = await sdk.responses.create(**request(metadata=metadata, background=True))
    assert (await sdk.responses.retrieve(response.id)).metadata == metadata


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
