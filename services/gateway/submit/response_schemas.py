"""Checks the schemas that jobs give for their results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from shared.http.problems import FieldError
from shared.response_schema.bounds import SchemaRefused

FIELD: Final = "responseSchema"


def schema_faults(schema: dict[str, Any]) -> Iterator[FieldError]:
    """The fault of a schema that no text can be checked against, or not in bounded time."""
    # 15 MB that most gateways never need.
    from shared.response_schema.checking import compile_schema  # noqa: PLC0415

    try:
        compile_schema(schema)
    except SchemaRefused as refusal:
        yield FieldError(FIELD, str(refusal))
