"""The bodies of the public contract. Limits are in bytes where the contract says so.

Decoding is strict: no unknown field, no coercion. `faults` checks the rules that no type can express.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from services.gateway.submit.response_schemas import schema_faults
from shared.conversation import Message, Role, Turn, join
from shared.http.problems import FieldError
from shared.job import Effort, Priority
from shared.job_ids import IDENTIFIER_MAX
from shared.settings import MAX_DEADLINE_SECONDS

MAX_PROMPT: Final = 64 * 1024
MAX_CONVERSATION: Final = 192 * 1024
MAX_MESSAGES: Final = 256
MAX_METADATA: Final = 4 * 1024
MAX_PARAMETERS: Final = 64
MAX_TEXT: Final = 1024
MAX_JOBS: Final = 500
MAX_DELAY_SECONDS: Final = 604_800
MAX_KEY: Final = 255
MAX_COST_USD: Final = 1_000_000
MAX_CHOICES: Final = 8
MAX_INTEGER: Final = 2**53 - 1
"""Larger integers lose digits in JavaScript and in Redis's JSON: they are refused rather than changed."""

Identifier = Annotated[str, Meta(min_length=1, max_length=IDENTIFIER_MAX, pattern=r"^[!-~]+\Z")]
"""See `shared.job.IDENTIFIER`."""

Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Integer = Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Number = Annotated[float, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Value = Text | Integer | Number | bool | Annotated[list[Text | Integer | Number | bool], Meta(max_length=32)]
Choice = Annotated[str, Meta(min_length=1, max_length=64 + 1 + 128)]
Parameters = Annotated[dict[Name, Value], Meta(max_length=MAX_PARAMETERS)]
Prompt = Annotated[str, Meta(min_length=1, max_length=MAX_PROMPT)]


class MessageRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a conversation. Those of `system` and `developer` instruct the model how to answer."""

    role: Role
    content: Prompt


class JobRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True
):
    """Body of `POST /api/ai/generate-content`. None: the gateway's setting decides.

    Either `prompt` or `messages`: a conversation in which the user speaks at least once. `instructions`: for the model,
    beside those of the platform. `organization_id` may be left out by callers that are bound to one.
    `providers`: `provider:model` names in order of preference, instead of `provider` and `model`. `effort`: how hard a
    model thinks before it writes; left out: the least that it has, none if possible. `max_cost_usd`: of all attempts
    together. `response_schema`: a JSON Schema; the result is a JSON text that fits it.
    """

    project_id: Identifier
    user_id: Identifier
    organization_id: Annotated[
        Identifier | None, Meta(description="May be left out by a key that is bound to an organization")
    ] = None
    prompt: Prompt | None = None
    parameters: Parameters = {}
    priority: Priority = Priority.NORMAL
    provider: Name | None = None
    model: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    providers: Annotated[list[Choice], Meta(min_length=1, max_length=MAX_CHOICES)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    effort: Effort | None = None
    delay_seconds: Annotated[float, Meta(ge=0, le=MAX_DELAY_SECONDS)] = 0
    max_attempts: Annotated[int, Meta(ge=1, le=10)] | None = None
    max_cost_usd: Annotated[float, Meta(gt=0, le=MAX_COST_USD)] | None = None
    timeout_seconds: Annotated[float, Meta(ge=1, le=3600)] | None = None
    deadline_seconds: Annotated[float, Meta(ge=1, le=MAX_DEADLINE_SECONDS)] | None = None
    metadata: dict[str, Any] | None = None
    messages: Annotated[list[MessageRequest], Meta(min_length=1, max_length=MAX_MESSAGES)] | None = None
    instructions: Prompt | None = None
    response_schema: dict[str, Any] | None = None

    @property
    def asked(self) -> tuple[str, list[Turn] | None]:
        """The text of the prompt, and its turns when there are messages."""
        if self.messages is None:
            return self.prompt or "", None
        return join([Message(message.role, message.content) for message in self.messages])


class BatchJob(JobRequest, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """One job of a batch: the same, and it may carry its own idempotency key."""

    idempotency_key: Annotated[str, Meta(min_length=1, max_length=MAX_KEY, pattern=r"^[\x20-\x7e]+\Z")] | None = None


class OperatorJobRequest(
    JobRequest, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True
):
    """The same of a caller that is bound to no organisation: it must name one."""

    organization_id: Identifier


class OperatorBatchJob(
    BatchJob, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True
):
    """The same for one job of a batch."""

    organization_id: Identifier


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of the batch call; its jobs are decoded one by one, so that a bad one does not affect the others."""

    jobs: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_JOBS)]


_encode: Final = msgspec.json.Encoder().encode


