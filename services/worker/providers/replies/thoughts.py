"""Removes the thoughts at the start of a text: `<think>…</think>`."""

from __future__ import annotations

import re
from typing import Final

BLANKS_MAX: Final = 256
"""Most spaces before a text that are held back, because a tag may follow them."""


class ThoughtFilter:
    """Filter of one answer, fed as it comes; a tag may come in pieces.

    `thinking`: inside a thought. `over`: the text has begun, and no thought comes any more: it need not be fed. Text
    between the tags is counted and dropped, so a thought without end takes no memory. Models write one after the
    other; spaces behind a thought belong to it.
    """

    def __init__(self, tags: tuple[str, ...]) -> None:
        self._tags = tuple(f"<{tag}>" for tag in tags)
        self._held = ""
        self._end: re.Pattern[str] | None = None
        self._keep = 0
        self._thought_before = False
        self.over = False

    @property
    def thinking(self) -> bool:
        """Whether the next text is thought."""
        return self._end is not None

    def feed(self, text: str) -> tuple[str, int]:
        """The text in a piece, and how many characters of it were thought."""
        self._held += text

        thought = 0
        while True:
            end = self._end or self._begins()
            if end is None:
                break
            dropped, closed = self._drop(end)
            thought += dropped
            if not closed:
                break

        if not self.over:
            return "", thought
        text, self._held = self._held, ""
        return text, thought

    def rest(self) -> tuple[str, int]:
        """As `feed`, of the text that was held back, when nothing comes after it."""
        text, self._held = self._held, ""
        if self.thinking:
            return "", len(text)
        return "" if self._thought_before and not text.strip() else text, 0

    def _begins(self) -> re.Pattern[str] | None:
        """The tag that ends the thought at the start of the held text; None when it is text, or too short to know."""
        start = self._held.lstrip()
        blanks = len(self._held) - len(start)
        if self._thought_before:
            self._held = start
        elif blanks > BLANKS_MAX:
            self.over = True
            return None

        for tag in self._tags:
            if start[: len(tag)].lower() == tag:
                self._held = start[len(tag) :]
                self._end = re.compile(re.escape(f"</{tag[1:]}"), re.IGNORECASE)
                self._keep = len(tag)
                return self._end

        self.over = not any(tag.startswith(start.lower()) for tag in self._tags)
        return None

    def _drop(self, end: re.Pattern[str]) -> tuple[int, bool]:
        """Drop the thought in the held text; returns its characters, and whether the thought is over."""
        found = end.search(self._held)
        if found is not None:
            self._held = self._held[found.end() :]
            self._end, self._thought_before = None, True
            return found.start(), True
        dropped = max(len(self._held) - self._keep, 0)
        self._held = self._held[dropped:]
        return dropped, False
