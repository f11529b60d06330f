"""A job's events as those of a response. Pure.

Each event of ours becomes a fixed number of theirs, which its place among the job's events decides alone:

| event | theirs |
|---|---|
| `queued` | created, queued |
| `processing` | in_progress |
| the first `delta` of an attempt | output_item.added, content_part.added, output_text.delta |
| every other | output_text.delta |
| `retrying` after text | `error`; with `restart` output_text.done, content_part.done, output_item.done |
| `retrying` without text | none |
| the end, after text | output_text.done, content_part.done, output_item.done, and the last one |
| the end without text | the last one |

So `sequence_number` is the same in every stream of a job for as long as its log is kept. After a gap, and when the log
is gone, the text comes as one item before the end, with numbers that go on from those the reader has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from services.gateway.responses.objects import OutputText
from services.gateway.responses.views import Moment, ResponseView, item_id, message, status_of
from shared.events import EventKind, JobEvent
from shared.job import JobStatus, Outcome
from shared.streams import sse

DONE: Final = b"data: [DONE]\n\n"
SUPERSEDED: Final = "attempt_superseded"

_encode: Final = msgspec.json.Encoder().encode
_LAST: Final = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
    "cancelled": "response.incomplete",  # the protocol has no event of its own: `status` says it
}


class _Shown(msgspec.Struct):
    """The item that is open in the stream, and its text so far."""

    index: int
    pieces: list[str]

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class ResponseEvents:
    """Translates the events of one job for one reader, from its first event on. `over`: the stream ends here, although
    the job may go on; `ended`: the job has ended, and the reader knows."""

    def __init__(self, view: ResponseView, created_ms: int, *, after: int = -1) -> None:
        """`created_ms`: when the job was made, as far as that is known; `after`: the last number that the reader
        has."""
        self._view = view
        self._created_ms = created_ms
        self._after = after
        self._next = 0
        self._superseded = 0
        self._open: _Shown | None = None
        self._whole = False
        self.over = self.ended = False
        self._translate: dict[EventKind, Callable[[dict[str, Any]], bytes]] = {
            EventKind.QUEUED: self._queued,
            EventKind.PROCESSING: self._processing,
            EventKind.DELTA: self._delta,
            EventKind.RETRYING: self._retrying,
            EventKind.GAP: self._gap,
        }

    def feed(self, event: JobEvent) -> Iterator[bytes]:
        """Their events of one of ours, encoded. Those of the end hold the whole text, each of them."""
        data = msgspec.json.decode(event.data)
        if event.kind in self._translate:
            yield self._translate[event.kind](data)
        else:
            yield from self._ended(data)

    def farewell(self) -> bytes:
        """Report that the job is gone: it was deleted, or its database was lost."""
        return self._error("response_gone", "the response is gone") + DONE

    def closing(self) -> bytes:
        """Nothing: a reader sees that the end is missing, and comes back after the last number that it has."""
        return b""

    # ---- one of ours ------------------------------------------------------------------------------------------------

    def _queued(self, data: dict[str, Any]) -> bytes:
        self._created_ms = round(datetime.fromisoformat(data["createdAt"]).timestamp() * 1000)
        return self._state("response.created", JobStatus.QUEUED) + self._state("response.queued", JobStatus.QUEUED)

    def _processing(self, _: dict[str, Any]) -> bytes:
        return b"" if self._whole else self._state("response.in_progress", JobStatus.PROCESSING)

    def _delta(self, data: dict[str, Any]) -> bytes:
        return b"" if self._whole else self._write(data["text"])

    def _retrying(self, _: dict[str, Any]) -> bytes:
        if self._whole or self._open is None:
            return b""
        if self._view.options.restart:
            return b"".join(self._close(self._open.text, whole=False))

        failure = self._error(SUPERSEDED, "the attempt was lost, and another one begins; retrieve has the whole text")
        self._superseded += 1
        self._open = None
        if not failure:
            return b""  # the reader knows, and wants the rest
        self.over = True
        return failure + DONE

    def _gap(self, _: dict[str, Any]) -> bytes:
        self._whole = True
        begun = self._begin()
        self._next = max(self._next, self._after + 1)
        return begun

    def _ended(self, data: dict[str, Any]) -> Iterator[bytes]:
        if not self._next:
            yield self._gap(data)
        outcome = msgspec.convert(data, Outcome)
        status = JobStatus(data["status"])
        text, shown = outcome.result or "", status_of(status, outcome)

        if self._whole and text:
            if self._open is not None:
                yield from self._close(self._open.text, whole=False)
            yield self._write(text)
        if self._open is not None:
            yield from self._close(text or self._open.text, whole=shown == "completed", last=True)

        ended = data.get("endedAt")
        ended_ms = None if ended is None else round(datetime.fromisoformat(ended).timestamp() * 1000)
        yield self._state(_LAST[shown], status, ended_ms, outcome)
        yield DONE
        self.over = self.ended = True

    # ---- theirs -----------------------------------------------------------------------------------------------------

    def _begin(self) -> bytes:
        """The first three events, where they were not sent: the reader's stream begins with a gap."""
        if self._next:
            return b""
        waiting = [self._state(kind, JobStatus.QUEUED) for kind in ("response.created", "response.queued")]
        return b"".join(waiting) + self._state("response.in_progress", JobStatus.PROCESSING)

    def _state(
        self, kind: str, status: JobStatus, ended_ms: int | None = None, outcome: Outcome | None = None
    ) -> bytes:
        moment = Moment(
            status=status, created_ms=self._created_ms, ended_ms=ended_ms, outcome=outcome, superseded=self._superseded
        )
        return self._send(kind, response=self._view.show(moment))

    def _write(self, text: str) -> bytes:
        """A piece of text, and before the first one of an item its beginning."""
        begun = b""
        if self._open is None:
            self._open = _Shown(self._superseded, [])
            begun = self._send("response.output_item.added", **self._at("output_index"), item={
                "type": "message", "id": item_id(self._view.job_id, self._superseded), "status": "in_progress",
                "role": "assistant", "content": [],
            })  # fmt: skip
            begun += self._send("response.content_part.added", **self._at(), part=OutputText(text=""))
        self._open.pieces.append(text)
        return begun + self._send("response.output_text.delta", **self._at(), delta=text, logprobs=[])

    def _close(self, text: str, *, whole: bool, last: bool = False) -> Iterator[bytes]:
        """The end of the open item. Not `last`: it is superseded."""
        item = message(self._view.job_id, self._superseded, text, whole=whole)
        yield self._send("response.output_text.done", **self._at(), text=text, logprobs=[])
        yield self._send("response.content_part.done", **self._at(), part=OutputText(text=text))
        yield self._send("response.output_item.done", **self._at("output_index"), item=item)
        self._open = None
        self._superseded += not last

    def _at(self, *names: str) -> dict[str, Any]:
        place = {
            "item_id": item_id(self._view.job_id, self._superseded),
            "output_index": self._superseded,
            "content_index": 0,
        }
        return {name: place[name] for name in names or place}

    def _error(self, code: str, text: str) -> bytes:
        return self._send("error", code=code, message=f"{self._view.job_id}: {text}", param=None)

    def _send(self, kind: str, **fields: Any) -> bytes:
        """One event, unless the reader has it."""
        number = self._next
        self._next += 1
        if number <= self._after:
            return b""
        return sse.event(None, kind, _encode({"type": kind, "sequence_number": number, **fields}))
