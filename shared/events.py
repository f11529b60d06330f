"""The events of a job's life as a reader sees them, and the ids that let it resume. Pure data, no I/O."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec

_EVENT_ID: Final = re.compile(r"([a-z]?[0-9]{1,20}-[0-9]{1,20})\.([0-9]{1,9})\Z")

ORIGIN: Final = "0-0"
"""The 'lease' of events that happened outside any lease: `queued` is 0-0.1, the cancel of a waiting job 0-0.2."""


class EventKind(StrEnum):
    """Names of server-sent events."""

    QUEUED = "queued"
    PROCESSING = "processing"
    DELTA = "delta"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GAP = "gap"


class EventId(msgspec.Struct, frozen=True, order=False):
    """The lease an event belongs to and its number within it, from 1. Never names two events."""

    token: str
    number: int

    def __str__(self) -> str:
        return f"{self.token}.{self.number}"


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event: `data` is a JSON object that always has `jobId`, already encoded.

    A `gap` has no id: a reader that is cut right after it resumes from its old cursor and gets the gap again.
    """

    id: EventId | None
    kind: EventKind
    data: bytes


def parse_event_id(text: str) -> EventId:
    """Read `<token>.<number>`; ValueError when ill-formed."""
    found = _EVENT_ID.fullmatch(text)
    if found is None:
        raise ValueError("not an event id")
    return EventId(found.group(1), int(found.group(2)))


Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""A time as `iso_time` writes it."""


TIME_MAX_MS: Final = 253_402_300_799_000
"""Last second of the year 9999: no later time can be written."""


def iso_time(ms: int) -> str:
    """A time as the guide prints it: `2025-01-21T12:00:00.000Z`. `ms` since the epoch; after 9999 its last second."""
    time = datetime.fromtimestamp(min(ms, TIME_MAX_MS) / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