def _too_long(text: str, limit: int) -> bool:
    # A character takes at most four bytes: most texts need not be encoded to be measured.
    return len(text) * 4 > limit and len(text.encode()) > limit


def _long_texts(parameters: dict[str, Any]) -> Iterator[FieldError]:
    for name, value in parameters.items():
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str) and _too_long(text, MAX_TEXT):
                yield FieldError(f"parameters.{name}", f"longer than {MAX_TEXT} bytes")
                break


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(held) for key, held in value.items())
    if isinstance(value, MessageRequest):
        return "\0" in value.content
    return isinstance(value, list) and any(map(_has_nul, value))


def _nul_fields(request: JobRequest) -> Iterator[FieldError]:
    for field in msgspec.structs.fields(request):
        if _has_nul(getattr(request, field.name)):
            yield FieldError(field.encode_name, "must not hold NUL characters")


def _prompt_faults(request: JobRequest) -> Iterator[FieldError]:
    if request.messages is not None:
        yield from _message_faults(request, request.messages)
    elif request.prompt is None:
        yield FieldError("prompt", "required, unless there are messages")

    for name, text in (("prompt", request.prompt), ("instructions", request.instructions)):
        if text is not None and _too_long(text, MAX_PROMPT):
            yield FieldError(name, f"longer than {MAX_PROMPT} bytes")


def _message_faults(request: JobRequest, messages: list[MessageRequest]) -> Iterator[FieldError]:
    if request.prompt is not None:
        yield FieldError("prompt", "must not come with messages")
    if not any(message.role is Role.USER for message in messages):
        yield FieldError("messages", "no message of the user")
    if len(messages) > MAX_MESSAGES:  # those of earlier responses, which nothing decoded, among them
        yield FieldError("messages", f"more than {MAX_MESSAGES}")
    if sum(len(message.content.encode()) for message in messages) > MAX_CONVERSATION:
        yield FieldError("messages", f"longer than {MAX_CONVERSATION} bytes together")
    for i, message in enumerate(messages):
        if _too_long(message.content, MAX_PROMPT):
            yield FieldError(f"messages[{i}].content", f"longer than {MAX_PROMPT} bytes")


def _metadata_faults(metadata: dict[str, Any]) -> Iterator[FieldError]:
    try:
        size = len(_encode(metadata))
    except (ValueError, OverflowError, RecursionError):
        yield FieldError("metadata", "cannot be stored")
        return
    if size > MAX_METADATA:
        yield FieldError("metadata", f"longer than {MAX_METADATA} bytes")


def _unserved(field: str, served: Iterable[str]) -> FieldError:
    return FieldError(field, f"not served here; one of {', '.join(sorted(served))} (PROVIDERS of the gateway)")


def _choice_faults(request: JobRequest, choices: list[str], models: dict[str, frozenset[str]]) -> Iterator[FieldError]:
    if request.provider is not None or request.model is not None:
        yield FieldError("providers", "must not come with provider or model")
    served = served_choices(models)
    for i, choice in enumerate(choices):
        if choice not in served:
            yield _unserved(f"providers[{i}]", served)
        elif choice in choices[:i]:
            yield FieldError(f"providers[{i}]", "named twice")


def _model_faults(
    provider: str | None, model: str | None, models: Mapping[str, frozenset[str]]
) -> Iterator[FieldError]:
    if provider is not None and provider not in models:
        yield _unserved("provider", models)
        return
    allowed = models[provider] if provider is not None else frozenset().union(*models.values())
    if model is not None and model not in allowed:
        yield _unserved("model", allowed)


def served_choices(models: Mapping[str, frozenset[str]]) -> list[str]:
    """The choices that `providers` may name: every `provider:model` that is served, sorted."""
    return sorted(f"{provider}:{model}" for provider, names in models.items() for model in names)


def faults(request: JobRequest, body: bytes, models: dict[str, frozenset[str]]) -> list[FieldError]:
    """Faults of a body that decoded; `body` is the JSON it came from, `models` may be named, by provider."""
    found = list(_prompt_faults(request))
    if len(body) > MAX_TEXT:  # JSON is never shorter than the text in it
        found += _long_texts(request.parameters)
    if request.response_schema is not None:
        found += schema_faults(request.response_schema)
    if request.metadata is not None:
        found += _metadata_faults(request.metadata)
    if rb"\u0000" in body:
        found += _nul_fields(request)
    if request.deadline_seconds is not None and request.deadline_seconds <= request.delay_seconds:
        found.append(FieldError("deadlineSeconds", "must be more than delaySeconds"))
    if request.providers is not None:
        found += _choice_faults(request, request.providers, models)
    if request.provider is not None or request.model is not None:
        found += _model_faults(request.provider, request.model, models)
    return found
