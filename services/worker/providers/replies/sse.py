"""Cuts the body of an answer into server-sent events, as servers write them."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from services.worker.providers.failures.classification import CallFailure, Fault, classify
from services.worker.providers.replies.reply import UNREADABLE

MAX_EVENT_BYTES: Final = 1 << 20
"""Most bytes of an event: those of a text stream have some hundred."""

LINES_BYTES: Final = 65_536
"""Bytes without a blank line from which on lines are not searched any more, which would take longer with each read."""

WHOLE_MAX_BYTES: Final = 1 << 22
"""Most bytes of an answer that is no stream but one piece of JSON."""

BOM: Final = b"\xef\xbb\xbf"
_ERROR: Final = re.compile(rb"^event: ?error\b", re.MULTILINE)


_BESIDE: Final = (b":", b"event:", b"id:", b"retry:")


class EventReader:
    """Cuts a body into the `data` of its server-sent events (WHATWG HTML, section 9.2). One per stream.

    It also takes two deviations of servers: no blank line between two pieces of JSON, and an `event: error` whose data
    does not say that it is one. `left`: the bytes after the last event's end; `found`: there was an event.
    `whole`: the body is no stream but one piece of JSON, all of it in `left`; None before its first byte.
    """

    def __init__(self) -> None:
        self.left = bytearray()
        self.found = False
        self.whole: bool | None = None
        self._half_line_end = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this chunk completes. ProviderError when an event has no end."""
        if self.whole is not False and self._is_whole(chunk):
            self._keep(chunk, WHOLE_MAX_BYTES)
            return []
        text = self._with_plain_ends(chunk) if self._half_line_end or b"\r" in chunk else chunk
        if b"\n\n" in text or (text.startswith(b"\n") and self.left.endswith(b"\n")):
            return _data_of_events(self._complete(text))

        self._keep(text, MAX_EVENT_BYTES)
        return self._lines() if len(self.left) < LINES_BYTES and self.left.count(b"data:") > 1 else []

    def _complete(self, text: bytes) -> bytes:
        """All up to the last event's end in what was left and `text`; the rest is left."""
        if self.left:
            text = b"".join((self.left, text))
            self.left.clear()
        complete, _, rest = text.rpartition(b"\n\n")
        if rest:
            self._keep(rest, MAX_EVENT_BYTES)
        if not self.found:
            complete, self.found = complete.removeprefix(BOM), True
        return complete

    def end(self) -> list[bytes]:
        """The data of an event that was not ended, when nothing comes after it."""
        return self.feed(b"\n\n") if self.left and not self.whole else []

    def _is_whole(self, chunk: bytes) -> bool:
        """Whether the body is no stream. A stream never begins like JSON."""
        if self.whole is None and (begin := chunk.removeprefix(BOM).lstrip()):
            self.whole = begin.startswith((b"{", b"["))
        return self.whole is True

    def _lines(self) -> list[bytes]:
        """The data of lines that are events of their own: the next one begins, and no blank line was between them."""
        done, _, last = self.left.removeprefix(BOM).rpartition(b"\ndata:")
        lines = bytes(done).split(b"\n")
        if not all(map(_is_own, lines)):
            return []
        beside: list[bytes] = []
        while lines and not lines[-1].startswith(b"data:"):
            beside.insert(0, lines.pop())
        self.left, self.found = bytearray(b"\n".join([*beside, b"data:" + last])), True
        return _data_of_lines(lines)

    def _with_plain_ends(self, chunk: bytes) -> bytes:
        """Replace each line end by LF. A chunk may end between the two characters of a line end."""
        chunk, self._half_line_end = self._half_line_end + chunk, b""
        if chunk.endswith(b"\r"):
            chunk, self._half_line_end = chunk[:-1], b"\r"
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, rest: bytes, most: int) -> None:
        self.left += rest
        if len(self.left) > most:
            raise classify(CallFailure(fault=Fault.MALFORMED))


def _data_of_events(complete: bytes) -> list[bytes]:
    """The data of whole events, with a blank line between them."""
    found: list[bytes] = []
    for event in complete.split(b"\n\n") if b"data:" in complete else ():
        # Nearly every event has its data on one line, alone or behind its name.
        name, _, data = event.partition(b"data: ")
        if b"\n" not in data and data and (not name or _is_plain(name)):
            found.append(data)
        else:
            found += _data_of(event)
    return found


def _is_plain(name: bytes) -> bool:
    """Whether an event's lines before its data name it, and not as an error."""
    return name.startswith(b"event: ") and name.endswith(b"\n") and b"error" not in name


def _is_own(line: bytes) -> bool:
    """Whether a line is complete by itself: a whole piece of JSON, or a field other than data."""
    if line.startswith(b"data:"):
        return line[5:].lstrip(b" ").startswith((b"{", b"[DONE]")) and line.endswith((b"}", b"]"))
    return not line or line.startswith(_BESIDE)


def _data_of_lines(lines: list[bytes]) -> list[bytes]:
    """The data of each line, with the lines before it that name it."""
    found: list[bytes] = []
    event: list[bytes] = []
    for line in lines:
        event.append(line)
        if line.startswith(b"data:"):
            found += _data_of(b"\n".join(event))
            event.clear()
    return found


def _data_of(event: bytes) -> list[bytes]:
    """The data of an event; without data it is none: some servers keep a connection alive like that."""
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    if not lines or not (data := b"\n".join(lines)):
        return []
    if b"error" in event and _ERROR.search(event) is not None:
        return [_as_error(data)]
    return [data]


def _as_error(data: bytes) -> bytes:
    """Turn data into an event that is an error in every dialect."""
    try:
        msgspec.json.decode(data)
    except UNREADABLE:
        data = msgspec.json.encode(data.decode(errors="replace"))
    return b'{"type":"error","error":%b}' % data
