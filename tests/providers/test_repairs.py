"""Bodies of both dialects that refuse a parameter, and the repair that is read out of them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from services.worker.providers.requests.drafts import Draft
from services.worker.providers.requests.repairs import find_fixes
from tests.providers.refusals import NO_DISABLED, OPENAI_PARAM, forbidden, said, violations

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
