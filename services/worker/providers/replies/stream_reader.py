"""Reads the answer to a call: passes on text, thoughts and usage, and knows when it is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

import httpx2
import msgspec

from services.worker.providers import ProviderError, Thought, Whole
from services.worker.providers.failures.classification import CallFailure, Fault, classify
from services.worker.providers.replies.finish_reasons import Finish
from services.worker.providers.replies.reply import UNREADABLE, Reply, reread
from services.worker.providers.replies.sse import BOM, MAX_EVENT_BYTES, WHOLE_MAX_BYTES, EventReader
from shared.job import Usage

ANSWER_MAX_BYTES: Final = 1 << 28
"""Most bytes of a whole body, unpacked: more than the largest token limit of a job makes, at 250 bytes an event."""

__all__ = ["ANSWER_MAX_BYTES", "MAX_EVENT_BYTES", "TEXT_MAX", "WHOLE_MAX_BYTES", "EventReader", "read_answer"]

LONG_BYTES: Final = 65_536
"""Bytes of a longer piece after which other jobs may run: an answer that inflates always has the next ones ready."""

TEXT_MAX: Final = 1 << 24
"""Characters, and bytes of the text's JSON: several times the largest token limit of a job. A server that
goes on beyond it has lost its own way, and would fill the worker and Redis. The JSON is written and read in one go."""

END_SECONDS: Final = 5.0
"""Time for an answer that has its finish reason to report its usage and to end, in s."""

DRAIN_SECONDS: Final = 0.5
"""Time for a finished stream to close, in s, so that its connection can be used again."""


def take_all(reply: Reply, events: Sequence[bytes]) -> tuple[str, ProviderError | None]:
    """The text of the events that one read brought, and the error that ended them, if one did: text before an
    error is passed on before it is raised. Nothing after a finish reason can spoil the answer any more, and nothing
    after its end belongs to it."""
    pieces = []
    for event in events:
        try:
            pieces.append(reply.take(event))
        except ProviderError as error:
            return "".join(pieces), None if reply.finish is not None else error
        if reply.done:
            break
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


class _News:
    """Passes on each item of a reply once."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._signs = self._thought = 0
        self._usage: Usage | None = None

    def with_text(self, text: str) -> list[str | Usage | Thought]:
        """The new items, in order, and this text."""
        reply = self._reply
        news: list[str | Usage | Thought] = [text] if text else []
        if reply.signs != self._signs or reply.thought != self._thought:
            news.insert(0, Thought(reply.thought - self._thought))
            self._signs, self._thought = reply.signs, reply.thought
        if reply.usage is not self._usage and reply.usage is not None:
            news.append(reply.usage)
            self._usage = reply.usage
        return news


def _json_bytes(text: str) -> int:
    try:
        return len(msgspec.json.encode(text))
    except UnicodeEncodeError:  # half an emoji: as if all were escaped
        return 6 * len(text)


async def read_answer(response: httpx2.Response, reply: Reply) -> AsyncIterator[str | Usage | Thought | Whole]:
    """Text as the reads of the socket bring it, thoughts, each reported usage, and the moment at which it is whole,
    until `reply` has all of the answer.

    ProviderError when the answer reports an error, cannot be read or is none; httpx2.HTTPError when its connection
    breaks before it has a finish reason. An answer that has one is whole: paying for it again would mend nothing.
    """
    reader, news, size = EventReader(), _News(reply), 0
    async with aclosing(_pieces(response)) as body:
        async for chunk in body:
            text, broken = take_all(reply, reader.feed(chunk))
            for item in news.with_text(text):
                yield item

            size += _json_bytes(text)
            if max(reply.written, size) > TEXT_MAX:
                raise classify(CallFailure(fault=Fault.MALFORMED))
            if broken is not None:
                raise broken

            if reply.finish is not None:
                yield Whole()
                for item in news.with_text(await _rest(body, reader, reply)):
                    yield item
            if reply.finish is not None or reply.done:
                break

    text, broken = _last(reader, reply)
    for item in news.with_text(text):
        yield item
    if broken is not None:
        raise broken
    if (fault := _fault(reply)) is not None:
        raise classify(CallFailure(fault=fault))


async def _rest(body: AsyncIterator[bytes], reader: EventReader, reply: Reply) -> str:
    """The rest after a finish reason, usually the usage; then the stream is read to its end, however that comes."""
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


def _last(reader: EventReader, reply: Reply) -> tuple[str, ProviderError | None]:
    """The rest at the end of a body: text that was held back, an event without its end, or an answer that is no
    stream; and the error in it."""
    if not reader.whole:
        text, broken = take_all(reply, reader.end())
        if broken is not None and broken.error.type == "StreamMalformed":
            broken = None  # half an event: it was cut off
        return text + reply.rest(), broken

    body = bytes(reader.left).removeprefix(BOM)
    try:
        msgspec.json.decode(body)
    except UNREADABLE:
        if not _is_odd(body):
            return reply.rest(), None

    text, broken = take_all(reply, [body.strip()])
    if broken is None and reply.finish is None:
        broken = classify(CallFailure(fault=Fault.MALFORMED))
    return text + reply.rest(), broken


def _is_odd(data: bytes) -> bool:
    """Whether it is JSON that msgspec does not read."""
    try:
        return bool(reread(data))
    except UNREADABLE:
        return False


_FAULTS: Final = {Finish.REFUSED: Fault.REFUSED, Finish.BROKEN: Fault.BROKEN_OFF}


def _fault(reply: Reply) -> Fault | None:
    """The fault of an answer whose stream has ended; None when it has a text."""
    if reply.finish is None:
        return Fault.TRUNCATED
    if reply.finish in _FAULTS:
        return _FAULTS[reply.finish]
    if reply.size:
        return Fault.TOOL if reply.finish is Finish.TOOL else None
    return Fault.LIMITED if reply.finish is Finish.LENGTH else Fault.EMPTY
