"""Refused parameters: repaired within the attempt, remembered for their model, named in the result."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from services.worker.providers import GenerationRequest
from services.worker.providers.requests import adjustments
from services.worker.providers.requests.drafts import Draft
from services.worker.providers.requests.repairs import find_fixes
from tests.support.adapters import Brief, collect, open_provider, request
from tests.support.llm import LlmServer
from tests.support.llm_behaviour import Behaviour, Call, Failing, Refusal

OPENAI_PARAM = {
    "error": {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
        "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
    }
}  # fmt: skip


def said(message: str, **more: Any) -> dict[str, Any]:
    """A refusal in OpenAI's shape, of which the message says all."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None} | more}


def violations(*names: str) -> list[Any]:
    """A refusal as Gemini writes it: a list, with a sentence for each field."""
    sent = [f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.' for name in names]
    details = [
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"description": t} for t in sent]}
    ]
    return [{"error": {"code": 400, "message": "\n".join(sent), "status": "INVALID_ARGUMENT", "details": details}}]


def forbidden(name: str) -> dict[str, Any]:
    """One item of pydantic's list of faults."""
    return {
        "type": "extra_forbidden",
        "loc": ["body", name],
        "msg": "Extra inputs are not permitted",
        "input": {"a": 1},
    }


OPENAI = [
    (OPENAI_PARAM, "max_tokens", "rename"),
    (said("Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is "
          "supported.", param="temperature", code="unsupported_value"), "temperature", "drop"),
    (said("Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported values are: 'low', "
          "'medium', and 'high'.", param="reasoning_effort", code="unsupported_value"), "reasoning_effort", "effort"),
    (said("Unsupported value: 'messages[0].role' does not support 'system' with this model.",
          param="messages[0].role", code="unsupported_value"), "system", "merge"),
    (said("Unrecognized request argument supplied: stream_options"), "stream_options", "drop"),  # Azure
    ({"detail": [forbidden("stream_options")]}, "stream_options", "drop"),  # FastAPI
    ({"object": "error", "message": {"detail": [forbidden("temperature")]}, "type": "invalid_request_error"},
     "temperature", "drop"),  # Mistral
    ({"object": "error", "message": json.dumps({"detail": [forbidden("stream_options")]}), "param": None},
     "stream_options", "drop"),
    ({"object": "error", "code": 400, "param": None, "message": "[{'type': 'extra_forbidden', 'loc': ('body', "
      "'stream_options'), 'msg': 'Extra inputs are not permitted', 'input': {'include_usage': True}}]"},
     "stream_options", "drop"),  # vLLM
    (violations("stream_options", "store"), "stream_options", "drop"),
    (said("`reasoning_effort` is not supported with this model"), "reasoning_effort", "drop"),  # Groq
    (said("property 'temperature' is unsupported, did you mean 'top_p'?"), "temperature", "drop"),
    ({"code": "invalid-argument", "error": "Model grok-4.20 does not support parameter reasoningEffort."},
     "reasoning_effort", "drop"),  # xAI
    (said('"llama3.2" does not support thinking'), "reasoning_effort", "drop"),  # Ollama
    (said("litellm.UnsupportedParamsError: openai does not support parameters: ['temperature'], for model=gpt-5. To "
          "drop these, set `litellm.drop_params=True`"), "temperature", "drop"),
    (said('litellm.BadRequestError: AzureException BadRequestError - {"error": {"message": "Unsupported parameter: '
          "'temperature' is not supported with this model.\"}}"), "temperature", "drop"),
    ({"message": "This model doesn't support the temperature field. Remove temperature and try again."},
     "temperature", "drop"),  # Bedrock
    (said("Extra inputs are not permitted, field: 'stream_options'"), "stream_options", "drop"),  # Fireworks
    (said("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"), "max_tokens", "cap"),  # DeepSeek
    (said("`max_tokens` must be less than or equal to `8192`"), "max_tokens", "cap"),
    (said("max_tokens is too large: 20000. This model supports at most 16384 completion tokens.", param="max_tokens"),
     "max_tokens", "cap"),
    (said("'max_tokens' or 'max_completion_tokens' is too large: 20000. This model's maximum context length is 4096 "
          "tokens and your request has 20 input tokens (20000 > 4096 - 20)."), "max_tokens", "drop"),  # vLLM
    (said("max_tokens is too large: 20000. See error 41 of our guide."), "max_tokens", "drop"),
    (said("max_tokens is too large: 20000. gpt-4o-2024-08-06 supports at most 16,384 tokens"), "max_tokens", "cap"),
    (said("Unable to submit request because it has a maxOutputTokens value of 20000 but the supported range is from 1 "
          "(inclusive) to 8193 (exclusive)."), "max_tokens", "cap"),  # Gemini
    (said("This model only works in thinking mode, Budget 0 is invalid"), "reasoning_effort", "drop"),
    (said('think value "low" is not supported for this model'), "reasoning_effort", "drop"),
    (said("`reasoning_effort` must be one of `low`, `default`"), "reasoning_effort", "effort"),
    ({"message": "invalid request: parameter 'stream_options' is not a valid field"}, "stream_options", "drop"),
    (said("property 'body.stream_options' is unsupported", param="validation_error", code="wrong_api_format"),
     "stream_options", "drop"),  # Cerebras
    ({"error": "Input validation error: `temperature` must be strictly positive", "error_type": "validation"},
     "temperature", "drop"),  # TGI
    (said("Malformed input request: extraneous key [temperature] is not permitted"), "temperature", "drop"),
    (said("System role not supported"), "system", "merge"),  # a chat template
    (said("Conversation roles must alternate user/assistant/user/assistant/..."), "system", "merge"),
    (said("Developer instruction is not enabled for models/gemma-3-27b-it"), "system", "merge"),  # Gemini
    ("Failed to deserialize the JSON body: unknown field `stream_options`", "stream_options", "drop"),
]  # fmt: skip

