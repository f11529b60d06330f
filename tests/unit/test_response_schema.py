"""Schemas of results: what the door lets in, how a text is checked, and that neither takes long."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from services.worker.execution.code_fence import CodeFence
from services.worker.providers.requests.structured import is_closable, is_strict
from shared.response_schema.bounds import PATTERNS_MAX, SIZE_MAX, VALUES_MAX, SchemaRefused
from shared.response_schema.checking import TEXT_MAX, ResponseSchema, compile_schema

POST = {
    "type": "object",
    "properties": {
        "headline": {"type": "string", "maxLength": 60},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["headline", "tags"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "pattern": "^#[a-z]+$"}},
}
LAUGHS = {
    "$defs": {**{f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(18)}, "d18": {}},
    "$ref": "#/$defs/d0",
}

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no schema", {"type": "strin"}, "type"),
    ("a fault deep inside", {"properties": {"a": {"minLength": "x"}}}, "properties/a/minLength"),
    ("another host", {"$ref": "https://example.com/schema"}, "no other document"),
    ("a file", {"properties": {"a": {"$ref": "other.json#/x"}}}, "no other document"),
    ("nothing there", {"$ref": "#/$defs/none"}, "is not there"),
    ("itself", {"properties": {"child": {"$ref": "#"}}}, "must not refer to itself"),
    ("a circle", {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"items": {"$ref": "#/$defs/a"}}}}, "to itself"),
    ("an address of its own", {"$id": "https://example.com/me"}, "$id"),
    ("a dialect of another host", {"$schema": "https://example.com/dialect"}, "$schema"),
    ("a second dialect", {"items": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "$schema"),
    ("dynamic references", {"$dynamicRef": "#/x"}, "$dynamicRef"),
    ("all that is left", {"unevaluatedProperties": False}, "unevaluatedProperties"),
    ("too many bytes", {"enum": ["x" * SIZE_MAX]}, "bytes"),
    ("too many values", {"enum": list(range(VALUES_MAX))}, "values"),
    ("a billion laughs", LAUGHS, "values"),
    ("too many levels", {"$defs": {f"d{i}": {"not": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(70)} | {"d70": {}}},
     "levels"),
    ("a chain of references deeper than any stack",
     {"$ref": "#/$defs/d0", "$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(500)} | {"d500": {}}},
     "levels"),
    ("too many patterns", {"allOf": [{"pattern": "a"}] * (PATTERNS_MAX + 1)}, "patterns"),
    ("a long pattern", {"patternProperties": {"a" * 300: {}}}, "pattern"),
    ("a look-ahead", {"properties": {"a": {"pattern": "(?=a)b"}}}, "properties/a/pattern"),
    ("a pattern that grows", {"pattern": "(a{1000}){1000}"}, "pattern"),
    ("a tiny multiple", {"multipleOf": 1e-300}, "multipleOf"),
    ("a huge number", {"minimum": 10**300}, "64 bits"),
    ("itself, encoded", {"%70": {}, "p": {"items": {"$ref": "#/%70"}}, "$ref": "#/%70"}, "to itself"),
    ("an encoded sign of a pointer", {"p": {}, "$ref": "#/%2570"}, "must not encode"),
    ("an address of draft 4",
     {"$schema": "http://json-schema.org/draft-04/schema#", "definitions": {"a": {}},
      "allOf": [{"id": "http://x/y", "definitions": {"a": {"items": {"$ref": "#/definitions/a"}}},
                 "allOf": [{"$ref": "#/definitions/a"}]}]}, "id: "),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_schema_that_no_text_can_be_checked_against_is_refused(schema: dict[str, Any], said: str) -> None:
    """At once, without a look at any network, and with the reason."""
    began = time.thread_time()
    with pytest.raises(SchemaRefused, match=said.replace("$", r"\$")):
        ResponseSchema(schema)
    assert time.thread_time() - began < 0.1


@pytest.mark.parametrize(
    "draft", ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"]
)
def test_schemas_as_generators_write_them_are_taken(draft: str) -> None:
    """Pydantic and zod name their draft and refer to definitions."""
    assert compile_schema({"$schema": draft, **POST}).fault('{"headline": "A", "tags": ["#b"]}') is None


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("18446744073709551616", True),
        ("6.02214076e23", True),
        ("-1e300", False),
        ("1e-7", True),
        ("9" * 400, True),
        ("4" + "0" * 18 + ".5", True),
        ("1" + "0" * 18, True),
    ],
)
def test_numbers_beyond_64_bits_are_numbers(text: str, fits: bool) -> None:
    """They are above all limits of schemas, or below."""
    schema = compile_schema({"items": {"type": "number", "minimum": 1e-9, "not": {"const": 5}}})
    assert (schema.fault(f"[{text}]") is None) == fits


def test_names_in_references_may_be_encoded() -> None:
    """As generators do for names that no URI may hold."""
    schema = {"$defs": {"Page[int]": {"type": "integer"}}, "$ref": "#/$defs/Page%5Bint%5D"}
    assert compile_schema(schema).fault("1") is None
    assert compile_schema(schema).fault('"x"') is not None


def test_names_of_properties_are_no_keywords() -> None:
    """A property may be called as a keyword is."""
    names = {"$ref": {"type": "string"}, "pattern": {"type": "string"}, "$id": {"type": "integer"}}
    assert compile_schema({"properties": names}).fault('{"pattern": "("}') is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"headline": "A", "tags": ["#b"], "score": 0.5}', None),
        ('{"headline": "A", "tags": []}', "#/properties/tags/minItems"),
        ('{"headline": "A", "tags": ["secret"]}', "pattern"),
        ('{"headline": 1, "tags": ["#b"], "more": 1}', "additionalProperties"),
        ("Here is your post.", "not JSON"),
        ('{"headline": "A", "tags": ["#b"]} and more', "not JSON"),
        ("[" * 900 + "]" * 900, "does not fit"),
        ("", "not JSON"),
        ('"' + "x" * TEXT_MAX + '"', "too long"),
    ],
)
def test_a_text_is_checked(text: str, said: str | None) -> None:
    """The fault names the place in the schema, and repeats nothing of the text."""
    fault = compile_schema(POST).fault(text)
    assert (fault is None) == (said is None)
    assert said is None or (said in str(fault) and "secret" not in str(fault))


def _content(times: int) -> dict[str, Any]:
    read = {"contentEncoding": "base64", "contentMediaType": "application/json"}
    draft = "http://json-schema.org/draft-07/schema#"
    return {"$schema": draft, "definitions": {"a": read}, "allOf": [{"$ref": "#/definitions/a"}] * times}


def _numbers(text: str, count: int) -> str:
    return f"[{','.join([text] * count)}]"


def _dear() -> list[tuple[str, dict[str, Any], str]]:
    """Schemas and texts of which a check is estimated just below the longest that is made; the last ones are above."""
    chance = random.Random(1)
    letters = "".join(chance.choice("ab") for _ in range(26_000))
    nested: dict[str, Any] = {"const": 1}
    for _ in range(7):
        nested = {"anyOf": [nested, nested]}
    pattern = {"pattern": "(?i)(a|b)*a(a|b){100}c"}
    return [
        ("choices", {"items": {"anyOf": [{"const": i} for i in range(900)]}}, json.dumps([899] * 280)),
        ("nested choices", {"items": nested}, json.dumps([2] * 8)),
        ("the last of many", {"items": nested}, json.dumps([1] * 800 + [2])),
        ("a pattern", {"items": pattern}, json.dumps([letters])),
        ("patterns", {"items": {"allOf": [pattern] * 16}}, json.dumps([letters[:1_600]])),
        ("multiples", {"items": {"multipleOf": 1e-6}}, "[" + "1.5e300," * 1_200 + "1]"),
        ("long numbers", {"items": {"allOf": [{"minimum": 5}] * 200}}, _numbers("1" + "0" * 3_999, 20)),
        ("great numbers", {"items": {"type": "number"}}, _numbers("1E308", 40_000)),
        ("fractions", {"items": {"allOf": [{"minimum": 5.5}] * 200}}, _numbers("123456789.25", 70)),
        ("tiny numbers", {"items": {"maximum": 9.123456}}, _numbers("1e-300", 3_800)),
        ("content", _content(8), json.dumps("MTEx" * 60_000)),
        ("brackets", {}, "[" + "[]," * 18_000 + "[]]"),
        ("objects", {"uniqueItems": True}, "[" + ",".join(f'{{"a":{i}}}' for i in range(17_000)) + "]"),
        ("a long text", {"type": "string"}, json.dumps("x, " * 80_000)),
        ("too many choices", {"items": {"anyOf": [{"const": i} for i in range(900)]}}, json.dumps([899] * 20_000)),
        ("too many fractions", {"items": {"allOf": [{"minimum": 5.5}] * 200}}, _numbers("123456789.25", 1_000)),
        ("too much content", _content(300), json.dumps("MTEx" * 60_000)),
        ("too many brackets", {}, "[" + "[]," * 80_000 + "[]]"),
    ]


@pytest.mark.parametrize(("schema", "text"), [row[1:] for row in _dear()], ids=[row[0] for row in _dear()])
def test_no_check_holds_the_worker(schema: dict[str, Any], text: str) -> None:
    """Within 0.1 s of a core, whatever schema and text are; the best of five tries counts, and no neighbour."""
    checked = ResponseSchema(schema)
    tries = []
    for _ in range(5):
        began = time.thread_time()
        checked.fault(text)
        tries.append(time.thread_time() - began)
    assert min(tries) < 0.1


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("written", "passed", "opened"),
    [
        ('{"a": 1}', '{"a": 1}', False),
        ('```json\n{"a": "``` `"}\n```', '{"a": "``` `"}', True),
        ('\n```JSON \n{"a": 1}\n```\n\n', '{"a": 1}', True),
        ("```\n[1]\n```", "[1]", True),
        ('```json\n{"a": 1}\n```\nHope this helps', '{"a": 1}\n```\nHope this helps', True),
        ("```json", "```json", False),
        ('`{"a": 1}`', '`{"a": 1}`', False),
        ("   ", "   ", False),
        ("```json\n[1]", "[1]", True),
        ('Here: ```json\n{"a": 1}\n```', 'Here: ```json\n{"a": 1}\n```', False),
    ],
)
def test_a_code_fence_is_taken_away(written: str, passed: str, opened: bool, step: int) -> None:
    """However the text is cut into pieces; only one around all of it."""
    fence = CodeFence()
    pieces = [written[i : i + step] for i in range(0, len(written), step)]
    text = "".join(map(fence.feed, pieces)) + fence.rest()
    assert (text, fence.opened) == (passed, opened)


def test_a_form_is_chosen_that_the_vendor_can_keep() -> None:
    """OpenAI's strict mode wants every object closed and whole; Anthropic's form has no free properties."""
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert is_strict(closed)
    loose: list[dict[str, Any]] = [POST, {"type": "string"}, closed | {"required": []}, closed | {"minProperties": 1}]
    assert not any(map(is_strict, loose))
    assert is_closable(POST)
    assert not is_closable({"type": "object", "additionalProperties": {"type": "string"}})
    assert not is_closable({"type": "array", "items": {"type": "object"}})
