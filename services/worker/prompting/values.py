"""Puts an entered value into one line of a prompt: as data in quotes that it cannot leave."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from shared.job import ParameterValue

TEXT_MAX: Final = 1_000
ITEMS_MAX: Final = 32
ITEM_MAX: Final = 200
"""Most characters of a text, most items of a list, most characters of one; the rest is cut off."""

# Control characters, line and paragraph separators end a line for one reader or another.
_BREAKS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")

# Invisible to people, read by a model: format and bidirectional marks, tags, variation selectors that no emoji needs,
# private and surrogate code points. The joiners that scripts and emoji are made of stay.
_HIDDEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ud800-\udfff"
    "\ue000-\uf8ff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_MARKER: Final = re.compile(r"(?<=<)(?=\|)|(?<=\|)(?=>)")
"""Chat templates of open models write their own delimiters like this, and some servers do not distinguish them from
text."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*\Z")


def one_line(text: str, limit: int) -> str:
    """The text without line ends, control and hidden characters, at most `limit` characters, spaces collapsed."""
    cut = unicodedata.normalize("NFC", text[: 4 * limit])
    cut = _MARKER.sub(" ", _HIDDEN.sub("", cut))
    cut = _BREAKS.sub(" ", cut).strip()
    if len(cut) > limit or len(text) > 4 * limit:
        return cut[: limit - 1].rstrip() + "…"
    return cut


def quote(text: str, limit: int = TEXT_MAX) -> str:
    """The text as a JSON string; empty when nothing is left of it."""
    line = one_line(text, limit)
    return json.dumps(line, ensure_ascii=False) if line else ""


def _scalar(value: str | float, limit: int) -> str:  # bool and int are floats to a type checker
    if isinstance(value, bool):
        return "yes" if value else "no"
    return quote(value, limit) if isinstance(value, str) else repr(value)


def show(value: ParameterValue) -> str:
    """Any value on one line: texts quoted, numbers bare, lists with commas; empty when there is nothing to show."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = [_scalar(item, ITEM_MAX) for item in value[:ITEMS_MAX]]
        return ", ".join(item for item in shown if item)
    return _scalar(value, TEXT_MAX)


def show_name(name: str) -> str:
    """The name of an unknown parameter: bare when it is a plain word, else quoted like a value."""
    line = one_line(name, 64)
    return line if _PLAIN_NAME.match(line) else json.dumps(line, ensure_ascii=False)
