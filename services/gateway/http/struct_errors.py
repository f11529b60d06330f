"""Checks the fields of a request one by one: for a body or a query string that does not fit its struct."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from shared.http.problems import MAX_ERRORS, MAX_NAME, FieldError

ValueT = TypeVar("ValueT")


def struct_errors(
    given: Mapping[str, ValueT],
    kind: type[msgspec.Struct],
    check: Callable[[ValueT, Any, str], list[FieldError]],
    prefix: str = "",
) -> list[FieldError]:
    """All fields, below `prefix`, that are missing, bad or unknown. `check` names the errors of a value by its type and
    its path."""
    dot = f"{prefix}." if prefix else ""
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    found: list[FieldError] = []

    for name, field in known.items():
        if name in given:
            found += check(given[name], field.type, dot + name)
        elif field.required:
            found.append(FieldError(dot + name, "required"))

    unknown = [name for name in given if name not in known][:MAX_ERRORS]
    return found + [FieldError(f"{dot}{name[:MAX_NAME]}", "unknown field") for name in unknown]
