"""Decides which fields of a log a reader still needs, and whether those that were read have a gap. Pure.

Events of a lease are numbered without holes, so one that is not there was lost; in an open lease the first hole is the
end of what was written so far, unless something stands behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from shared.events import ORIGIN, EventId, JobEvent
from shared.job import JobSnapshot
from shared.store.reading import job_events
from shared.store.reading.job_events import Lease
from shared.store.reading.records import Record


class Gap(Exception):
    """The log no longer holds the events behind the cursor."""


class Place(NamedTuple):
    """Place of an event of an ended lease: its lease, and its number in it."""

    lease: Lease
    number: int


class Needed(msgspec.Struct, frozen=True, kw_only=True):
    """Events that a reader still needs, in this order: `first`, those at `places`, those of the `live` lease above
    `after`, `last`.

    The first of `places` may be that of the cursor: it must still be there, but is not sent again. `more`: there are
    places beyond these; then the rest comes with another page.
    """

    first: list[JobEvent] = []
    places: Sequence[Place] = ()
    more: bool = False
    live: Lease | None = None
    after: int = 0
    last: list[JobEvent] = []


def needed(record: Record, cursor: EventId | None, page: int) -> Needed:
    """Decide which events follow `cursor` (None: all), at most `page` places. Gap when no lease has such an event."""
    closing = job_events.ending(record)
    for i, event in enumerate(closing):
        if cursor is not None and event.id == cursor:
            return Needed(last=closing[i + 1 :])

    spans = job_events.leases(record)
    if cursor is not None and cursor != EventId(ORIGIN, 1):
        spans = _spans_from(spans, cursor)
    live = spans.pop() if spans and spans[-1].last is None else None
    places = list(islice(_places(spans, cursor), page + 1))
    return Needed(
        first=[job_events.queued(record.snapshot)] if cursor is None else [],
        places=places[:page],
        more=len(places) > page,
        live=live,
        after=0 if live is None else _number_in(live, cursor),
        last=closing,
    )


def _spans_from(spans: list[Lease], cursor: EventId) -> list[Lease]:
    for i, span in enumerate(spans):
        if span.token == cursor.token and 1 <= cursor.number <= (span.last or cursor.number):
            return spans[i:]
    raise Gap


def _places(spans: list[Lease], cursor: EventId | None) -> Iterator[Place]:
    """The events that ended leases have in the log, from that of the cursor on."""
    for span in spans:
        for number in range(max(_number_in(span, cursor), 1), (span.last or 1) + 1):
            yield Place(span, number)


def _number_in(span: Lease, cursor: EventId | None) -> int:
    """Number of the cursor within a lease; 0 for a cursor of another lease."""
    return cursor.number if cursor is not None and cursor.token == span.token else 0


def names(places: Iterable[Place]) -> list[str]:
    """The fields of the log that hold these events; number 1 is implied by the record."""
    return [f"{span.token}.{number}" for span, number in places if number > 1]


def ended(
    job: JobSnapshot, places: Sequence[Place], found: Mapping[str, bytes | None], cursor: EventId | None
) -> list[JobEvent]:
    """The events at `places`, that of the cursor left out. `found`: the values of `names(places)`. Gap when one is
    gone."""
    events = []
    for span, number in places:
        field = found[f"{span.token}.{number}"] if number > 1 else b""
        if field is None:
            raise Gap
        if cursor is None or cursor != EventId(span.token, number):
            events.append(_event(job, span, number, field))
    return events


def _event(job: JobSnapshot, span: Lease, number: int, field: bytes) -> JobEvent:
    return job_events.processing(job, span) if number == 1 else job_events.logged(job, span.token, number, field)


def contiguous(fields: Sequence[bytes | None], *, first_is_known: bool) -> list[bytes]:
    """The fields of a window of an open lease up to the first hole. Gap when something stands behind it, or when the
    reader had the first one (`first_is_known`) and it is gone."""
    present = []
    for field in fields:
        if field is None:
            break
        present.append(field)
    if any(field is not None for field in fields[len(present) :]) or (first_is_known and not present):
        raise Gap
    return present


class LeaseText:
    """The text that one lease has in the log, gathered from the log's fields in any order."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._deltas: dict[int, bytes] = {}

    def add(self, name: bytes, field: bytes) -> None:
        """Take a field if it is a delta of this lease."""
        owner, _, number = name.decode().rpartition(".")
        if owner == self._token and field[:1] == b"d":
            self._deltas[int(number)] = field[1:]

    @property
    def text(self) -> str:
        """Text so far."""
        return b"".join(self._deltas[number] for number in sorted(self._deltas)).decode("utf-8", "replace")

    @property
    def last(self) -> int:
        """The number of the last delta; 1: there is none."""
        return max(self._deltas, default=1)
