"""One answer as it grows: its text, its thoughts, its usage and its finish reason."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from services.worker.providers.failures.classification import CallFailure, Fault, classify
from services.worker.providers.replies.finish_reasons import Finish, finish_of, said, shown, worse
from services.worker.providers.replies.thoughts import ThoughtFilter
from shared.job import Usage

COUNT_MAX: Final = 1 << 31
"""More tokens than any call can have: a greater count, or one below zero, is taken for a mistake."""

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""Exceptions of reading malformed bytes: no UTF-8, no JSON, or nested too deep, among others."""

PARTS_MAX: Final = 1_000
"""Most parts of a content that is a list; lists in lists are read four levels deep."""

_DEPTH: Final = 4
_HALF: Final = re.compile(r"[\ud800-\udfff]")
_PAIR: Final = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")
_BYTES: Final = re.compile(r"[\udc80-\udcf4]+")
_NO_BYTE: Final = re.compile(r"[\udcc0\udcc1\udcf5-\udcff]")
_UNFINISHED: Final = re.compile(r"(?:[\ud800-\udbff]|(?<![\ud800-\udbff])[\udcc2-\udcf4][\udc80-\udcbf]{0,2})\Z")


def count(reported: Any) -> int:
    """A number of tokens as reported; 0 for any other value."""
    if isinstance(reported, float) and reported.is_integer():
        reported = int(reported)
    return reported if type(reported) is int and 0 <= reported <= COUNT_MAX else 0


def object_in(value: Any) -> dict[str, Any]:
    """The object in a field; an empty one when something else is there."""
    return value if isinstance(value, dict) else {}


def text_in(value: Any, *names: str, depth: int = _DEPTH) -> str:
    """The text of a content: itself, or that of its parts (`{"text": …}`) one after the other. `names`: other fields
    that hold it, tried in order."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        found = next((value[name] for name in ("text", *names) if value.get(name)), None)
        return text_in(found, *names, depth=depth - 1) if depth and found is not None else ""
    if isinstance(value, list) and depth:
        return "".join(text_in(part, *names, depth=depth - 1) for part in value[:PARTS_MAX])
    return ""


def reread(data: bytes) -> list[Any]:
    """The values in bytes that msgspec does not read: half a character, or several values on lines of their own.

    An object in a list is taken for itself. ValueError, RecursionError.
    """
    text = data.decode(errors="surrogateescape")
    if _NO_BYTE.search(text) is not None:
        raise ValueError("a byte that is in no text")
    try:
        values = [json.loads(text)]
    except ValueError:
        lines = text.split("\n")
        if len(lines) == 1:
            raise
        values = [json.loads(line) for line in lines if line.strip() and not is_over(line.encode())]
    return [one for value in values for one in (value if isinstance(value, list) else [value])]


def mended(text: str) -> str:
    """Put halves of characters together, those of UTF-16 and of UTF-8; U+FFFD for one that is alone."""
    text = _PAIR.sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)
    text = _BYTES.sub(lambda run: run[0].encode(errors="surrogateescape").decode(errors="replace"), text)
    return _HALF.sub("\ufffd", text)


def is_over(data: bytes) -> bool:
    """Whether an event says `[DONE]`, however it is spelt."""
    return len(data) < 16 and data.strip(b"\"'[]{} \t\r\n").lower() == b"done"


class Reply(ABC):
    """Content of one answer so far.

    `size`: characters of text; `thought`: of thoughts, which are not kept; `signs`: number of thoughts, shown
    or not. `done`: nothing comes after. `declined`: the model refused to answer.
    """

    def __init__(self, think_tags: tuple[str, ...] = ()) -> None:
        self.size = self.thought = self.signs = 0
        self.usage: Usage | None = None
        self.finish: Finish | None = None
        self.done = self.declined = False
        self._reason = ""
        self._half = ""
        self._odd = False
        self._filter = ThoughtFilter(think_tags) if think_tags else None

    @abstractmethod
    def take(self, data: bytes, /) -> str:
        """Take one event, or a whole answer; returns its text. ProviderError when it reports an error or cannot be
        read."""

    @property
    def finish_reason(self) -> str:
        """Completion for the result of a whole answer."""
        return shown(self.finish or Finish.OTHER, self._reason)

    @property
    def written(self) -> int:
        """Characters that were paid for."""
        return self.size + self.thought

    def rest(self) -> str:
        """The text that was held back because more might follow. Once, after the last event."""
        text, self._half = mended(self._half), ""
        if self._filter is not None:
            text = self._filtered(text, self._filter)
        if self._filter is not None:
            last, thought = self._filter.rest()
            text, self._filter = text + last, None
            self.thought += thought
        self.size += len(text)
        return text

    def _reread(self, decoder: msgspec.json.Decoder[Any], data: bytes) -> Sequence[Any]:
        """The events in data that is no plain one: `reread`. ProviderError."""
        self._odd = True
        try:
            return [msgspec.convert(value, decoder.type) for value in reread(data)]
        except UNREADABLE:
            raise classify(CallFailure(fault=Fault.MALFORMED)) from None

    def _say(self, text: str) -> str:
        """Take a piece of text; returns the part that can be passed on."""
        if self._odd:
            text = self._halves(text)
        if self._filter is not None:
            text = self._filtered(text, self._filter)
        self.size += len(text)
        return text

    def _think(self, text: str = "") -> None:
        self.thought += len(text)
        self.signs += 1

    def _end(self, reason: Any, native: Any = None) -> None:
        """Take the reason of the end; `native`: the same in the words of a server behind the server."""
        word = said(reason)
        if not word:
            return
        finish = finish_of(word)
        if native is not None and (more := said(native)):
            finish = worse(finish, finish_of(more))
        self.finish = Finish.REFUSED if self.declined else finish
        self._reason = word

    def _filtered(self, text: str, thoughts: ThoughtFilter) -> str:
        before, (text, thought) = thoughts.thinking, thoughts.feed(text)
        if thought or thoughts.thinking or before:
            self._think()
            self.thought += thought
        if thoughts.over:
            self._filter = None
        return text

    def _halves(self, text: str) -> str:
        """Whole characters: half of one at the end is held back for its other half."""
        text, self._half = self._half + text, ""
        if (unfinished := _UNFINISHED.search(text)) is not None:
            text, self._half = text[: unfinished.start()], unfinished[0]
        return mended(text)
