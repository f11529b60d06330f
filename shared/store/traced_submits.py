"""Spans of submits: the trace of a job begins here, or continues its caller's, and crosses the queue with the job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from shared.store.results import Submitted
from shared.store.transitions import Submit
from shared.tracing import conventions as names
from shared.tracing.spans import Kind, Link, Span, Tracer


async def submit_traced(tracer: Tracer, job: Submit, submit: Callable[[Submit], Awaitable[Submitted]]) -> Submitted:
    """Submit a job that continues the trace of its span. The errors are those of `submit`."""
    with _begin(tracer, job) as span:
        traced = msgspec.structs.replace(job.spec, traceparent=span.traceparent or job.spec.traceparent)
        submitted = await submit(msgspec.structs.replace(job, spec=traced))

        # An earlier job, when the idempotency key was known.
        span.set({names.MESSAGING_MESSAGE_ID: submitted.job_id, names.CREATED: submitted.created})
        return submitted


def _begin(tracer: Tracer, job: Submit) -> Span:
    """The span of a submit; a retry's is linked to the submit of the job that ended."""
    spec, retry = job.spec, job.retry
    ended = retry.ended.spec.traceparent if retry is not None else None
    return tracer.begin(
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