NO_DISABLED = (
    '"thinking.type.disabled" is not supported for this model. Use "thinking.type.adaptive" and '
    '"output_config.effort" to control thinking behavior.'
)
ANTHROPIC = [
    (NO_DISABLED, "thinking", "thinking"),
    ("max_tokens: 20000 > 8192, which is the maximum allowed number of output tokens", "max_tokens", "cap"),
    ("system: Extra inputs are not permitted", "system", "merge"),
]  # fmt: skip


def _openai_draft() -> Draft:
    return Draft({
        "model": "m", "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}],
        "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 20_000, "temperature": 0.2,
        "reasoning_effort": "none",
    })  # fmt: skip


def _anthropic_draft() -> Draft:
    sent = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "system": "Be kind.",
        "max_tokens": 20_000,
    }
    return Draft(sent | {"stream": True, "thinking": {"type": "disabled"}}, limit_required=True)


@pytest.mark.parametrize(("body", "parameter", "how"), OPENAI)
def test_what_servers_of_openais_dialect_say(body: Any, parameter: str, how: str) -> None:
    """Each real refusal is read for the one parameter it is about; the request differs afterwards, and reports it."""
    draft = _openai_draft()
    before = json.dumps(draft.sent)
    (fix,) = find_fixes(body, draft)
    assert (fix.parameter, fix.how) == (parameter, how)
    draft.apply(fix)
    assert json.dumps(draft.sent) != before
    assert draft.metadata is not None
    assert how != "cap" or draft.sent["max_tokens"] in (16_384, 8_192)
    assert draft.sent["messages"][-1]["content"].endswith("Hello")
    assert not find_fixes(body, draft), "a second answer like it changes nothing more"


@pytest.mark.parametrize(("message", "parameter", "how"), ANTHROPIC)
def test_what_servers_of_anthropics_dialect_say(message: str, parameter: str, how: str) -> None:
    """The same for messages, whose API always wants a limit of tokens."""
    draft = _anthropic_draft()
    (fix,) = find_fixes({"type": "error", "error": {"type": "invalid_request_error", "message": message}}, draft)
    assert (fix.parameter, fix.how) == (parameter, how)
    draft.apply(fix)
    assert draft.metadata is not None
    assert draft.sent["max_tokens"] >= 8192


@pytest.mark.parametrize(
    "body",
    [
        None, "", [], {}, said("The prompt is bad."), said("Invalid value", param="messages[1].content"),
        said("Not for the temperature in Rome: policy", param="prompt"), {"error": {"message": ["temperature"] * 9}},
        {"detail": [{"msg": "The text is bad.", "input": "temperature is not supported"}]},
        said("Unknown name: top_p"), {"a": {"b": {"c": [[[[["temperature"]]]]]}}},
    ],
)  # fmt: skip
def test_what_is_not_about_a_parameter_changes_nothing(body: Any) -> None:
    """Neither the prompt's words nor a parameter that was not sent make a second call."""
    assert find_fixes(body, _openai_draft()) == []


def test_several_at_once() -> None:
    """A list of faults is repaired in one go."""
    draft = _openai_draft()
    fixes = find_fixes({"detail": [forbidden("stream_options"), forbidden("temperature")]}, draft)
    assert {fix.parameter for fix in fixes} == {"stream_options", "temperature"}


@pytest.mark.parametrize(
    "text", ["role " * 14_000, "system " * 9_000, "1" * 65_000, "'loc': (" * 9_000, "no " * 20_000]
)
def test_a_hostile_refusal_takes_no_time(text: str) -> None:
    """Any refusal of 64 KiB is read in a few milliseconds."""
    wide = [[["temperature"] * 100] * 100] * 100
    began = time.process_time()
    find_fixes(said(text) | {"detail": [text, {"loc": [text]}] * 20, "loc": wide}, _openai_draft())
    assert time.process_time() - began < 0.1


