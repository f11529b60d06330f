"""Asks for a result that fits a schema, in the form of each API, or in words where a server has none. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from services.worker.providers import GenerationRequest

Schema = dict[str, Any]

FORM: Final = """\
The answer is one JSON value and nothing else: no introduction, no comment, no code fence. The rules above hold for the
texts in it."""
"""For the system prompt, after the platform's rules."""

_STRICT: Final = frozenset({
    "$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "definitions", "description", "enum",
    "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maximum", "minItems", "minimum",
    "multipleOf", "pattern", "properties", "required", "title", "type",
})  # fmt: skip
"""Keywords of OpenAI's strict mode (its guide "Structured model outputs", November 2026)."""

_BY_NAME: Final = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_AS_DATA: Final = frozenset({"enum", "const", "default", "examples", "required", "dependentRequired"})
_encode: Final = msgspec.json.Encoder().encode


def form(request: GenerationRequest) -> str:
    """Instructions of a job with a schema; empty for all others."""
    return "" if request.response_schema is None else FORM


def response_format(schema: Schema) -> dict[str, Any]:
    """The argument of chat completions. Strict where the schema is written for that: others would be refused."""
    asked: dict[str, Any] = {"name": "result", "schema": schema, "strict": is_strict(schema)}
    return {"type": "json_schema", "json_schema": asked}


def in_words(request: GenerationRequest) -> str:
    """The schema in words, and what was wrong with an earlier text; empty for a job without a schema."""
    if request.response_schema is None:
        return ""
    text = f"The answer must be valid against this JSON Schema:\n{_encode(request.response_schema).decode()}"
    if request.mismatch:
        text += f"\nAn earlier answer was not: {request.mismatch}. Answer again, as the schema wants it."
    return text


def is_strict(schema: Schema) -> bool:
    """Whether every object in a schema is closed and has all its properties, and only keywords of the strict mode."""
    return all(part.keys() <= _STRICT and _is_closed(part) for part in _parts(schema)) and _has_type(schema, "object")


def is_closable(schema: Schema) -> bool:
    """Whether the form without free properties, in which Anthropic takes a schema, leaves its meaning as it is."""
    return all(
        part.get("additionalProperties", False) is False
        and "patternProperties" not in part
        and (not _has_type(part, "object") or bool(part.get("properties")))
        for part in _parts(schema)
    )


def _is_closed(part: Schema) -> bool:
    if not _has_type(part, "object"):
        return "properties" not in part
    properties, required = part.get("properties"), part.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    return part.get("additionalProperties") is False and properties.keys() == set(required)


def _has_type(part: Schema, name: str) -> bool:
    said = part.get("type")
    return said == name or (isinstance(said, list) and name in said)


def _parts(schema: Any) -> Iterator[Schema]:
    """Every schema in a schema, itself too."""
    if not isinstance(schema, dict):
        return
    yield schema
    for name, held in schema.items():
        if name in _AS_DATA:
            continue
        inner = (
            held.values() if name in _BY_NAME and isinstance(held, dict) else held if isinstance(held, list) else [held]
        )
        for one in inner:
            yield from _parts(one)
