"""Finish reasons of every known server: one table, pure.

A word is looked up without regard to case and separators, so `MAX_TOKENS`, `max-tokens` and `maxTokens` are one. The
table is part of docs/provider-failures.md (`failures_page.py`).
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final

import msgspec

from services.worker.providers.failures.error_bodies import squash

SHOWN_CHARACTERS: Final = 64
"""Most characters of a reason that is in no table: longer ones are no words."""


class Finish(Enum):
    """Meaning of a finish reason for the text."""

    STOP = "stop"  # whole
    LENGTH = "length"  # cut at a limit of tokens, which the caller chose or the model has
    REFUSED = "refused"  # the model or a filter withheld it
    BROKEN = "broken"  # the server could not go on
    TOOL = "tool"  # the model wants a tool, or another turn, before it goes on
    OTHER = "other"  # in no table


class Source(msgspec.Struct, frozen=True):
    """The reasons of one server that mean one thing. `where`: its documentation or code."""

    server: str
    finish: Finish
    reasons: tuple[str, ...]
    where: str


def _source(server: str, where: str, finish: Finish, reasons: str) -> Source:
    return Source(server, finish, tuple(reasons.split()), where)


_CHAT = "API reference, chat completion object"
_RESPONSES = "API reference, response object; SDK `types/responses/response.py`"
_MESSAGES = "API reference, Messages `stop_reason`; SDK `types/stop_reason.py`"
_CONVERSE = "API reference, Converse `stopReason`; Titan `completionReason`"
_GEMINI = "API reference, `Candidate.FinishReason`"
_GEMINI_CHAT = "as its answers have them: `content_filter: PROHIBITED_CONTENT`, `function_call_filter: …`"
_COHERE = "API reference, Chat; SDK `types/chat_finish_reason.py`, `types/finish_reason.py`"
_LM_STUDIO = "SDK `LLMPredictionStopReason`"
_WATSONX = "API reference, text chat and text generation"
_VERCEL = "`LanguageModelFinishReason` of the AI SDK, which gateways pass on"

SOURCES: Final = (
    _source("OpenAI, Azure OpenAI, Groq, Fireworks, Moonshot", _CHAT, Finish.STOP, "stop"),
    _source("OpenAI, Azure OpenAI, Groq, Fireworks, Moonshot", _CHAT, Finish.LENGTH, "length"),
    _source("OpenAI, Azure OpenAI, Moonshot, xAI", _CHAT, Finish.REFUSED, "content_filter"),
    _source("OpenAI, Azure OpenAI, Groq, Fireworks", _CHAT, Finish.TOOL, "tool_calls function_call"),
    _source("OpenAI (Responses)", _RESPONSES, Finish.STOP, "completed"),
    _source("OpenAI (Responses)", _RESPONSES, Finish.LENGTH, "max_output_tokens max_messages"),
    _source("OpenAI (Responses)", _RESPONSES, Finish.BROKEN, "failed cancelled incomplete in_progress queued steered"),
    _source("Anthropic", _MESSAGES, Finish.STOP, "end_turn stop_sequence"),
    _source("Anthropic", _MESSAGES, Finish.LENGTH, "max_tokens model_context_window_exceeded"),
    _source("Anthropic", _MESSAGES, Finish.REFUSED, "refusal"),
    _source("Anthropic", _MESSAGES, Finish.TOOL, "tool_use pause_turn compaction"),
    _source("Bedrock", _CONVERSE, Finish.STOP, "end_turn stop_sequence FINISH STOP_CRITERIA_MET"),
    _source("Bedrock", _CONVERSE, Finish.LENGTH, "max_tokens model_context_window_exceeded LENGTH"),
    _source("Bedrock", _CONVERSE, Finish.REFUSED, "guardrail_intervened content_filtered CONTENT_FILTERED"),
    _source("Bedrock", _CONVERSE, Finish.BROKEN, "malformed_model_output malformed_tool_use"),
    _source("Gemini, Vertex AI", _GEMINI, Finish.STOP, "STOP"),
    _source("Gemini, Vertex AI", _GEMINI, Finish.LENGTH, "MAX_TOKENS"),
    _source(
        "Gemini, Vertex AI", _GEMINI, Finish.REFUSED,
        "SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII MODEL_ARMOR ESCALATION IMAGE_SAFETY "
        "IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION",
    ),
    _source(
        "Gemini, Vertex AI", _GEMINI, Finish.BROKEN,
        "OTHER MALFORMED_FUNCTION_CALL MALFORMED_RESPONSE UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS "
        "MISSING_THOUGHT_SIGNATURE NO_IMAGE IMAGE_OTHER",
    ),
    _source("Gemini (chat completions)", _GEMINI_CHAT, Finish.REFUSED, "content_filter"),
    _source("Gemini (chat completions)", _GEMINI_CHAT, Finish.BROKEN, "function_call_filter"),
    _source("DeepSeek", _CHAT, Finish.BROKEN, "insufficient_system_resource aborted"),
    _source("Mistral", "API reference, Chat; SDK `chatcompletionchoice.py`", Finish.LENGTH, "length model_length"),
    _source("Mistral", "API reference, Chat; SDK `chatcompletionchoice.py`", Finish.BROKEN, "error"),
    _source("OpenRouter", "guides, Errors and Streaming: an error after the first token", Finish.BROKEN, "error"),
    _source("Zhipu GLM, Z.ai", _CHAT, Finish.LENGTH, "length model_context_window_exceeded"),
    _source("Zhipu GLM, Z.ai, Tencent Hunyuan", _CHAT, Finish.REFUSED, "sensitive"),
    _source("Zhipu GLM, Z.ai", _CHAT, Finish.BROKEN, "network_error"),
    _source("Qwen (DashScope), Baidu Qianfan", _CHAT, Finish.STOP, "stop normal"),
    _source("MiniMax, Baichuan, StepFun, Volcengine Ark", _CHAT, Finish.REFUSED, "content_filter"),
    _source("GigaChat", _CHAT, Finish.REFUSED, "blacklist"),
    _source("GigaChat", _CHAT, Finish.BROKEN, "error"),
    _source("YandexGPT", "API reference, `Alternative.AlternativeStatus`", Finish.STOP, "ALTERNATIVE_STATUS_FINAL"),
    _source(
        "YandexGPT", "API reference, `Alternative.AlternativeStatus`", Finish.LENGTH,
        "ALTERNATIVE_STATUS_TRUNCATED_FINAL",
    ),
    _source(
        "YandexGPT", "API reference, `Alternative.AlternativeStatus`", Finish.REFUSED,
        "ALTERNATIVE_STATUS_CONTENT_FILTER",
    ),
    _source("Cohere", _COHERE, Finish.STOP, "COMPLETE STOP_SEQUENCE"),
    _source("Cohere", _COHERE, Finish.LENGTH, "MAX_TOKENS ERROR_LIMIT"),
    _source("Cohere", _COHERE, Finish.REFUSED, "ERROR_TOXIC"),
    _source("Cohere", _COHERE, Finish.TOOL, "TOOL_CALL"),
    _source("Cohere", _COHERE, Finish.BROKEN, "ERROR TIMEOUT USER_CANCEL"),
    _source("Together, Hugging Face TGI", "API reference; `FinishReason` of TGI", Finish.STOP, "eos eos_token"),
    _source("xAI", "API reference; `FinishReason` of its protocol buffers", Finish.STOP, "REASON_STOP"),
    _source(
        "xAI", "API reference; `FinishReason` of its protocol buffers", Finish.LENGTH,
        "REASON_MAX_LEN REASON_MAX_CONTEXT",
    ),
    _source("xAI", "API reference; `FinishReason` of its protocol buffers", Finish.TOOL, "REASON_TOOL_CALLS"),
    _source("xAI", "API reference; `FinishReason` of its protocol buffers", Finish.BROKEN, "REASON_TIME_LIMIT"),
    _source("watsonx", _WATSONX, Finish.STOP, "stop eos_token stop_sequence"),
    _source("watsonx", _WATSONX, Finish.LENGTH, "length max_tokens token_limit"),
    _source("watsonx", _WATSONX, Finish.BROKEN, "time_limit cancelled error not_finished"),
    _source("vLLM", "`FINISH_REASON_STRINGS` in `vllm/v1/engine/__init__.py`", Finish.LENGTH, "length"),
    _source("vLLM", "`FINISH_REASON_STRINGS` in `vllm/v1/engine/__init__.py`", Finish.BROKEN, "abort error repetition"),
    _source("SGLang", "`FINISH_ABORT` in `managers/schedule_batch.py`", Finish.BROKEN, "abort"),
    _source("TensorRT-LLM, LMDeploy", "`FinishReason` of the executors", Finish.STOP, "end_id stop_words finish"),
    _source("TensorRT-LLM, LMDeploy", "`FinishReason` of the executors", Finish.BROKEN, "timed_out cancelled error"),
    _source("llama.cpp", "server documentation, `stop_type`", Finish.STOP, "eos word"),
    _source("llama.cpp", "server documentation, `stop_type`", Finish.LENGTH, "limit"),
    _source("Ollama", "API documentation, `done_reason`", Finish.BROKEN, "load unload"),
    _source("LM Studio", _LM_STUDIO, Finish.STOP, "eosFound stopStringFound"),
    _source("LM Studio", _LM_STUDIO, Finish.LENGTH, "maxPredictedTokensReached contextLengthReached"),
    _source("LM Studio", _LM_STUDIO, Finish.TOOL, "toolCalls"),
    _source("LM Studio", _LM_STUDIO, Finish.BROKEN, "userStopped modelUnloaded failed"),
    _source("AI21", _CHAT, Finish.STOP, "endoftext"),
    _source("LiteLLM, Vercel AI gateway", _VERCEL, Finish.REFUSED, "content-filter"),
    _source("LiteLLM, Vercel AI gateway", _VERCEL, Finish.BROKEN, "error"),
    _source("other spellings", "seen, or near one of those above", Finish.STOP, "done finished final end eot"),
    _source(
        "other spellings", "seen, or near one of those above", Finish.LENGTH,
        "max_completion_tokens max_new_tokens max_length context_length context_length_exceeded token_limit_reached "
        "truncated",
    ),
    _source(
        "other spellings", "seen, or near one of those above", Finish.REFUSED,
        "moderated policy_violation unsafe refused blocked blocklisted blacklisted toxic toxicity harmful censored "
        "sensitive_content risk risk_control filtered filter copyright",
    ),
    _source(
        "other spellings", "seen, or near one of those above", Finish.BROKEN,
        "interrupted disconnect disconnected connection_lost exception crash crashed oom out_of_memory overloaded "
        "rate_limit rate_limited rate_limit_exceeded resource_exhausted insufficient_resources insufficient_quota "
        "unavailable service_unavailable network deadline_exceeded max_time preempted evicted killed shutdown invalid "
        "loop",
    ),
    _source("other spellings", "seen, or near one of those above", Finish.TOOL, "tool tool_call function tools"),
)  # fmt: skip
"""Every known reason, by server."""

STEMS: Final = (
    (Finish.REFUSED, "begins", "contentfilter contentpolicy contentmoderation safety guardrail moderation"),
    (Finish.BROKEN, "begins", "error abort cancel malformed"),
    (Finish.BROKEN, "ends", "error failed failure aborted cancelled canceled timeout"),
)
"""Beginnings and endings that mean this kind in every vocabulary (`engine_error`, `safety_filter`), without
separators."""

UNSAID: Final = ("", "null", "none", "nil", "undefined", "finish_reason_unspecified", "unspecified")
"""Words that say that there is no reason, as missing ones do: the answer goes on, or was cut off."""

_PREFIX: Final = re.compile(r"(finish|stop)?reason(?=.)")
_PARTS: Final = re.compile(r"[:./|]")


_FINISHES: Final = {squash(reason): source.finish for source in SOURCES for reason in source.reasons}
_UNSAID: Final = frozenset(map(squash, UNSAID[1:]))
_TESTS: Final = tuple(
    (finish, str.startswith if where == "begins" else str.endswith, tuple(stems.split()))
    for finish, where, stems in STEMS
)


def _look_up(word: str) -> Finish | None:
    plain = squash(word)
    return _FINISHES.get(plain) or _FINISHES.get(_PREFIX.sub("", plain, count=1))


def said(reason: Any) -> str:
    """The reason in a field of an answer; empty when there is none. SGLang's own shape is `{"type": "stop"}`.

    A number, a list or a truth value is no reason: such an answer counts as one without.
    """
    if isinstance(reason, dict):
        reason = reason.get("type") or reason.get("reason")
    if not isinstance(reason, str):
        return ""
    word = reason[:256].strip()
    return "" if not word or squash(word) in _UNSAID else word


def finish_of(reason: str) -> Finish:
    """Meaning of a reason; OTHER for one that is in no table.

    Some put two words together (`content_filter: SPII`): the first that is known counts, and so does the name of an
    enumeration before it (`FinishReason.SAFETY`).
    """
    for word in (reason, *_PARTS.split(reason)):
        if (found := _look_up(word)) is not None:
            return found
    plain = squash(reason)
    return next((finish for finish, has, stems in _TESTS if has(plain, stems)), Finish.OTHER)


def worse(first: Finish, second: Finish) -> Finish:
    """Choose between two words for one end, a normalised and a native one: a word for a fault wins."""
    order = (Finish.BROKEN, Finish.REFUSED, Finish.TOOL, Finish.LENGTH)
    return next((one for one in order if one in (first, second)), first)


def shown(finish: Finish, reason: str) -> str:
    """The result's `finishReason` for a whole answer: `stop`, `length`, or an unknown word as it is, without characters
    that cannot be shown."""
    if finish is not Finish.OTHER:
        return str(finish.value)
    return "".join(one if one.isprintable() else "?" for one in reason[:SHOWN_CHARACTERS])
