"""Spans of submits: the trace of a job begins here, or continues its caller's, and crosses the queue with the job."""

from __future__ import annotations

import msgspec

from shared.store.results import Submitted
from shared.store.transitions import Submit
from shared.tracing import conventions as names
from shared.tracing.spans import UNTRACED, Kind, Link, Span, Tracer


def begin_submit(tracer: Tracer, submit: Submit) -> tuple[Submit, Span]:
    """A submit whose job continues the trace of its span, and the span; a retry's is linked to the submit of the job
    that ended. The job is as it was where tracing is off."""
    if not tracer.on:
        return submit, UNTRACED
    spec, retry = submit.spec, submit.retry
    ended = retry.ended.spec.traceparent if retry is not None else None
    span = tracer.begin(
        "submit",
        Kind.PRODUCER,
        {
            names.MESSAGING_SYSTEM: names.SYSTEM,
            names.MESSAGING_OPERATION_NAME: "submit",
            names.MESSAGING_OPERATION_TYPE: names.SEND,
            names.MESSAGING_DESTINATION_NAME: spec.priority.value,
            names.ORGANIZATION: spec.organization_id,
        },
        parent=spec.traceparent,
        links=[] if ended is None else [Link(ended)],
    )
    if span.traceparent is None:
        return submit, span
    traced = msgspec.structs.replace(spec, traceparent=span.traceparent)
    return msgspec.structs.replace(submit, spec=traced), span


def note_submitted(span: Span, submitted: Submitted) -> None:
    """Name the job that answers the submit: an earlier one, when its idempotency key was known."""
    span.set({names.MESSAGING_MESSAGE_ID: submitted.job_id, names.CREATED: submitted.created})
