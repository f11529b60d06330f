"""The bad field of a request, named from msgspec's complaint."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from shared.http.problems import MAX_NAME, FieldError
from shared.job_ids import IDENTIFIER_MAX

_PLACE: Final = " - at `"
_NAMED_FIELD: Final = re.compile(r"Object (contains unknown|missing required) field `(.*)`\Z", re.DOTALL)
_TEXT_MAX: Final = 4 * MAX_NAME
"""Characters of an error's text, and of the path at its end, that are read: it may quote the whole request."""

_IDENTIFIER: Final = r"'^[!-~]+\\Z'"
"""The pattern of an id as msgspec shows it."""

_TYPES: Final = re.compile(r"`(?:\w+ \| )*\w+`")
_STEP: Final = re.compile(r"\[[^\]]*\]|[^.\[\]]+")
_OF_JSON: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def field_error(error: Exception, prefix: str = "", kind: Any = None) -> FieldError:
    """The field that msgspec complains about, below the path `prefix`; the body as a whole is `body`.

    `kind`: the type that was decoded, whose words are listed when the field takes one of a few.
    """
    text, path = _split(error)
    choices = choices_of(kind, path)
    if (named := _NAMED_FIELD.match(text)) is not None:
        path = f"{path}.{named.group(2)}" if path else named.group(2)
        text = "unknown field" if named.group(1) == "contains unknown" else "required"
    whole = ".".join(part for part in (prefix, path) if part) if not path.startswith("[") else prefix + path
    return FieldError(whole[: 2 * MAX_NAME] or "body", _in_json_words(text, choices)[: 2 * MAX_NAME])


def _split(error: Exception) -> tuple[str, str]:
    """msgspec's complaint and its path, both cut, in time that does not grow with the request that they quote."""
    if isinstance(error, UnicodeError):
        return "not valid UTF-8", ""
    if isinstance(error, RecursionError):
        return "nested too deeply", ""

    text, path = str(error), ""
    place = text.rfind(_PLACE)
    if place >= 0 and text.endswith("`"):
        path = text[place + len(_PLACE) : -1][:_TEXT_MAX].removeprefix("key` in `").removeprefix("$").removeprefix(".")
        text = text[:place]
    if len(text) > _TEXT_MAX:
        text = text[: _TEXT_MAX - 1] + text[-1]
    return text, path


def _in_json_words(text: str, choices: Sequence[str]) -> str:
    """The message in JSON's types and JavaScript's patterns, with the words of an enum: msgspec's own has Python's."""
    if text.startswith("Invalid enum value") and choices:
        return f"must be {'one of ' if len(choices) > 1 else ''}{', '.join(choices)}"
    if text == "Invalid RFC3339 encoded date":
        return "must be a date as in 2026-01-31"
    if text.startswith("Expected"):
        text = _TYPES.sub(lambda types: re.sub(r"\w+", lambda word: _OF_JSON.get(word[0], word[0]), types[0]), text)
        if _IDENTIFIER in text:
            return f"must be 1 to {IDENTIFIER_MAX} printable ASCII characters without blanks"
        text = text.replace(r"\\Z'", "$'")
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]


def choices_of(kind: Any, path: str = "") -> list[str]:
    """The words that a value of this type may be, if they are a few: the members of an enum, the texts of a `Literal`.
    `path`: of a value within it, as msgspec writes it; empty: itself."""
    kinds = [kind]
    for step in _STEP.findall(path):
        kinds = [inner for outer in kinds for inner in _below(outer, step)]
    return list(dict.fromkeys(word for inner in kinds for word in _words(inner)))


def _below(kind: Any, step: str) -> list[Any]:
    """The types of a field, or of an item for a `step` in brackets."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [field.type for field in msgspec.structs.fields(kind) if field.encode_name == step]
    if get_origin(kind) in (list, tuple, dict):
        return list(get_args(kind))[-1:] if step.startswith("[") else []
    return [found for inner in get_args(kind) for found in _below(inner, step)]


def _words(kind: Any) -> list[str]:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [str(member.value) for member in kind]
    if get_origin(kind) is Literal:
        return [word for word in get_args(kind) if isinstance(word, str)]
    return [word for inner in get_args(kind) for word in _words(inner)]
