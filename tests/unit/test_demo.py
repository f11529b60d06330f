"""The demo provider writes the same plausible text for the same job, as fast and as often as it is set to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.worker.providers import Completion, GenerationRequest, ProviderError
from services.worker.providers.demo import DemoProvider, compose
from services.worker.providers.demo_values import demo_value
from shared.response_schema.checking import compile_schema

PROMPT = "Create a social media post about our new product"


def _request(job_id: str = "ai-job-1", attempt: int = 1, **parameters: str) -> GenerationRequest:
    return GenerationRequest(job_id=job_id, attempt=attempt, prompt=PROMPT, parameters=parameters, model="demo")


@pytest.mark.parametrize(("length", "least"), [("long", 150), ("medium", 60), ("short", 20)])
def test_texts_have_the_length_they_are_asked_for(length: str, least: int) -> None:
    """Long, medium and short texts have at least so many tokens, for any job."""
    for number in range(50):
        assert least <= len(compose(f"job-{number}", PROMPT, {"length": length})) < least * 2.5


async def test_the_stream_is_the_composed_text_and_says_that_it_is_a_demo() -> None:
    """Without delay it comes at once; usage counts its words, the metadata calls it a demo."""
    items = [item async for item in DemoProvider(tokens_per_second=0).stream(_request(length="short"))]
    assert items[:-1] == ["".join(compose("ai-job-1", PROMPT, {"length": "short"}))]
    assert isinstance(items[-1], Completion)
    assert items[-1].usage.output_tokens == len(str(items[0]).split())
    assert (items[-1].metadata or {})["demo"] is True
    assert "our new product" in str(items[0])


async def test_failures_follow_from_job_and_attempt() -> None:
    """About the asked share of attempts fails, the same ones each time, and another attempt fares otherwise."""
    provider = DemoProvider(tokens_per_second=0, failure_rate=0.5)

    async def fails(number: int, attempt: int) -> bool:
        try:
            async for _ in provider.stream(_request(f"job-{number}", attempt, length="short")):
                pass
        except ProviderError as error:
            return error.error.retryable
        return False

    first = [await fails(number, 1) for number in range(100)]
    assert 30 <= sum(first) <= 70
    assert first == [await fails(number, 1) for number in range(100)]
    assert first != [await fails(number, 2) for number in range(100)]


async def test_max_tokens_cut_the_text() -> None:
    """The text ends there, and the finish reason says so."""
    request = GenerationRequest(job_id="j", attempt=1, prompt=PROMPT, parameters={}, model="demo", max_tokens=5)
    items = [item async for item in DemoProvider(tokens_per_second=0).stream(request)]
    assert len(str(items[0]).split()) == 5
    assert isinstance(items[-1], Completion)
    assert items[-1].finish_reason == "length"


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "object",
            "properties": {
                "headline": {"type": "string", "maxLength": 60},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1},
                "score": {"type": "number", "minimum": 0, "maximum": 1},
            },
            "required": ["headline", "tags"],
            "additionalProperties": False,
            "$defs": {"tag": {"type": "string"}},
        },
        {"type": "string", "minLength": 200, "maxLength": 210},
        {"type": "integer", "minimum": 5, "multipleOf": 3},
        {"type": "number", "exclusiveMinimum": 1},
        {"type": ["array", "null"], "items": {"enum": ["a", "b"]}, "minItems": 3},
        {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        {"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {}}, "required": ["a", "b"]}]},
        {"type": "string", "format": "date"},
    ],
)
def test_the_demo_fits_simple_schemas(schema: dict[str, Any]) -> None:
    """A laptop without a key shows structured results."""
    made = json.dumps(demo_value(schema, "Meet our product, built for teams."))
    assert compile_schema(schema).fault(made) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 2**62},
        {"type": "array", "minItems": 900, "items": {"type": "array", "minItems": 900, "items": {"type": "string"}}},
        {"type": "string", "minLength": 2**62},
        {"type": "array", "minItems": 900, "items": {"type": "string", "minLength": 9_000}},
        {"type": "array", "minItems": 3.0, "maxItems": 4.0, "items": {"minLength": 2.0, "maxLength": 9.0}},
        {"%70": {"allOf": [{"$ref": "#/%70"}] * 2}, "p": {"type": "integer"}, "$ref": "#/%70"},
    ],
    ids=["items", "items of items", "characters", "long texts", "whole numbers with a point", "an encoded name"],
)
def test_the_demo_makes_a_value_of_bounded_size(schema: dict[str, Any]) -> None:
    """Whatever a schema asks for: the value may not fit then."""
    compile_schema(schema)
    assert len(json.dumps(demo_value(schema, "Meet our product"))) < 250_000
