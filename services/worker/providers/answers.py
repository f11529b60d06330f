"""Reads the answer to a call: cuts its body into events, hands on text and usage, and knows when it is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from enum import Enum
from typing import Any, Final, Protocol

import httpx2
import msgspec

from services.worker.providers import ProviderError
from services.worker.providers.failures import CallFailure, Fault, classify
from services.worker.providers.wire import reported
from shared.job import Usage

ANSWER_MAX_BYTES: Final = 1 << 28
"""Of a whole body, unpacked: more than the largest token limit of a job makes, at 250 bytes an event."""

LONG_BYTES: Final = 65_536
"""After so much of a longer piece the other jobs have their turn: an answer that inflates always has the next ready."""

MAX_EVENT_BYTES: Final = 1 << 20
"""A single event of a text stream is some hundred bytes; beyond a mebibyte it is not one."""

TEXT_MAX: Final = 1 << 24
"""Bytes of its JSON: several times what the largest token limit of a job allows. A server that goes on beyond it has
lost its own way, and would fill the worker and Redis. What is written, sent and read of it in one go is this."""

END_SECONDS: Final = 5.0
"""How long an answer that has its finish reason may take to report its usage and to say that it is over."""

DRAIN_SECONDS: Final = 0.5
"""How long a finished stream may take to close, so that its connection can be used again."""

COUNT_MAX: Final = 1 << 31
"""More tokens than any call can have: a greater count, or one below zero, was not counted but made up."""

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be: no UTF-8, or nested too deep, among others."""

_encode: Final = msgspec.json.Encoder().encode
_BOM: Final = b"\xef\xbb\xbf"


class Finish(Enum):
    """Why an answer ended. What a compatible server calls by another name is a stop."""

    STOP = "stop"
    LENGTH = "length"  # at a limit of tokens
    REFUSED = "refused"  # the model or a filter withheld it


class Reply(Protocol):
    """What has come of one answer so far. `size`: characters of text; `done`: nothing comes after."""

    size: int
    usage: Usage | None
    finish: Finish | None
    done: bool

    def take(self, data: bytes, /) -> str:
        """Take one event; answers its text. ProviderError when it reports an error or cannot be read."""


