"""The objects of the Responses protocol. Every field that the schema of Open Responses requires is in every answer."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from shared.job import PassedOver

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class OutputText(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a message."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = []
    logprobs: list[Any] = []


class OutputMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the model."""

    type: Literal["message"] = "message"
    id: str
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"] = "assistant"
    content: list[OutputText] = []


class InputTokensDetails(msgspec.Struct, frozen=True):
    """Tokens of the input that came from a prompt cache."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(msgspec.Struct, frozen=True):
    """Tokens of the output that were thought."""

    reasoning_tokens: int


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of all attempts together."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseFailure(msgspec.Struct, frozen=True):
    """Why a response failed, in our own words."""

    code: str
    message: str


class IncompleteDetails(msgspec.Struct, frozen=True):
    """Why a text is incomplete."""

    reason: str


class PlainFormat(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Plain text."""


class SchemaFormat(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="json_schema"):
    """JSON that fits a schema."""

    name: str
    description: str | None
    schema: dict[str, Any]
    strict: bool


class TextSettings(msgspec.Struct, frozen=True):
    """The form of the text."""

    format: PlainFormat | SchemaFormat


class PressworkDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Fields that only jobs have. `cost_usd`: of all attempts together, None: not known."""

    cost_usd: float | None = None
    passed_over: tuple[PassedOver, ...] = ()
    error_type: str | None = None


class ResponseObject(msgspec.Struct, frozen=True, kw_only=True):
    """A response. Times in s since 1970. `model`: the `provider:model` that answered; before the end, the one asked."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None
    status: Status
    background: bool
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None = None
    metadata: dict[str, Any]
    model: str
    output: list[OutputMessage]
    parallel_tool_calls: bool = True
    previous_response_id: str | None
    prompt_cache_key: str | None
    presence_penalty: float = 0
    frequency_penalty: float = 0
    reasoning: dict[str, str | None]
    safety_identifier: str | None
    service_tier: str
    store: bool
    temperature: float
    text: TextSettings
    tool_choice: Literal["auto"] = "auto"
    tools: list[Any] = []
    top_logprobs: int = 0
    top_p: float = 1
    truncation: Literal["disabled"] = "disabled"
    usage: TokenUsage | None
    user: str | None
    presswork: PressworkDetails


class DeletedResponse(msgspec.Struct, frozen=True):
    """A response that is gone."""

    id: str
    object: Literal["response"] = "response"
    deleted: bool = True
