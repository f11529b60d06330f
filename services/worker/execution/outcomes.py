"""Decides how a job goes on after its calls. Without I/O."""

from __future__ import annotations

import random
import time
from typing import Final

from services.worker.execution.attempt import Ending, Finish, Interrupted, Parked, Requeue, Run, Stop, Unforeseen
from services.worker.execution.progress import Made, Work
from services.worker.execution.retry_policy import Failure, classify
from services.worker.execution.usage import to_usd
from services.worker.prompting import brief, review
from services.worker.providers import Completion
from shared.chain import split
from shared.job import JobError, JobStatus, Outcome, RetryReason

_chance: Final = random.Random()  # noqa: S311 - jitter of back-off


def ending_of(run: Run, work: Work, made: Made) -> Ending:
    """How the job goes on, by what its calls came to and why they were stopped."""
    if isinstance(made, Parked):
        return made
    if isinstance(made, Completion):
        return _completed(run, work, made)
    if run.stop is Stop.CANCELLED:
        return _finish(run, work, JobStatus.CANCELLED, result=work.deltas.text or None, finish_reason="cancelled")
    failure = _failure(run, run.stop, made)
    if run.stop is Stop.DRAIN or failure.delay_ms is not None:
        return again(run, run.stop, made)
    return _finish(run, work, JobStatus.FAILED, error=failure.error)


def again(run: Run, stop: Stop | None, made: Made) -> Requeue:
    """The job goes back. That can be written also when it is not known how much text is in the log; the script ends a
    job whose cancel was requested, or whose attempts or time are used up."""
    if stop is Stop.DRAIN:
        return Requeue(RetryReason.DRAIN, 0, refund=True, error=None)
    failure = _failure(run, stop, made)
    cause = made.cause if isinstance(made, Unforeseen) else ""
    return Requeue(failure.reason, failure.delay_ms or 0, refund=False, error=failure.error, cause=cause)


def _failure(run: Run, stop: Stop | None, made: Made) -> Failure:
    raised = made if isinstance(made, Exception) else Interrupted()
    if stop is Stop.TIMEOUT:
        # Some libraries turn the cancellation that cut them into an error of their own.
        raised = TimeoutError()
    claim = run.claim
    past_deadline = (claim.deadline_ms - claim.started_ms) / 1000 < claim.spec.timeout_seconds
    return classify(raised, claim.attempt, _chance, past_deadline=past_deadline)


def _completed(run: Run, work: Work, completion: Completion) -> Finish:
    text = work.deltas.text
    metadata = completion.metadata
    if (found := review(brief(run.claim.spec.parameters), text)) is not None:
        metadata = {**(metadata or {}), **found}
    return _finish(
        run, work, JobStatus.COMPLETED, result=text, finish_reason=completion.finish_reason, metadata=metadata
    )


def _finish(
    run: Run,
    work: Work,
    status: JobStatus,
    *,
    result: str | None = None,
    error: JobError | None = None,
    finish_reason: str | None = None,
    metadata: dict[str, object] | None = None,
) -> Finish:
    spent = work.account.spent
    provider, model = split(work.turn.gate)
    outcome = Outcome(
        result=result, error=error, provider=provider or None, model=model or None,
        usage=spent.usage if spent else None, cost_usd=to_usd(spent.cost) if spent else None,
        finish_reason=finish_reason, passed_over=tuple(work.turn.passed_over), metadata=metadata,
    )  # fmt: skip
    run_ms = round((time.monotonic() - run.started_s) * 1000)
    return Finish(status, outcome, work.deltas.number, work.deltas.offset, run_ms)