async def _run(llm: LlmServer, name: str, *refusals: Refusal, jobs: int = 1, **changes: Any) -> tuple[Any, list[Call]]:
    """The last of some jobs, and all calls that they made."""
    await llm.behave(Behaviour(keep_bodies=True, refuses=list(refusals)))
    url = {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]
    asked: GenerationRequest = request(name, **changes)
    async with open_provider(name, url, briefing=lambda _: Brief(max_tokens=300)) as provider:
        for _ in range(jobs):
            seen = await collect(provider, asked)
    return seen, await llm.calls()


async def test_one_repair_and_it_is_remembered(llm: LlmServer) -> None:
    """A refused parameter costs one more call, once for all jobs of a model; every result names it."""
    refusal = Refusal(parameter="temperature", status=400, body=said("'temperature' is not supported"))
    seen, calls = await _run(llm, "openai", refusal, jobs=3, temperature=0.2)
    assert [call.status for call in calls] == [400, 200, 200, 200]
    assert seen.done.metadata == {"ignored": ["temperature"]}
    assert "temperature" not in calls[-1].body


async def test_a_limit_under_its_other_name(llm: LlmServer) -> None:
    """The limit itself stays."""
    seen, calls = await _run(llm, "openai", Refusal(parameter="max_tokens", status=400, body=OPENAI_PARAM))
    assert [call.status for call in calls] == [400, 200]
    assert (calls[-1].body["max_completion_tokens"], "max_tokens" in calls[-1].body) == (300, False)
    assert seen.done.metadata == {"adjusted": ["max_tokens"]}


async def test_servers_that_name_one_after_the_other(llm: LlmServer) -> None:
    """Each repair is of another parameter; fixes learned before the last one count too."""
    refusals = [
        Refusal(parameter="stream_options", status=422, body={"detail": [forbidden("stream_options")]}),
        Refusal(parameter="temperature", status=422, body={"detail": [forbidden("temperature")]}),
    ]
    seen, calls = await _run(llm, "openai", *refusals, jobs=2, temperature=0.2)
    assert [call.status for call in calls] == [422, 422, 200, 200]
    assert seen.done.metadata == {"ignored": ["stream_options", "temperature"]}
    assert seen.done.usage.estimated is False


async def test_a_model_without_a_system_role(llm: LlmServer) -> None:
    """Instructions and prompt go out as one message of the user."""
    refusal = Refusal(parameter="system", status=400, body=said("System role not supported"))
    seen, calls = await _run(llm, "openai", refusal)
    (message,) = calls[-1].body["messages"]
    assert (message["role"], message["content"]) == ("user", "Write for a feed.\n\nWrite a post")
    assert seen.done.metadata == {"adjusted": ["system"]}


async def test_thinking_that_cannot_be_stopped(llm: LlmServer) -> None:
    """A model that refuses `disabled` thinks with little effort, and gets room for it."""
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": NO_DISABLED}}
    refusal = Refusal(parameter="thinking", status=400, body=body)
    seen, calls = await _run(llm, "anthropic", refusal, model="claude-opus-5", max_tokens=100)
    assert calls[0].body["thinking"] == {"type": "disabled"}
    assert (calls[-1].body["output_config"], calls[-1].body["max_tokens"]) == ({"effort": "low"}, 100 + 4096)
    assert seen.done.metadata == {"adjusted": ["thinking"]}


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_refusal_that_stays_fails_the_job(llm: LlmServer, name: str) -> None:
    """A server that refuses everything in any words gets a few calls and no more."""
    await llm.behave(Behaviour(fail=Failing(status=400, body=said("temperature, max_tokens, system role unsupported"))))
    url = {"openai": llm.openai_url, "anthropic": llm.anthropic_url}[name]
    async with open_provider(name, url, briefing=lambda _: Brief(max_tokens=300)) as provider:
        seen = await collect(provider, request(name, temperature=0.5))
    assert seen.failed.error.type == "RequestRejected"
    assert len(await llm.calls()) <= 5


@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_other_failures_are_not_repaired(llm: LlmServer, status: int) -> None:
    """Only a refusal of the request itself is worth a second call."""
    await llm.behave(Behaviour(fail=Failing(status=status, body=said("temperature is not supported"))))
    async with open_provider("openai", llm.openai_url) as provider:
        await collect(provider, request("openai", temperature=0.5))
    assert len(await llm.calls()) == 1


async def test_learned_fixes_are_bounded(llm: LlmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many models a process meets, it remembers the last few; a new key asks for everything again."""
    monkeypatch.setattr(adjustments, "MODELS_MAX", 8)
    refusal = Refusal(parameter="temperature", status=400, body=said("'temperature' is not supported"))
    await llm.behave(Behaviour(refuses=[refusal]))
    async with open_provider("openai", llm.openai_url) as provider:
        for i in (*range(12), 11, 0):
            await collect(provider, request("openai", model=f"m{i}", temperature=0.5))
        assert len(await llm.calls()) == 12 * 2 + 1 + 2
        provider.rekey("another")
        await collect(provider, request("openai", model="m0", temperature=0.5))
    assert len(await llm.calls()) == 12 * 2 + 1 + 2 + 2
