"""Schemas of the events of a stream for the OpenAPI document, as `shared/store/reading/job_events.py` writes them."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from services.gateway.http.json_schemas import struct_components
from shared.events import EventKind, Time
from shared.job import JobError, Outcome, RetryReason

Json = dict[str, Any]


class QueuedData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The job waits: the first event of every job."""

    job_id: str
    status: Literal["queued"]
    created_at: Time


class ProcessingData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An attempt begins: text of an earlier one is void."""

    job_id: str
    status: Literal["processing"]
    attempt: int
    started_at: Time


class DeltaData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A piece of text. Those since the last `processing` add up to the result."""

    job_id: str
    text: str


class RetryingData(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The attempt ended without a result; the job waits for another one, at the earliest at `next_attempt_at`."""

    job_id: str
    status: Literal["queued"]
    attempt: int
    reason: RetryReason
    next_attempt_at: Time | None = None


class _EndData(Outcome, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    job_id: str
    attempt: int
    metadata: dict[str, Any] | None = None
    ended_at: Time | None = None


class CompletedData(_EndData, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The job ended well: `result` is the whole text. Nothing follows."""

    status: Literal["completed"]
    result: str


class FailedData(_EndData, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The job ended without a result. Nothing follows."""

    status: Literal["failed"]
    error: JobError


class CancelledData(_EndData, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The job was cancelled; `result` is the text so far, if there was any. Nothing follows."""

    status: Literal["cancelled"]


class GapData(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Events were lost: `text` is the text of the present attempt so far. `gone`: the record no longer exists."""

    job_id: str
    status: Literal["queued", "processing", "completed", "failed", "cancelled", "gone"]
    attempt: int | None = None
    text: str | None = None


DATA: Final[dict[EventKind, type[msgspec.Struct]]] = {
    EventKind.QUEUED: QueuedData,
    EventKind.PROCESSING: ProcessingData,
    EventKind.DELTA: DeltaData,
    EventKind.RETRYING: RetryingData,
    EventKind.COMPLETED: CompletedData,
    EventKind.FAILED: FailedData,
    EventKind.CANCELLED: CancelledData,
    EventKind.GAP: GapData,
}

ANY: Final = {"$ref": "#/components/schemas/JobEvent"}
OVERVIEW: Final = {"$ref": "#/components/schemas/OverviewEvent"}

_OVERVIEW_EVENT: Final[Json] = {
    "type": "object",
    "title": "OverviewEvent",
    "description": "A server-sent event: its fields `event` and `data`, which is JSON on one line.",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string", "const": "overview"},
        "data": {"$ref": "#/components/schemas/Overview"},
    },
}


def event_components() -> Json:
    """`JobEvent`, one schema for each kind of event, and those of their data; `OverviewEvent`."""
    names = {kind: f"{kind.title()}Event" for kind in DATA}
    references = {kind: f"#/components/schemas/{name}" for kind, name in names.items()}
    union = {
        "title": "JobEvent",
        "description": "A server-sent event: its fields `event`, `id` and `data`, which is JSON on one line.",
        "oneOf": [{"$ref": reference} for reference in references.values()],
        "discriminator": {"propertyName": "event", "mapping": references},
    }
    events = {names[kind]: _event(kind, names[kind], data) for kind, data in DATA.items()}
    return struct_components(DATA.values()) | events | {"JobEvent": union, "OverviewEvent": _OVERVIEW_EVENT}


def _event(kind: EventKind, name: str, data: type[msgspec.Struct]) -> Json:
    """A `gap` has no id: a reader that is cut after it asks from where it was before."""
    place = {} if kind is EventKind.GAP else {"id": {"type": "string", "description": "Cursor: the `Last-Event-ID`"}}
    properties = {
        "event": {"type": "string", "const": str(kind)},
        "data": {"$ref": f"#/components/schemas/{data.__name__}"},
        **place,
    }
    return {"type": "object", "title": name, "required": list(properties), "properties": properties}
