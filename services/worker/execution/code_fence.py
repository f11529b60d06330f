"""Takes the code fence from around a JSON text as it is written: many models put one there, against all requests."""

from __future__ import annotations

import re
from typing import Final

_FENCE: Final = "```"
_OPENING: Final = re.compile(r"\s{0,64}+```[A-Za-z0-9]{0,16}[ \t\r]{0,8}\n")
_OPENING_MAX: Final = 64 + 3 + 16 + 8 + 1
_CLOSING: Final = re.compile(r"\s*+```\s*+\Z")
_END_MAX: Final = 256
"""Characters at the end of a text that may be its closing fence."""


class CodeFence:
    """Filter of one text. `opened`: it began with a fence, which was left out."""

    __slots__ = ("_begun", "_held", "opened")

    def __init__(self) -> None:
        self.opened = False
        self._begun = False
        self._held = ""

    def feed(self, piece: str) -> str:
        """The part of the text that can be passed on, now that this piece of it came."""
        text, self._held = self._held + piece, ""
        if not self._begun:
            if (opening := _OPENING.match(text)) is not None:
                self.opened, text = True, text[opening.end() :]
            elif _may_open(text):
                self._held = text
                return ""
            self._begun = True
        if not self.opened:
            return text

        # A closing fence is known by nothing following it.
        end = len(text.rstrip("` \t\r\n"))
        end = max(end, len(text) - _END_MAX)
        self._held = text[end:]
        return text[:end]

    def rest(self) -> str:
        """The text that was held back, once the last piece came, without the closing fence."""
        held, self._held = self._held, ""
        return _CLOSING.sub("", held) if self.opened else held


def _may_open(text: str) -> bool:
    """Whether a fence may yet begin this text."""
    bare = text.lstrip()
    return len(text) < _OPENING_MAX and "\n" not in bare and (bare[:3] == _FENCE or _FENCE.startswith(bare))
