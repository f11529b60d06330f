"""Bodies of `POST /v1/responses`. Decoding is strict; `faults` names the fields whose values no job can have.

Fields that OpenAI has and that no provider behind this API could keep the promise of are refused, rather than ignored:
a caller would take the answer for another one. Their neutral values are accepted, which SDKs and frameworks send.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from services.gateway.responses.inputs import Input, item_faults, items_of
from services.gateway.submit.schemas import Identifier, Prompt
from shared.http.problems import FieldError
from shared.job import Effort, Priority
from shared.response_options import ResponseOptions, SchemaLabels

PAIRS_MAX: Final = 16
NAME_MAX: Final = 64
TEXT_MAX: Final = 512

_TIERS: Final = {"flex": Priority.LOW, "priority": Priority.HIGH}
_EFFORTS: Final = {"low": Effort.LOW, "medium": Effort.MEDIUM, "high": Effort.HIGH}
_NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "conversation": (None,),
    "prompt": (None,),
    "tools": (None, []),
    "include": (None, []),
    "tool_choice": (None, "auto", "none"),
    "top_p": (None, 1),
    "top_logprobs": (None, 0),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
}
"""Fields of which only these values mean nothing."""


class ReasoningRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Amount of thinking by a model before it writes. Its thoughts are never shown, whatever `summary` asks."""

    effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class TextFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Plain text, or JSON that fits a schema, which then has a name too. `strict` changes nothing: every result is
    checked against its schema."""

    type: Literal["text", "json_schema"]
    name: Annotated[str, Meta(min_length=1, max_length=NAME_MAX, pattern=r"^[A-Za-z0-9_-]+\Z")] | None = None
    schema: dict[str, Any] | None = None
    description: Annotated[str, Meta(max_length=TEXT_MAX)] | None = None
    strict: bool | None = None


class TextRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The form of the text."""

    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = None


class PressworkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`restart`: a stream goes on with a new item after an attempt that was superseded."""

    restart: bool = False


class ResponseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/responses`. `model`: `provider:model`, or a model's name; left out: the first of PROVIDERS."""

    input: Input
    model: Annotated[str, Meta(min_length=1, max_length=64 + 1 + 128)] | None = None
    instructions: Prompt | None = None
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None
    previous_response_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    reasoning: ReasoningRequest | None = None
    text: TextRequest | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Meta(max_length=NAME_MAX)], Annotated[str, Meta(max_length=TEXT_MAX)]],
            Meta(max_length=PAIRS_MAX),
        ]
        | None
    ) = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None
    user: Identifier | None = None
    safety_identifier: Identifier | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=NAME_MAX)] | None = None
    presswork: PressworkRequest = PressworkRequest()
    stream_options: dict[str, Any] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: int | None = None
    prompt_cache_retention: str | None = None
    conversation: Any = None
    prompt: Any = None
    tools: Any = None
    tool_choice: Any = None
    include: Any = None
    top_p: float | None = None
    top_logprobs: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None

    @property
    def options(self) -> ResponseOptions:
        """The part of it that only a response has."""
        return ResponseOptions(
            background=bool(self.background),
            store=self.store is not False,
            restart=self.presswork.restart,
            previous_response_id=self.previous_response_id,
            service_tier="default" if self.service_tier in (None, "auto") else str(self.service_tier),
            user=self.user,
            safety_identifier=self.safety_identifier,
            prompt_cache_key=self.prompt_cache_key,
            labels=self._labels,
        )

    @property
    def response_schema(self) -> dict[str, Any] | None:
        """The schema of its result; None: plain text."""
        asked = self.text.format if self.text is not None else None
        return asked.schema if asked is not None and asked.type == "json_schema" else None

    @property
    def _labels(self) -> SchemaLabels | None:
        asked = self.text.format if self.text is not None else None
        if asked is None or asked.name is None:
            return None
        return SchemaLabels(name=asked.name, description=asked.description, strict=asked.strict)

    @property
    def priority(self) -> Priority:
        """The queue that its service tier stands for."""
        return _TIERS.get(self.service_tier or "", Priority.NORMAL)

    @property
    def effort(self) -> Effort | None:
        """The effort; None: as little as the model can."""
        return None if self.reasoning is None else _EFFORTS.get(self.reasoning.effort or "")


def faults(request: ResponseRequest) -> Iterator[FieldError]:
    """Faults of a body that decoded; those of its job come from `submit/schemas.py`."""
    yield from _nul_faults(request)
    for name, neutral in _NEUTRAL.items():
        if getattr(request, name) not in neutral:
            yield FieldError(name, "not supported here: leave it out")
    if request.background and request.store is False:
        yield FieldError("store", "a response of the background is stored until it is fetched: leave store out")

    if request.text is not None and request.text.format is not None:
        yield from _format_faults(request.text.format)

    yield from item_faults(items_of(request.input))


def _nul_faults(request: ResponseRequest) -> Iterator[FieldError]:
    labels = request.options.labels
    kept: dict[str, list[str | None]] = {
        "metadata": [text for pair in (request.metadata or {}).items() for text in pair],
        "prompt_cache_key": [request.prompt_cache_key],
        "text.format.description": [labels.description if labels is not None else None],
    }
    for name, texts in kept.items():
        if any(text is not None and "\0" in text for text in texts):
            yield FieldError(name, "must not hold NUL characters")


def _format_faults(asked: TextFormat) -> Iterator[FieldError]:
    structured = asked.type == "json_schema"
    for name in ("name", "schema"):
        given = getattr(asked, name)
        if structured and given is None:
            yield FieldError(f"text.format.{name}", "required")
        elif given is not None and not structured:
            yield FieldError(f"text.format.{name}", "only with the type json_schema")
