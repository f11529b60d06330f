"""Checks texts against a job's schema; the only file that knows jsonschema-rs.

Nothing here waits or reads a network, and nothing takes longer than the bounds of schema and text allow: the library
holds the interpreter while it works. `format` is for the model and is not checked, as draft 2020-12 has it.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from typing import Any, Final

import jsonschema_rs
import msgspec

from shared.response_schema.bounds import NUMBER_MAX, SIZE_MAX, Extent, SchemaRefused, measure

TEXT_MAX: Final = 262_144
"""Characters of a text that is checked: as many as 64,000 tokens have."""

WORK_MAX: Final = 80_000.0
"""Longest check, in µs: the sum of the shares below, which were measured on one core of a server of 2024."""

_PAIR_US: Final = 0.15
"""One value of the schema against one value of the text."""

_MULTIPLE_US: Final = 60.0
"""One `multipleOf` against one number."""

_FRACTION_US: Final = 5.0
"""One limit that is no whole number against one number: they are compared as exact fractions."""

_WIDE_US: Final = 15.0
"""One limit against one number that does not fit 64 bits or has an exponent."""

_CONTAINER_US: Final = 4.0
"""A list or an object, in a process whose collector of garbage has much to look at."""

PATTERN_BYTES: Final = 16_384
"""Memory of one compiled pattern; they are matched in linear time, so that there is neither look-ahead nor \\1."""

DETAILED_MAX: Final = 5_000
DETAILED_WORK_MAX: Final = WORK_MAX / 4
"""Pairs of values, and µs, above which the places of faults are not looked for: that is a second check, in which every
alternative of an `anyOf` that does not fit is written down."""

FAULTS_MAX: Final = 3
PLACE_MAX: Final = 120
"""Faults that are named, and characters of each."""

REMEMBERED: Final = 64
"""Compiled schemas that are kept: a product uses few of them again and again."""

_TOO_LONG: Final = "the text is too long, or the schema too large, to be checked"
_NO_JSON: Final = "the text is not JSON"
_NO_FIT: Final = "the text does not fit"

_WIDE: Final = re.compile(r"(?:^|[\[:,\s])-?(?:[0-9]{19}|[0-9][0-9.]*[eE])")
"""A number that does not fit 64 bits, or has an exponent."""

_BEYOND: Final = 1e19
"""A number beyond all that a schema may hold, for all that are: the library compares them digit by digit."""

_encode: Final = msgspec.json.Encoder().encode


class ResponseSchema:
    """A schema that was compiled. `fault` checks a text."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """SchemaRefused: no JSON Schema, or too dear to check with."""
        self._extent: Extent = measure(schema)
        patterns = jsonschema_rs.RegexOptions(size_limit=PATTERN_BYTES, dfa_size_limit=4 * PATTERN_BYTES)
        try:
            self._validator = jsonschema_rs.validator_for(
                schema, validate_formats=False, pattern_options=patterns, mask="…", offline=True
            )
        except jsonschema_rs.ValidationError as error:
            raise SchemaRefused(_refusal(error)) from None
        except (ValueError, TypeError, OverflowError, RecursionError, jsonschema_rs.ReferencingError):
            raise SchemaRefused("is no valid JSON Schema") from None

    def fault(self, text: str) -> str | None:
        """Why a text does not fit, with places of the schema and nothing of the text; None: it fits."""
        pairs = self._pairs(text)
        work = self._work(text, pairs)
        if len(text) > TEXT_MAX or work > WORK_MAX:
            return _TOO_LONG

        try:
            value = _value(text)
        except (ValueError, RecursionError):
            return _NO_JSON

        try:
            if self._validator.is_valid(value):
                return None
            detailed = pairs <= DETAILED_MAX and work <= DETAILED_WORK_MAX
            return self._places(value) if detailed else _NO_FIT
        except (ValueError, OverflowError, RecursionError):  # nested deeper than the library goes
            return _NO_FIT

    def _pairs(self, text: str) -> int:
        """Most pairs of a value in the text and one in the schema. Every value ends at one of these signs."""
        return self._extent.values * (1 + text.count(",") + text.count("]") + text.count("}"))

    def _work(self, text: str, pairs: int) -> float:
        extent, values = self._extent, pairs // self._extent.values
        containers = text.count("[") + text.count("{")
        numbers = extent.multiples * _MULTIPLE_US + extent.fractions * _FRACTION_US
        if extent.limits and _WIDE.search(text) is not None:
            numbers += extent.limits * _WIDE_US
        return containers * _CONTAINER_US + pairs * _PAIR_US + len(text) * extent.match_us + values * numbers

    def _places(self, value: Any) -> str:
        found: list[str] = []
        for error in self._validator.iter_errors(value):
            place = "/".join(("#", *map(str, error.schema_path)))
            if place[:PLACE_MAX] not in found:
                found.append(place[:PLACE_MAX])
            if len(found) == FAULTS_MAX:
                break
        return f"{_NO_FIT}: see {', '.join(found)}"


def _value(text: str) -> Any:
    """The value of a JSON text. ValueError: it is none."""
    if _WIDE.search(text) is None:
        return msgspec.json.decode(text)
    return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_no_number)


def _no_number(name: str) -> None:
    raise ValueError(name)  # NaN and its like, which Python takes for JSON


def _number(digits: str) -> float:
    number = float(digits)
    if abs(number) > NUMBER_MAX:
        return math.copysign(_BEYOND, number)
    return int(digits) if digits.lstrip("-").isdecimal() else number


def _refusal(error: jsonschema_rs.ValidationError) -> str:
    """The place in a schema that is no valid one."""
    path = "/".join(map(str, error.instance_path))[:PLACE_MAX]
    if error.kind.name == "format":  # of the meta-schema: a pattern is the one thing that has a format of its own
        return f"{path}: no regular expression that is matched in linear time and little memory"
    return f"{path}: not valid in a JSON Schema" if path else "is no valid JSON Schema"


def compile_schema(schema: dict[str, Any]) -> ResponseSchema:
    """A schema, ready to check texts with. SchemaRefused when no job may have it."""
    try:
        key = _encode(schema)
    except (ValueError, OverflowError, RecursionError):
        raise SchemaRefused("cannot be stored") from None
    return _compiled(key) if len(key) <= SIZE_MAX else ResponseSchema(schema)


@lru_cache(maxsize=REMEMBERED)
def _compiled(schema: bytes) -> ResponseSchema:
    return ResponseSchema(msgspec.json.decode(schema))
