"""Makes values that fit simple schemas, of words: the results of the demo provider for jobs with a schema. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

LEVELS_MAX: Final = 64
ITEMS: Final = 2
"""Items of a list that may have any number."""

VALUES_MAX: Final = 2_000
TEXT_MAX: Final = 10_000
"""Values that are made, and characters of each text: a schema that asks for more gets what does not fit."""

_FORMATS: Final = {
    "date": "2026-12-01", "date-time": "2026-12-01T09:00:00Z", "time": "09:00:00Z", "email": "team@example.com",
    "uri": "https://example.com/", "uuid": "123e4567-e89b-42d3-a456-426614174000",
}  # fmt: skip
_FILLING: Final = "Find out more on our website. "


def demo_value(schema: dict[str, Any], text: str) -> Any:
    """A value for a schema with `type`, `properties`, `items`, `enum`, bounds and references; `text` fills its strings.

    Schemas with more to them, such as patterns, may get a value that does not fit.
    """
    return _Maker(schema, text).value(schema)


class _Maker:
    def __init__(self, root: dict[str, Any], text: str) -> None:
        self._root = root
        self._text = text
        self._left = VALUES_MAX

    def value(self, schema: Any, level: int = 0) -> Any:
        """A value for one part of the schema."""
        self._left -= 1
        if not isinstance(schema, dict) or level > LEVELS_MAX or self._left < 0:
            return None

        merged: dict[str, Any] = {}
        for part in self._all_of(schema, level):
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            merged |= part
            if properties:
                merged["properties"] = properties

        for fixed in ("const", "default"):
            if fixed in merged:
                return merged[fixed]
        return merged["enum"][0] if merged.get("enum") else self._of_type(merged, level)

    def _all_of(self, schema: dict[str, Any], level: int) -> Iterator[dict[str, Any]]:
        """The schemas that a value must fit together; of alternatives the first."""
        yield schema
        if level > LEVELS_MAX:
            return
        found = [self._target(schema["$ref"])] if "$ref" in schema else []
        found += schema.get("allOf", [])
        found += [choices[0] for name in ("anyOf", "oneOf") if (choices := schema.get(name))]
        for part in found:
            if isinstance(part, dict):
                yield from self._all_of(part, level + 1)

    def _of_type(self, schema: dict[str, Any], level: int) -> Any:
        named = schema.get("type", "object" if "properties" in schema else "string")
        match named[0] if isinstance(named, list) else named:
            case "object":
                return {name: self.value(held, level + 1) for name, held in schema.get("properties", {}).items()}
            case "array":
                wanted = max(ITEMS, schema.get("minItems", 0))
                count = int(min(schema.get("maxItems", wanted), wanted, max(self._left, 0)))
                return [self.value(schema.get("items", {}), level + 1) for _ in range(count)]
            case "integer" | "number":
                return _number(schema)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._string(schema)

    def _string(self, schema: dict[str, Any]) -> str:
        text, least = _FORMATS.get(schema.get("format", ""), self._text), int(min(schema.get("minLength", 0), TEXT_MAX))
        while len(text) < least:
            text += f" {_FILLING.strip()}"
        text = text[: int(max(min(schema.get("maxLength", TEXT_MAX), TEXT_MAX), least))]
        self._left -= len(text) // 100  # so that many long texts are bounded too
        return text

    def _target(self, pointer: str) -> Any:
        found: Any = self._root
        for step in pointer.removeprefix("#").split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            found = found.get(name, {}) if isinstance(found, dict) else {}
        return found


def _number(schema: dict[str, Any]) -> float:
    step: float = schema.get("multipleOf", 1)
    least: float = schema.get("minimum", schema.get("exclusiveMinimum", min(0, schema.get("maximum", 0))))
    number = -(-least // step) * step
    if number <= schema.get("exclusiveMinimum", number - 1):
        number += step
    return number
