"""Finds the error in a body of any shape. Pure.

Shapes: `{"error": {…}}` (OpenAI, Anthropic), `{"error": "…", "error_type": "…"}` (TGI, Ollama), `[{"error": {…}}]`
(Gemini), `{"errors": […]}` (Cloudflare), `{"detail": …}` (FastAPI: vLLM, LiteLLM, Mistral), `{"message": …}` (Cohere,
Bedrock), `{"response": {"error": {…}}}` (OpenAI's Responses), `{"code": …, "msg": …}`, `{"fault": {"faultstring": …}}`
(Apigee), problem documents, and a plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

_DEPTH: Final = 6
_ITEMS_MAX: Final = 20
_WRAPPERS: Final = ("error", "errors", "response", "detail", "base_resp", "fault")
_MESSAGES: Final = (
    "message", "msg", "error_message", "status_msg", "faultstring", "detail", "description", "title", "error", "errors",
)  # fmt: skip
_KINDS: Final = ("type", "error_type", "status", "__type")
_CODES: Final = ("error_code", "code")

_NO_WORD: Final = re.compile(r"[\W_]+")


class ErrorFields(msgspec.Struct, frozen=True):
    """Type, code and message of an error, empty where there is none. `delay`: the time to wait in its details."""

    kind: str = ""
    code: str = ""
    message: str = ""
    delay: str = ""


_NOTHING: Final = ErrorFields()


def error_in(body: Any) -> ErrorFields:
    """The error in the bytes of a body, or in those that were read. Never raises."""
    if isinstance(body, bytes):
        try:
            body = msgspec.json.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            body = body[:1_000].decode(errors="replace")
    return _found(body, _DEPTH)


def _found(body: Any, depth: int) -> ErrorFields:
    if isinstance(body, str):
        return ErrorFields(message=body)
    if isinstance(body, list) and depth:
        return _first_of(body[:_ITEMS_MAX], depth - 1)
    return _wrapped(body, depth) if isinstance(body, dict) and depth else _NOTHING


def _first_of(bodies: Iterable[Any], depth: int) -> ErrorFields:
    found = (_found(body, depth) for body in bodies)
    return next((fields for fields in found if fields != _NOTHING), _NOTHING)


def _wrapped(body: dict[str, Any], depth: int) -> ErrorFields:
    """Fields of the first error within an object, and of the object itself where that has none."""
    inside = (inner for name in _WRAPPERS if isinstance(inner := body.get(name), (dict, list)))
    found, fields = _first_of(inside, depth - 1), _of(body)
    return ErrorFields(
        kind=found.kind or fields.kind, code=found.code or fields.code,
        message=found.message or fields.message, delay=found.delay or fields.delay,
    )  # fmt: skip


def _of(error: dict[str, Any]) -> ErrorFields:
    """Fields of an error object, and those of its `details`."""
    code, delay = _first(error, _CODES), ""
    details = error.get("details")
    for detail in details[:_ITEMS_MAX] if isinstance(details, list) else [details]:
        if isinstance(detail, dict):
            code = _first(detail, ("error_code", "reason")) or code
            delay = _first(detail, ("retryDelay", "retry_delay")) or delay
    return ErrorFields(kind=_first(error, _KINDS), code=code, message=_first(error, _MESSAGES), delay=delay)


def _first(error: dict[str, Any], names: tuple[str, ...]) -> str:
    """The first of these fields that holds a word or a number, as a text."""
    for name in names:
        value = error.get(name)
        if (isinstance(value, str) and value) or type(value) is int:
            return str(value)
    return ""


def squash(word: str) -> str:
    """A word as tables of errors and finish reasons have it: lower case, without separators."""
    return _NO_WORD.sub("", word.lower())