class EventReader:
    """Cuts a body into the `data` of its server-sent events (WHATWG HTML, section 9.2). One per stream.

    `left`: what came after the last event's end; `found`: there was an event.
    """

    def __init__(self) -> None:
        self.left = bytearray()
        self.found = False
        self._half_line_end = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this chunk completes. ProviderError when an event has no end."""
        text = self._with_plain_ends(chunk) if self._half_line_end or b"\r" in chunk else chunk
        if b"\n\n" not in text and not (text.startswith(b"\n") and self.left.endswith(b"\n")):
            self._keep(text)
            return []
        if self.left:
            text = b"".join((self.left, text))
            self.left.clear()
        complete, _, rest = text.rpartition(b"\n\n")
        if rest:
            self._keep(rest)
        if not self.found:
            complete, self.found = complete.removeprefix(_BOM), True
        found = []
        for event in complete.split(b"\n\n") if b"data:" in complete else ():
            lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
            # An event without data is none: some servers keep a connection alive like that.
            if lines and (data := b"\n".join(lines)):
                found.append(data)
        return found

    def _with_plain_ends(self, chunk: bytes) -> bytes:
        """With each line end as LF. A chunk may end between the two characters of a line end."""
        chunk, self._half_line_end = self._half_line_end + chunk, b""
        if chunk.endswith(b"\r"):
            chunk, self._half_line_end = chunk[:-1], b"\r"
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, rest: bytes) -> None:
        self.left += rest
        if len(self.left) > MAX_EVENT_BYTES:
            raise classify(CallFailure(fault=Fault.MALFORMED))


def take_all(reply: Reply, events: Sequence[bytes]) -> tuple[str, ProviderError | None]:
    """The text of the events that one read brought, and the error that ended them, if one did: what came before an
    error is handed on before it is raised. What comes after a finish reason cannot spoil the answer any more."""
    pieces = []
    for event in events:
        try:
            pieces.append(reply.take(event))
        except ProviderError as error:
            return "".join(pieces), None if reply.finish is not None else error
    return "".join(pieces), None


async def _pieces(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """The body as it comes, unpacked. ProviderError when there is too much of it."""
    size = 0
    async with aclosing(response.aiter_bytes()) as body:
        async for piece in body:
            size += len(piece)
            if size > ANSWER_MAX_BYTES:
                raise classify(CallFailure(fault=Fault.MALFORMED))
            if len(piece) <= LONG_BYTES:
                yield piece
                continue
            for start in range(0, len(piece), LONG_BYTES):
                yield piece[start : start + LONG_BYTES]
                await asyncio.sleep(0)


def _json_bytes(text: str) -> int:
    try:
        return len(_encode(text))
    except UnicodeEncodeError:  # half an emoji: as if all were escaped
        return 6 * len(text)


async def read_answer(response: httpx2.Response, reply: Reply) -> AsyncIterator[str | Usage]:
    """Text as the reads of the socket bring it, and each usage that is reported, until `reply` has all of the answer.

    ProviderError when the answer reports an error, cannot be read or is none; httpx2.HTTPError when its connection
    breaks before it has a finish reason. An answer that has one is whole: paying for it again would mend nothing.
    """
    reader, told, size = EventReader(), None, 0
    async with aclosing(_pieces(response)) as body:
        async for chunk in body:
            text, broken = take_all(reply, reader.feed(chunk))
            if text:
                size += _json_bytes(text)
                yield text
            if size > TEXT_MAX:
                raise classify(CallFailure(fault=Fault.MALFORMED))
            if reply.finish is not None and (text := await _rest(body, reader, reply)):
                yield text
            if reply.usage is not None and reply.usage is not told:
                told = reply.usage
                yield told
            if broken is not None:
                raise broken
            if reply.finish is not None or reply.done:
                break
    _refuse_json(reader)
    if (fault := _fault(reply)) is not None:
        raise classify(CallFailure(fault=fault))


async def _rest(body: AsyncIterator[bytes], reader: EventReader, reply: Reply) -> str:
    """What follows a finish reason, usually the usage; then the stream is read to its end, however that comes."""
    pieces = []
    try:
        async with asyncio.timeout(DRAIN_SECONDS if reply.done else END_SECONDS) as limit:
            async for chunk in body:
                if reply.done:
                    continue
                pieces.append(take_all(reply, reader.feed(chunk))[0])
                if reply.done:
                    limit.reschedule(asyncio.get_running_loop().time() + DRAIN_SECONDS)
    except (TimeoutError, httpx2.HTTPError, ProviderError):
        pass
    return "".join(pieces)


def _fault(reply: Reply) -> Fault | None:
    """Why an answer, whose stream has ended, is none; None when it is one."""
    if reply.finish is None:
        return Fault.TRUNCATED
    if reply.finish is Finish.REFUSED:
        return Fault.REFUSED
    if reply.size:
        return None
    return Fault.LIMITED if reply.finish is Finish.LENGTH else Fault.EMPTY


def _refuse_json(reader: EventReader) -> None:
    """A body without any event may be the error of something in between, in JSON under a 200. ProviderError."""
    if reader.found or not reader.left.lstrip().startswith(b"{"):
        return
    try:
        body: dict[str, Any] = msgspec.json.decode(reader.left, type=dict[str, Any])
    except UNREADABLE:
        return
    if body.get("error") is not None or body.get("object") == "error":
        raise classify(reported(body.get("error") or body))
    raise classify(CallFailure(fault=Fault.MALFORMED))


def count(reported_count: int | None) -> int:
    """A number of tokens as reported; 0 for one that cannot be."""
    return reported_count if reported_count is not None and 0 <= reported_count <= COUNT_MAX else 0
