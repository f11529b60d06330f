"""Rebuilds a job's events from its record and the fields of its log. Pure.

`queued`, `processing`, the last delta and the terminal event are not stored: the record implies them. A lease's events
are numbered 1 (`processing`), 2… (deltas), then `retrying`, or the last delta and the terminal event.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared.events import ORIGIN, EventId, EventKind, JobEvent, iso_time
from shared.job import JobSnapshot, JobStatus
from shared.store.reading.records import Record

_encode: Final = msgspec.json.Encoder().encode


class Lease(msgspec.Struct, frozen=True):
    """One lease of the job; `last`: its last event that the log holds (1: none), None while it is open."""

    token: str
    attempt: int
    started_ms: int
    last: int | None


def leases(record: Record) -> list[Lease]:
    """All leases in order. A waiting job has only past ones; a job that ended without a lease too."""
    found = [Lease(past.token, past.attempt, past.started, past.last) for past in record.past]
    job = record.snapshot
    if job.status is JobStatus.PROCESSING:
        found.append(Lease(record.token, job.attempt, job.started_ms or 0, None))
    elif job.status.terminal and record.token != ORIGIN:
        found.append(Lease(record.token, job.attempt, job.started_ms or 0, record.last))
    return found


def _event(job: JobSnapshot, token: str, number: int, kind: EventKind, **data: Any) -> JobEvent:
    return JobEvent(id=EventId(token, number), kind=kind, data=_encode({"jobId": job.id, **data}))


def queued(job: JobSnapshot) -> JobEvent:
    """The first event of every job."""
    return _event(job, ORIGIN, 1, EventKind.QUEUED, status="queued", createdAt=iso_time(job.created_ms))


def processing(job: JobSnapshot, lease: Lease) -> JobEvent:
    """The first event of a lease: text shown so far is void."""
    return _event(
        job, lease.token, 1, EventKind.PROCESSING,
        status="processing", attempt=lease.attempt, startedAt=iso_time(lease.started_ms),
    )  # fmt: skip


def delta(job_id: str, token: str, number: int, text: bytes) -> JobEvent:
    """A piece of text."""
    data = _encode({"jobId": job_id, "text": text.decode("utf-8", "replace")})
    return JobEvent(id=EventId(token, number), kind=EventKind.DELTA, data=data)


def logged(job: JobSnapshot, token: str, number: int, field: bytes) -> JobEvent:
    """An event the log holds: a delta (`d` and its text) or a requeue (`r` and its JSON)."""
    if field[:1] == b"d":
        return delta(job.id, token, number, field[1:])
    data = msgspec.json.decode(field[1:], type=dict[str, Any])
    due = data.pop("nextAttemptMs", None)
    if due is not None:
        data["nextAttemptAt"] = iso_time(int(due))
    return _event(job, token, number, EventKind.RETRYING, status="queued", **data)


def ending(record: Record) -> list[JobEvent]:
    """The last delta, if some of the result was not logged, and the terminal event; [] for a job that lives."""
    job, number, events = record.snapshot, record.last, []
    if not job.status.terminal:
        return []

    outcome = job.outcome
    if outcome is not None and outcome.result is not None and 0 <= record.offset < len(outcome.result):
        number += 1
        events.append(_event(job, record.token, number, EventKind.DELTA, text=outcome.result[record.offset :]))
    data: dict[str, Any] = msgspec.to_builtins(outcome) if outcome is not None else {}
    data |= {"status": str(job.status), "attempt": job.attempt}
    if job.ended_ms is not None:
        data["endedAt"] = iso_time(job.ended_ms)
    events.append(_event(job, record.token, number + 1, EventKind(str(job.status)), **data))
    return events


def gap(record: Record, text: str | None) -> JobEvent:
    """The event for a reader who lost events, with the present state; `text`: the text of the current lease so
    far."""
    job = record.snapshot
    data: dict[str, Any] = {"jobId": job.id, "status": str(job.status), "attempt": job.attempt}
    if text is not None:
        data["text"] = text
    return JobEvent(id=None, kind=EventKind.GAP, data=_encode(data))
