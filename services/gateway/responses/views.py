"""Shows a job as a response, at any moment of its life."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from services.gateway.responses.objects import (
    IncompleteDetails,
    InputTokensDetails,
    OutputMessage,
    OutputText,
    OutputTokensDetails,
    PlainFormat,
    PressworkDetails,
    ResponseFailure,
    ResponseObject,
    SchemaFormat,
    Status,
    TextSettings,
    TokenUsage,
)
from shared.job import JobError, JobSnapshot, JobSpec, JobStatus, Outcome
from shared.response_options import ResponseOptions

_STATUSES: Final[dict[JobStatus, Status]] = {
    JobStatus.QUEUED: "queued",
    JobStatus.PROCESSING: "in_progress",
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "cancelled",
}
_CUT: Final = "length"
"""The finish reason of a text that was cut at its limit of tokens."""

_ITEM: Final = re.compile(r"msg_([0-9]{13}-[0-9a-z]{9})_[0-9]+\Z")

_INVALID: Final = frozenset({"RequestRejected", "RequestTooLarge", "ContentFiltered"})
"""Types of errors that are about the request; all others are the server's."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A job's state at one moment of its life. `superseded`: its attempts that had shown text and were lost."""

    status: JobStatus
    created_ms: int
    ended_ms: int | None = None
    outcome: Outcome | None = None
    superseded: int = 0


def item_id(job_id: str, superseded: int) -> str:
    """The id of a job's message after so many superseded ones."""
    return f"msg_{job_id.removeprefix('ai-job-')}_{superseded}"


def job_of_item(item: str) -> str | None:
    """The job of a message's id; None for a text that is none. After a gap a stream may have numbered its last message
    otherwise than the record: the number says nothing here."""
    found = _ITEM.match(item)
    return None if found is None else f"ai-job-{found[1]}"


def message(job_id: str, superseded: int, text: str, *, whole: bool) -> OutputMessage:
    """The message of a job that has ended, or of an attempt that has."""
    status: Literal["completed", "incomplete"] = "completed" if whole else "incomplete"
    return OutputMessage(id=item_id(job_id, superseded), status=status, content=[OutputText(text=text)])


class ResponseView:
    """Shows one job. `chain`: of the fleet, for a job that names no model."""

    def __init__(self, job_id: str, spec: JobSpec, chain: Sequence[str]) -> None:
        self.job_id = job_id
        self._spec = spec
        self.options = spec.response or ResponseOptions()
        self._asked = asked_model(spec, chain)

    def show(self, moment: Moment) -> ResponseObject:
        """The response at that moment."""
        spec, options, outcome = self._spec, self.options, moment.outcome or Outcome()
        status = status_of(moment.status, outcome)
        output = []
        if outcome.result:
            output = [message(self.job_id, moment.superseded, outcome.result, whole=status == "completed")]

        completed_ms = moment.ended_ms if moment.status is JobStatus.COMPLETED else None
        return ResponseObject(
            id=self.job_id,
            created_at=moment.created_ms // 1000,
            completed_at=None if completed_ms is None else completed_ms // 1000,
            status=status,
            background=options.background,
            error=_failure(outcome.error) if status == "failed" else None,
            incomplete_details=IncompleteDetails("max_output_tokens") if status == "incomplete" else None,
            instructions=spec.instructions,
            max_output_tokens=spec.max_tokens,
            metadata=dict(spec.metadata or {}),
            model=f"{outcome.provider}:{outcome.model}" if outcome.provider else self._asked,
            output=output,
            previous_response_id=options.previous_response_id,
            prompt_cache_key=options.prompt_cache_key,
            reasoning={"effort": spec.effort, "summary": None},
            safety_identifier=options.safety_identifier,
            service_tier=options.service_tier,
            store=options.store,
            text=TextSettings(_format(spec, options)),
            temperature=1 if spec.temperature is None else spec.temperature,
            usage=_usage(outcome),
            user=options.user,
            presswork=PressworkDetails(
                cost_usd=outcome.cost_usd,
                passed_over=outcome.passed_over,
                error_type=outcome.error.type if outcome.error else None,
            ),
        )


def show_job(job: JobSnapshot, chain: Sequence[str]) -> ResponseObject:
    """The response that a job is, as its record has it."""
    moment = Moment(
        status=job.status, created_ms=job.created_ms, ended_ms=job.ended_ms, outcome=job.outcome,
        superseded=job.superseded,
    )  # fmt: skip
    return ResponseView(job.id, job.spec, chain).show(moment)


def asked_model(spec: JobSpec, chain: Sequence[str]) -> str:
    """The model that a job named, else the first that may answer it."""
    if spec.model is not None:
        return f"{spec.provider}:{spec.model}" if spec.provider else spec.model
    return (spec.providers or chain)[0]


def status_of(status: JobStatus, outcome: Outcome) -> Status:
    """The status of a response: `incomplete` for a text that was cut at its limit."""
    cut = status is JobStatus.COMPLETED and outcome.finish_reason == _CUT
    return "incomplete" if cut else _STATUSES[status]


def _format(spec: JobSpec, options: ResponseOptions) -> PlainFormat | SchemaFormat:
    if spec.response_schema is None or options.labels is None:
        return PlainFormat()
    labels = options.labels
    return SchemaFormat(
        name=labels.name,
        description=labels.description,
        schema=spec.response_schema,
        strict=bool(labels.strict),
    )


def _failure(error: JobError | None) -> ResponseFailure:
    if error is None:
        return ResponseFailure("server_error", "the job failed")
    code = "invalid_prompt" if error.type in _INVALID else "server_error"
    return ResponseFailure(code, f"{error.type}: {error.message}")


def _usage(outcome: Outcome) -> TokenUsage | None:
    used = outcome.usage
    if used is None:
        return None
    return TokenUsage(
        input_tokens=used.input_tokens,
        input_tokens_details=InputTokensDetails(used.cached_tokens),
        output_tokens=used.output_tokens,
        output_tokens_details=OutputTokensDetails(used.reasoning_tokens or 0),
        total_tokens=used.input_tokens + used.output_tokens,
    )
