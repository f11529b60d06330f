"""A job's events as the UI message stream of Vercel's AI SDK (version 1). Pure.

A job is one message, whose id is the job's, of one step. Each attempt that shows text is one text part; a superseded
one says so in its end. Every connection gets the message from its start: the SDK replaces its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from shared.events import EventKind, JobEvent
from shared.streams.sse import Headers

HEADERS: Final[Headers] = ((b"x-vercel-ai-ui-message-stream", b"v1"),)
DONE: Final = b"data: [DONE]\n\n"
SUPERSEDED: Final = {"presswork": {"superseded": True}}
_SHOWN: Final = ("status", "provider", "model", "usage", "costUsd", "finishReason", "attempt")
"""Fields of the end that become metadata of the message."""

_encode: Final = msgspec.json.Encoder().encode


class UiMessages:
    """Translates the events of one job for one reader, from its first event on. `over`: the stream ends here, although
    the job may go on; `ended`: the job has ended, and the reader knows."""

    def __init__(self, job_id: str, *, restarts: bool = True) -> None:
        """`restarts`: the reader can hide the text of an attempt that was superseded; else the stream ends with an
        error."""
        self._job_id = job_id
        self._restarts = restarts
        self._part = 0
        self._open = False
        self._begun = False
        self._whole = False
        self.over = self.ended = False
        self._translate: dict[EventKind, Callable[[dict[str, Any]], bytes]] = {
            EventKind.QUEUED: self._start,
            EventKind.PROCESSING: lambda _: b"",
            EventKind.DELTA: self._delta,
            EventKind.RETRYING: self._retrying,
            EventKind.GAP: self._gap,
            EventKind.COMPLETED: self._completed,
            EventKind.FAILED: self._failed,
            EventKind.CANCELLED: self._cancelled,
        }

    def feed(self, event: JobEvent) -> Iterator[bytes]:
        """The parts that an event becomes, encoded."""
        data = msgspec.json.decode(event.data)
        yield self._start(data)
        yield self._translate[event.kind](data)

    def farewell(self) -> bytes:
        """Report that the job is gone: it was deleted, or its database was lost."""
        return self._fail("the job is gone")

    def closing(self) -> bytes:
        """The last bytes of a stream that ends before its job: the SDK would take the text for whole without them."""
        resume = ": resume it" if self._restarts else ""
        return self._fail(f"the stream was interrupted, and the job goes on{resume}")

    # ---- one of ours ------------------------------------------------------------------------------------------------

    def _start(self, data: dict[str, Any]) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        metadata = {"jobId": self._job_id, "status": data.get("status", "processing")}
        return _part("start", messageId=self._job_id, messageMetadata=metadata) + _part("start-step")

    def _delta(self, data: dict[str, Any]) -> bytes:
        return b"" if self._whole else self._write(data["text"])

    def _retrying(self, _: dict[str, Any]) -> bytes:
        return b"" if self._whole else self._supersede("the attempt was lost, and another one begins")

    def _gap(self, _: dict[str, Any]) -> bytes:
        self._whole = True
        return self._supersede("a part of the text was lost on its way")

    def _completed(self, data: dict[str, Any]) -> bytes:
        text = self._rest(data)
        metadata = {"jobId": self._job_id} | {name: data[name] for name in _SHOWN if name in data}
        return self._end(text + _part("finish-step") + _part("finish", messageMetadata=metadata))

    def _failed(self, data: dict[str, Any]) -> bytes:
        closed = self._close() if self._open else b""
        error = data.get("error")
        return self._end(closed + self._error(error["message"] if error else "it failed"))

    def _cancelled(self, data: dict[str, Any]) -> bytes:
        return self._end(self._rest(data) + _part("abort"))

    def _supersede(self, why: str) -> bytes:
        """Take back the text of the open part, if there is one; `why`: for a reader that cannot."""
        if not self._open:
            return b""
        if self._restarts:
            return self._close(superseded=True)
        self.over = True
        return self._fail(why)

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _rest(self, data: dict[str, Any]) -> bytes:
        """The text that no delta brought, as one, and the end of its part."""
        text = data.get("result") or ""
        written = self._write(text) if text and not self._open else b""
        return written + (self._close() if self._open else b"")

    def _write(self, text: str) -> bytes:
        begun = b""
        if not self._open:
            self._open = True
            begun = _part("text-start", id=self._id)
        return begun + _part("text-delta", id=self._id, delta=text)

    def _close(self, *, superseded: bool = False) -> bytes:
        closed = _part("text-end", id=self._id, providerMetadata=SUPERSEDED if superseded else msgspec.UNSET)
        self._open = False
        self._part += 1
        return closed

    def _end(self, parts: bytes) -> bytes:
        self.over = self.ended = True
        return parts + DONE

    def _fail(self, text: str) -> bytes:
        return self._error(text) + DONE

    def _error(self, text: str) -> bytes:
        return _part("error", errorText=f"{self._job_id}: {text}")

    @property
    def _id(self) -> str:
        return f"text-{self._part}"


def _part(kind: str, **fields: Any) -> bytes:
    given = {name: value for name, value in fields.items() if value is not msgspec.UNSET}
    return b"data: " + _encode({"type": kind, **given}) + b"\n\n"
