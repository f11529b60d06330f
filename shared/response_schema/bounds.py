"""Bounds of a job's schema: its contents, and how dear a check against it can be. Pure.

A check takes time in proportion to the schema, with every reference written out, and to the text. So that both are
bounded no schema refers to itself, and none refers to another document.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, Final
from urllib.parse import unquote

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

NUMBER_MAX: Final = float(2**63)
"""Largest number: greater ones are compared digit by digit."""

CONTENT_US: Final = 0.02
"""Reading one character of a text as `contentEncoding` or `contentMediaType` says, in µs, with a margin of three.
Drafts 6 and 7 check both."""

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

_ADDRESS: Final = {DIALECTS[0]: "id", DIALECTS[5]: "id"}
"""The keyword by which a schema is a document of its own, where it is not `$id`: references in it mean its parts."""

_UNCLEAR: Final = re.compile(r"%(?:25|2[Ff]|7[Ee])")
"""Encoded signs of a pointer itself."""

_LIMITS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_CONTENT: Final = frozenset({"contentEncoding", "contentMediaType"})
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
    and its `levels`. `match_us`: longest time in which all patterns are matched against one character, and that is read
    as content, in µs. `limits`: of numbers, such as `minimum`; `fractions`: those of them that are not whole."""

    values: int
    patterns: int = 0
    match_us: float = 0
    multiples: int = 0
    limits: int = 0
    fractions: int = 0
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


def _of_keyword(name: str, held: Any) -> Iterator[Extent]:
    """The extents of a keyword by itself, beside those of its value."""
    if isinstance(held, str):
        if name == "pattern":
            yield _patterns([held])
        if name in _CONTENT:
            yield Extent(0, match_us=CONTENT_US)
    elif isinstance(held, int | float):
        if name in _LIMITS:
            yield Extent(0, limits=1, fractions=int(held % 1 != 0))
        if name == "multipleOf":
            yield _multiple(held)
    elif name == "patternProperties" and isinstance(held, dict):
        yield _patterns(held)


class _Measure:
    """One walk over a schema: every value once, however often it is referred to."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._address = _ADDRESS.get(str(root.get("$schema")).removesuffix("#"))
        self._known: dict[int, Extent] = {}
        self._open: set[int] = set()
        self.extent = self._of(root)

    def _of(self, value: Any) -> Extent:
        if isinstance(value, int | float) and abs(value) > NUMBER_MAX:
            raise SchemaRefused("a number does not fit 64 bits")
        if not isinstance(value, dict | list):
            return Extent(1)
        if (known := self._known.get(id(value))) is not None:
            return known
        if id(value) in self._open:
            raise SchemaRefused("$ref: a schema must not refer to itself")
        if len(self._open) >= LEVELS_MAX:  # before the walk itself is too deep
            raise _too_many_levels()

        self._open.add(id(value))
        extent = self._sum(value)
        self._open.discard(id(value))
        self._known[id(value)] = extent
        return extent

    def _sum(self, value: dict[str, Any] | list[Any]) -> Extent:
        sums = Extent(1)
        for part in self._parts(value):
            sums = _added(sums, part)
            if sums.values > VALUES_MAX:
                raise SchemaRefused(f"more than {VALUES_MAX} values, with every $ref written out")
            if sums.patterns > PATTERNS_MAX:
                raise SchemaRefused(f"more than {PATTERNS_MAX} patterns, with every $ref written out")
            if sums.levels >= LEVELS_MAX:
                raise _too_many_levels()
        return msgspec.structs.replace(sums, levels=sums.levels + 1)

    def _parts(self, value: dict[str, Any] | list[Any]) -> Iterator[Extent]:
        """The extents of the parts of one value, and of those that it refers to."""
        if isinstance(value, list):
            yield from map(self._of, value)
            return
        for name, held in value.items():
            self._check(name, held, at_root=value is self._root)
            if name == "$ref" and isinstance(held, str):
                yield self._of(self._target(held))
            yield from _of_keyword(name, held)
            yield self._of(held)

    def _check(self, name: str, held: Any, *, at_root: bool) -> None:
        if name in _REFUSED and not (isinstance(held, dict) and name[0] == "$"):
            raise SchemaRefused(f"{name}: {_REFUSED[name]}")
        if name == self._address and isinstance(held, str):
            raise SchemaRefused(f"{name}: {_REFUSED['$id']}")
        if name == "$schema" and not at_root:
            raise SchemaRefused("$schema: only at the root")

    def _target(self, pointer: str) -> Any:
        """The part of the schema that a reference names."""
        if pointer != "#" and not pointer.startswith("#/"):
            raise SchemaRefused("$ref: must begin with #/, no other document is read")
        if _UNCLEAR.search(pointer):
            raise SchemaRefused("$ref: must not encode / ~ or %: write ~1 and ~0, and no % in a name")

        found: Any = self._root
        try:
            for step in pointer[2:].split("/") if len(pointer) > 1 else ():
                name = unquote(step).replace("~1", "/").replace("~0", "~")
                found = _member(found, name)
        except LookupError:
            raise SchemaRefused(f"$ref: {pointer[:100]} is not there") from None
        return found


def _member(value: Any, name: str) -> Any:
    """The part of an object or a list that one step of a pointer names; LookupError when there is none."""
    if isinstance(value, dict):
        return value[name]
    if isinstance(value, list) and name.isascii() and name.isdecimal() and len(name) < 5:
        return value[int(name)]
    raise LookupError(name)


def _added(sums: Extent, part: Extent) -> Extent:
    """Both together, as deep as the deeper one."""
    return Extent(
        values=sums.values + part.values, patterns=sums.patterns + part.patterns,
        match_us=sums.match_us + part.match_us, multiples=sums.multiples + part.multiples,
        limits=sums.limits + part.limits, fractions=sums.fractions + part.fractions,
        levels=max(sums.levels, part.levels),
    )  # fmt: skip


def _too_many_levels() -> SchemaRefused:
    return SchemaRefused(f"more than {LEVELS_MAX} levels, with every $ref written out")


def _multiple(of: float) -> Extent:
    if not MULTIPLE_MIN <= of <= 1 / MULTIPLE_MIN:
        raise SchemaRefused("multipleOf: between 0.000001 and 1000000")
    return Extent(0, multiples=1)


def _patterns(texts: Collection[str]) -> Extent:
    if any(len(text) > PATTERN_MAX for text in texts):
        raise SchemaRefused(f"a pattern is longer than {PATTERN_MAX} characters")
    match_us = sum(MATCH_US if "{" in text else min(MATCH_US, len(text) * MATCH_SHARE_US) for text in texts)
    return Extent(0, patterns=len(texts), match_us=match_us)
