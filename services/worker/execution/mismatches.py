"""Checks a finished text against the schema of its job. Pure."""

from __future__ import annotations

from typing import Final

from services.worker.providers import Completion
from shared.job import JobError
from shared.response_schema.bounds import SchemaRefused

_CUT: Final = "length"
"""The finish reason of a text that was cut at its limit of tokens."""


def fault_of(schema: dict[str, object], text: str, completion: Completion) -> str | None:
    """The reason why the text does not fit, with nothing of the text in it; None: it fits.

    A schema that this release does not take fits nothing.
    """
    # 15 MB that most workers never need.
    from shared.response_schema.checking import compile_schema  # noqa: PLC0415

    try:
        fault = compile_schema(schema).fault(text)
    except SchemaRefused as refusal:
        return f"the schema cannot be used: {refusal}"
    if fault is not None and completion.finish_reason == _CUT:
        return f"{fault} (it was cut at the limit of tokens)"
    return fault


def mismatch_error(fault: str, *, repaired: bool) -> JobError:
    """The error of a text that does not fit."""
    again = ", and neither did one before it: simplify responseSchema, or ask a stronger model" if repaired else ""
    return JobError(type="SchemaMismatch", message=f"the result does not fit responseSchema: {fault}{again}")
