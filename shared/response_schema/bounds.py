"""Bounds of a job's schema: what it may hold, and how dear a check against it can be. Pure.

A check takes time in proportion to the schema, with every reference written out, and to the text. So that both are
bounded no schema refers to itself, and none refers to another document.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

SIZE_MAX: Final = 16 * 1024
"""Bytes of a schema as JSON."""

VALUES_MAX: Final = 2_000
"""Values in a schema, with every reference written out."""

LEVELS_MAX: Final = 64
"""Levels of a schema with every reference written out."""

PATTERNS_MAX: Final = 16
PATTERN_MAX: Final = 256
"""Patterns of a schema, with every reference written out, and characters of each."""

MULTIPLE_MIN: Final = 1e-6
"""Least `multipleOf`: fractions of it are counted exactly, which takes the longer the smaller it is."""

MATCH_US: Final = 3.0
MATCH_SHARE_US: Final = 0.02
"""Longest time in which a pattern is matched against one character, in µs: `(?i)(a|b)*a(a|b){100}c` was the worst found
that compiles in PATTERN_BYTES (`checking.py`). Without counted repetition it is in proportion to the pattern's length,
with a margin of four."""

DIALECTS: Final = tuple(
    prefix + "json-schema.org/" + draft
    for prefix in ("http://", "https://")
    for draft in (
        "draft-04/schema",
        "draft-06/schema",
        "draft-07/schema",
        "draft/2019-09/schema",
        "draft/2020-12/schema",
    )
)
"""The `$schema` that is understood; `#` may follow. Without one: 2020-12."""

_REFUSED: Final = {
    "$id": "a schema is no document of its own here: leave it out",
    "$anchor": "give a pointer in $ref instead, such as #/$defs/item",
    "$dynamicAnchor": "give a pointer in $ref instead, such as #/$defs/item",
    "$dynamicRef": "give a pointer in $ref instead, such as #/$defs/item",
    "$recursiveRef": "give a pointer in $ref instead, such as #/$defs/item",
    "unevaluatedProperties": "not supported: use additionalProperties",
    "unevaluatedItems": "not supported: use items",
}


class SchemaRefused(Exception):
    """A schema that no job may have; its text says why, and how to mend it."""


class Extent(msgspec.Struct, frozen=True):
    """A schema with every reference written out: `values` in it, `patterns` and `multiples` (`multipleOf`) among them,
    and its `levels`. `match_us`: longest time in which all patterns are matched against one character, in µs."""

    values: int
    patterns: int = 0
    match_us: float = 0
    multiples: int = 0
    levels: int = 0


_encode: Final = msgspec.json.Encoder().encode


def measure(schema: dict[str, Any]) -> Extent:
    """The extent of a schema. SchemaRefused for one that is beyond the bounds."""
    try:
        size = len(_encode(schema))
    except (ValueError, OverflowError, RecursionError):
        raise SchemaRefused("cannot be stored") from None
    if size > SIZE_MAX:
        raise SchemaRefused(f"longer than {SIZE_MAX} bytes")

    named = schema.get("$schema", DIALECTS[-1])
    if not isinstance(named, str) or named.removesuffix("#") not in DIALECTS:
        raise SchemaRefused("$schema: not known here; leave it out for draft 2020-12")
    return _Measure(schema).extent


class _Measure:
    """One walk over a schema: every value once, however often it is referred to."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[int, Extent] = {}
        self._open: set[int] = set()
        self.extent = self._of(root)

    def _of(self, value: Any) -> Extent:
        if not isinstance(value, dict | list):
            return Extent(1)
        if (known := self._known.get(id(value))) is not None:
            return known
        if id(value) in self._open:
            raise SchemaRefused("$ref: a schema must not refer to itself")

        self._open.add(id(value))
        extent = self._sum(value)
        self._open.discard(id(value))
        self._known[id(value)] = extent
        return extent

    def _sum(self, value: dict[str, Any] | list[Any]) -> Extent:
        values, patterns, match_us, multiples, levels = 1, 0, 0.0, 0, 1
        for part in self._parts(value):
            values += part.values
            patterns += part.patterns
            match_us += part.match_us
            multiples += part.multiples
            levels = max(levels, part.levels + 1)
            if values > VALUES_MAX:
                raise SchemaRefused(f"more than {VALUES_MAX} values, with every $ref written out")
            if patterns > PATTERNS_MAX:
                raise SchemaRefused(f"more than {PATTERNS_MAX} patterns, with every $ref written out")
            if levels > LEVELS_MAX:
                raise SchemaRefused(f"more than {LEVELS_MAX} levels, with every $ref written out")
        return Extent(values, patterns, match_us, multiples, levels)

    def _parts(self, value: dict[str, Any] | list[Any]) -> Iterator[Extent]:
        """The extents of what one value holds, and of what it refers to."""
        if isinstance(value, list):
            yield from map(self._of, value)
            return
        for name, held in value.items():
            if name in _REFUSED and not (isinstance(held, dict) and name[0] == "$"):
                raise SchemaRefused(f"{name}: {_REFUSED[name]}")
            if name == "$schema" and value is not self._root:
                raise SchemaRefused("$schema: only at the root")
            if name == "$ref" and isinstance(held, str):
                yield self._of(self._target(held))
            if name == "pattern" and isinstance(held, str):
                yield _patterns([held])
            if name == "patternProperties" and isinstance(held, dict):
                yield _patterns(held)
            if name == "multipleOf" and isinstance(held, int | float):
                yield _multiple(held)
            yield self._of(held)

    def _target(self, pointer: str) -> Any:
        """The part of the schema that a reference names."""
        if pointer != "#" and not pointer.startswith("#/"):
            raise SchemaRefused("$ref: must begin with #/, no other document is read")
        found: Any = self._root
        for step in pointer[2:].split("/") if len(pointer) > 1 else ():
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdecimal() and len(name) < 5 and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, dict) and name in found:
                found = found[name]
            else:
                raise SchemaRefused(f"$ref: {pointer[:100]} is not there")
        return found


def _multiple(of: float) -> Extent:
    if not MULTIPLE_MIN <= of <= 1 / MULTIPLE_MIN:
        raise SchemaRefused("multipleOf: between 0.000001 and 1000000")
    return Extent(0, multiples=1)


def _patterns(texts: Collection[str]) -> Extent:
    if any(len(text) > PATTERN_MAX for text in texts):
        raise SchemaRefused(f"a pattern is longer than {PATTERN_MAX} characters")
    match_us = sum(MATCH_US if "{" in text else min(MATCH_US, len(text) * MATCH_SHARE_US) for text in texts)
    return Extent(0, patterns=len(texts), match_us=match_us)
