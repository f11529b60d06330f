"""Schemas in the form of each API; in words where a server, or its API, has no form for them."""

from __future__ import annotations

from typing import Any

import pytest

from services.worker.providers import GenerationRequest
from tests.providers.refusals import forbidden, said
from tests.support.adapters import BOTH, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour, Call, Refusal

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"headline": {"type": "string", "maxLength": 60}},
    "required": ["headline"],
    "additionalProperties": False,
}
STRICT = SCHEMA | {"properties": {"headline": {"type": "string"}}}
OPEN = {"type": "object", "additionalProperties": {"type": "string"}}
FIELDS = {"openai": "response_format", "anthropic": "output_config"}


async def _calls(
    llm: LlmServer, name: str, *refusals: Refusal, jobs: int = 1, **changes: Any
) -> tuple[dict[str, object] | None, list[Call]]:
    """The metadata of the last of some jobs with a schema, and the calls that they made."""
    await llm.behave(Behaviour(keep_bodies=True, refuses=list(refusals)))
    url = {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]
    asked: GenerationRequest = request(name, **{"response_schema": SCHEMA, **changes})
    async with open_provider(name, url) as provider:
        for _ in range(jobs):
            seen = await collect(provider, asked)
    return seen.done.metadata, await llm.calls()


def _spoken(call: Call) -> str:
    """The last message of the user."""
    messages: list[dict[str, str]] = call.body["messages"]
    return messages[-1]["content"]


async def test_openai_gets_it_as_its_response_format(llm: LlmServer) -> None:
    """Strict where the schema is written for that; the prompt stays as it was."""
    metadata, (call,) = await _calls(llm, "openai")
    form = {"name": "result", "schema": SCHEMA, "strict": False}
    assert call.body["response_format"] == {"type": "json_schema", "json_schema": form}
    assert (metadata, _spoken(call)) == (None, "Write a post")
    assert "one JSON value" in call.body["messages"][0]["content"]
    _, (_, call) = await _calls(llm, "openai", response_schema=STRICT)
    assert call.body["response_format"]["json_schema"] == {"name": "result", "schema": STRICT, "strict": True}


async def test_anthropic_gets_it_as_its_output_format(llm: LlmServer) -> None:
    """Without the bounds of texts, which are in descriptions: its API takes none. Effort stays beside it."""
    metadata, (call,) = await _calls(llm, "anthropic", model="claude-opus-5", effort="low")
    config = call.body["output_config"]
    assert (config["effort"], config["format"]["type"], metadata) == ("low", "json_schema", None)
    assert config["format"]["schema"]["properties"] == {
        "headline": {"type": "string", "description": "{maxLength: 60}"}
    }
    assert (_spoken(call), call.body["max_tokens"] >= 8192) == ("Write a post", True)
    assert "one JSON value" in call.body["system"]


async def test_what_anthropic_cannot_say_is_told_in_words(llm: LlmServer) -> None:
    """Objects with free names, which its form does not have."""
    metadata, (call,) = await _calls(llm, "anthropic", response_schema=OPEN)
    assert "output_config" not in call.body
    assert '{"type":"object","additionalProperties":{"type":"string"}}' in _spoken(call)
    assert metadata == {"ignored": ["response_schema"]}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("openai", said("This response_format type is unavailable now")),
        ("openai", said("'response_format' of type 'json_schema' is not supported with this model.")),
        ("openai", {"detail": [forbidden("response_format")]}),
        ("anthropic", said("output_config: Extra inputs are not permitted")),
        ("anthropic", said("output_config.format: not supported by this model")),
    ],
)
async def test_a_server_that_takes_no_schema_is_told_in_words(llm: LlmServer, name: str, body: Any) -> None:
    """One more call, once for all jobs of a model; every result names it."""
    refusal = Refusal(parameter=FIELDS[name], status=400, body=body)
    metadata, calls = await _calls(llm, name, refusal, jobs=2)
    assert [call.status for call in calls] == [400, 200, 200]
    assert metadata == {"ignored": ["response_schema"]}
    assert all('"maxLength":60' in _spoken(call) for call in calls[1:])
    assert all(_spoken(call).count("JSON Schema") == 1 for call in calls[1:])


async def test_one_schema_that_is_refused_is_no_fault_of_the_server(llm: LlmServer) -> None:
    """The next job's is sent again."""
    message = "Invalid schema for response_format 'result': In context=(), 'required' is required to be supplied."
    body = said(message, param="response_format")
    metadata, calls = await _calls(llm, "openai", Refusal(parameter="response_format", status=400, body=body), jobs=2)
    assert [call.status for call in calls] == [400, 200, 400, 200]
    assert metadata == {"ignored": ["response_schema"]}


async def test_a_format_that_is_refused_leaves_the_effort(llm: LlmServer) -> None:
    """Both are in one field of Anthropic's."""
    body = said("output_config.format: not supported by this model")
    refusal = Refusal(parameter="output_config", status=400, body=body)
    await llm.behave(Behaviour(keep_bodies=True, refuses=[refusal]))
    asked = request("anthropic", response_schema=SCHEMA, model="claude-opus-5", effort="low")
    async with open_provider("anthropic", llm.anthropic_url) as provider:
        await collect(provider, asked)
    calls = await llm.calls()
    assert calls[1].body["output_config"] == {"effort": "low"}


@pytest.mark.parametrize("name", BOTH)
async def test_a_repair_says_what_was_wrong(llm: LlmServer, name: str) -> None:
    """With the schema in words, beside its form."""
    _, (call,) = await _calls(llm, name, mismatch="the text does not fit: see #/required")
    assert FIELDS[name] in call.body
    assert "see #/required" in _spoken(call)
    assert '"maxLength":60' in _spoken(call)


@pytest.mark.parametrize("name", BOTH)
async def test_other_jobs_know_nothing_of_it(llm: LlmServer, name: str) -> None:
    """Their requests stay as they were, to the letter."""
    _, (call,) = await _calls(llm, name, response_schema=None)
    assert not {"response_format", "output_config"} & call.body.keys()
    assert "JSON" not in str(call.body["messages"]) + str(call.body.get("system", ""))
