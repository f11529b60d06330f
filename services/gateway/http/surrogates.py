r"""Names the fields of a JSON body that hold half a character.

JavaScript cuts strings between the two halves of an emoji; what is left `JSON.stringify` writes as `\ud83d`. That is
JSON, but no text: no UTF-8 exists for it. Runs for bodies that did not decode.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from shared.http.problems import MAX_ERRORS, MAX_NAME, FieldError

MESSAGE: Final = "holds half an emoji (a lone surrogate): cut texts between characters"

_LONE: Final = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
SIZE_MAX: Final = 2 << 20
"""Bytes of the largest body that is searched: 2 MiB of nothing but escapes take 50 ms. Of larger batches the message
tells the place alone."""

_MARK: Final = "\ufdd0"
"""No character, and never will be: stands for each half."""

_MARKED: Final = _MARK.encode()
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])


def halves(body: bytes, prefix: str) -> list[FieldError]:
    """The fields, below `prefix`, that hold half a character; none when that is not what is wrong. Linear in `body`."""
    if len(body) > SIZE_MAX:
        return []
    # Without the escaped backslashes every `\u` that is left begins an escape.
    marked, count = _LONE.subn(_MARKED, body.replace(rb"\\", b"//"))
    if not count:
        return []
    try:
        paths = _paths(msgspec.Raw(marked), prefix)
    except (ValueError, RecursionError):
        paths = []
    return [FieldError(path, MESSAGE) for path in paths or [prefix or "body"]]


def _paths(value: msgspec.Raw, path: str) -> list[str]:
    """Where in `value` a mark is: the fields of a job, of each job of a batch, and one level of what they hold."""
    found: list[str] = []
    for name, held in _object.decode(value).items():
        below = f"{path}.{_shown(name)}" if path else _shown(name)
        if _MARK in name:
            found.append(below)
        elif _MARKED in bytes(held):
            found += _inside(name, held, below)
    return found[:MAX_ERRORS]


def _inside(name: str, held: msgspec.Raw, path: str) -> list[str]:
    if name == "jobs":
        jobs = enumerate(_array.decode(held))
        return [inner for i, job in jobs if _MARKED in bytes(job) for inner in _paths(job, f"{path}[{i}]")]
    if bytes(held).lstrip()[:1] != b"{":
        return [path]
    keys = [key for key, value in _object.decode(held).items() if _MARK in key or _MARKED in bytes(value)]
    return [f"{path}.{_shown(key)}" for key in keys]


def _shown(name: str) -> str:
    return name.replace(_MARK, "\ufffd")[:MAX_NAME]
