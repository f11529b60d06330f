"""Spans of an attempt and of its calls: where they begin, and which facts they carry. No text of a job is in them."""

from __future__ import annotations

import time
from typing import Final

from services.worker.execution.attempt import Attempt
from services.worker.execution.outcomes import Decision
from services.worker.execution.provider_call import ProviderCall
from services.worker.providers import Completion
from shared.chain import split
from shared.job import Claim, JobError, JobSpec, JobStatus, RetryReason, Usage
from shared.store.transitions import Finish, Requeue
from shared.tracing import conventions as names
from shared.tracing.spans import Attributes, Kind, Link, Span, Tracer
from shared.tracing.traceparents import of_lease

_NO_FAULT: Final = ("ok", "cancelled", "drain")
"""Outcomes of calls that are nobody's error."""


def begin_attempt(tracer: Tracer, claim: Claim) -> Span:
    """The span of a lease: a child of the job's submit, linked to the attempt before it, if there was one."""
    spec, before = claim.spec, claim.before
    links = []
    if before is not None:
        why: Attributes = {names.RETRY_REASON: before.reason, names.ATTEMPT: before.attempt}
        links.append(Link(of_lease(claim.job_id, before.token, spec.traceparent), why))

    attributes: Attributes = {
        names.MESSAGING_SYSTEM: names.SYSTEM,
        names.MESSAGING_OPERATION_NAME: "attempt",
        names.MESSAGING_OPERATION_TYPE: names.PROCESS,
        names.MESSAGING_DESTINATION_NAME: spec.priority.value,
        names.MESSAGING_MESSAGE_ID: claim.job_id,
        names.ORGANIZATION: spec.organization_id,
        names.ATTEMPT: claim.attempt,
        names.WAIT_SECONDS: claim.waited_ms / 1000,
    }
    own = of_lease(claim.job_id, claim.token, spec.traceparent)
    return tracer.begin("attempt", Kind.CONSUMER, attributes, parent=spec.traceparent, own=own, links=links)


def end_attempt(span: Span, status: JobStatus, decision: Decision) -> None:
    """End the span of an attempt whose job's next state is written. `status`: that of the job then."""
    transition, spent = decision.transition, decision.spent
    attributes: dict[str, str | float] = {names.STATUS: status.value}
    if status is JobStatus.QUEUED:
        attributes[names.RETRY_REASON] = _reason(transition).value
    if spent is not None and (cost := spent.cost_usd) is not None:
        attributes[names.COST_USD] = cost
    span.set(attributes)

    error = transition.outcome.error if isinstance(transition, Finish) else None
    if isinstance(transition, Requeue):
        error = transition.error
    span.end(None if error is None else error.type)


def _reason(transition: object) -> RetryReason:
    return transition.reason if isinstance(transition, Requeue) else RetryReason.RATE_LIMITED


class CallSpan:
    """The span of one call of a provider, a child of its attempt's."""

    __slots__ = ("_began_s", "_span")

    def __init__(self, tracer: Tracer, attempt: Attempt, gate: str) -> None:
        self._began_s = time.monotonic()
        parent = None if attempt.span is None else attempt.span.traceparent
        self._span = _begin_call(tracer, parent, gate, attempt.claim.spec)

    def note_first_token(self) -> None:
        """Note that the provider's first text is here."""
        self._span.set({names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: time.monotonic() - self._began_s})

    def end(self, outcome: str, result: object, call: ProviderCall) -> None:
        """End it. `outcome`: as the metrics name it; `result`: a `Completion`, or what came in its place."""
        completed = result if isinstance(result, Completion) else None
        if completed is not None:
            self._span.set({names.GEN_AI_RESPONSE_FINISH_REASONS: [names.finish_reason(completed.finish_reason)]})
        usage = call.usage if completed is None else completed.usage
        if usage is not None:
            self._span.set(_of_usage(usage))

        self._span.set({names.CALL_OUTCOME: outcome})
        error = getattr(result, "error", None)
        fault = error.type if isinstance(error, JobError) else outcome
        self._span.end(None if outcome in _NO_FAULT else fault)


def _begin_call(tracer: Tracer, parent: str | None, gate: str, spec: JobSpec) -> Span:
    provider, model = split(gate)
    attributes: dict[str, str | bool | int | float] = {
        names.GEN_AI_OPERATION_NAME: names.CHAT,
        names.GEN_AI_PROVIDER_NAME: names.provider_name(provider),
        names.GEN_AI_REQUEST_MODEL: model,
        names.GEN_AI_REQUEST_STREAM: True,
        names.GEN_AI_OUTPUT_TYPE: names.TEXT,
        names.ORGANIZATION: spec.organization_id,
    }
    if spec.max_tokens is not None:
        attributes[names.GEN_AI_REQUEST_MAX_TOKENS] = spec.max_tokens
    if spec.temperature is not None:
        attributes[names.GEN_AI_REQUEST_TEMPERATURE] = spec.temperature
    return tracer.begin(f"{names.CHAT} {model}", Kind.CLIENT, attributes, parent=parent)


def _of_usage(usage: Usage) -> Attributes:
    counts: dict[str, int] = {
        names.GEN_AI_USAGE_INPUT_TOKENS: usage.input_tokens,
        names.GEN_AI_USAGE_OUTPUT_TOKENS: usage.output_tokens,
    }
    if usage.cached_tokens:
        counts[names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS] = usage.cached_tokens
    if isinstance(usage.reasoning_tokens, int):
        counts[names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS] = usage.reasoning_tokens
    return counts
