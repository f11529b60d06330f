"""Names of spans' attributes: those of OpenTelemetry's semantic conventions, pinned, and our own."""

from __future__ import annotations

import re
from typing import Final

VERSION: Final = "1.41.0"
"""Of the semantic conventions. The last release with names for generative AI: since then these have a repository of
their own (semantic-conventions-genai), whose 0.1.0 has all that are used here. They are in development: another version
is a change that dashboards see."""

SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{VERSION}"

# ---- calls of providers -------------------------------------------------------------------------------------------

GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_OUTPUT_TYPE: Final = "gen_ai.output.type"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"

CHAT: Final = "chat"
TEXT: Final = "text"

# ---- the queue ----------------------------------------------------------------------------------------------------

MESSAGING_DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_SYSTEM: Final = "messaging.system"

ERROR_TYPE: Final = "error.type"

SYSTEM: Final = "presswork"
SEND: Final = "send"
PROCESS: Final = "process"

# ---- our own ------------------------------------------------------------------------------------------------------

ORGANIZATION: Final = "presswork.organization.id"
ATTEMPT: Final = "presswork.attempt"
CALL_OUTCOME: Final = "presswork.call.outcome"
CREATED: Final = "presswork.job.created"
COST_USD: Final = "presswork.job.cost_usd"
RETRY_REASON: Final = "presswork.retry.reason"
STATUS: Final = "presswork.job.status"
WAIT_SECONDS: Final = "presswork.job.wait_seconds"

_PROVIDERS: Final = {
    "azure": "azure.ai.openai", "bedrock": "aws.bedrock", "gemini": "gcp.gemini", "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai", "xai": "x_ai",
}  # fmt: skip
_WORD: Final = re.compile(r"[a-z_]{1,32}\Z")


def provider_name(name: str) -> str:
    """The conventions' word for a provider that PROVIDERS names so; its own name where they have none."""
    return _PROVIDERS.get(name, name)


def finish_reason(reason: str) -> str:
    """A provider's finish reason, which may be any text: a word, else `other`."""
    return reason if _WORD.match(reason) else "other"
