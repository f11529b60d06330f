"""Decides how a job goes on after its calls, from how they went, and makes the transition that says so. Without I/O."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from services.worker.execution.attempt import Attempt, Interrupted, StopReason, Unforeseen
from services.worker.execution.attempt_cost import AttemptCost
from services.worker.execution.delta_writer import DeltaWriter
from services.worker.execution.mismatches import fault_of, mismatch_error
from services.worker.execution.retry_policy import Failure, classify
from services.worker.prompting import brief, review
from services.worker.providers import Completion
from shared.chain import split
from shared.job import Claim, JobError, JobStatus, Outcome, PassedOver, RetryReason, Spent
from shared.store.transitions import Finish, Requeue


class Throttled(msgspec.Struct, frozen=True):
    """The job waits for a provider, which may have room in `wait_ms`. The store has written that already."""

    wait_ms: int


class Stopped(msgspec.Struct, frozen=True):
    """The calls were stopped; the stop signal says why."""


CallResult = Completion | Throttled | Stopped | Exception
"""Results of an attempt's calls."""


class Fallback:
    """The place of a job in its chain: the gate it calls, its reservation there, and the providers passed over."""

    def __init__(self, claim: Claim, default: str) -> None:
        self.gate = claim.gate or default
        self.reserved = claim.reserved
        self.passed_over = list(claim.passed_over)
        self.tried = {self.gate}

    def advance(self, gate: str, reserved: int, reason: str) -> None:
        """Go on with another gate that took the job."""
        provider, model = split(self.gate)
        self.passed_over.append(PassedOver(provider=provider, model=model, reason=reason))
        self.gate, self.reserved = gate, reserved
        self.tried.add(gate)


class Progress:
    """Progress of one attempt, changed by its runner alone. `ends_at`: when its time is over (monotonic, s)."""

    __slots__ = ("cost", "deltas", "ends_at", "fallback")

    def __init__(self, claim: Claim, cost: AttemptCost, deltas: DeltaWriter, fallback: Fallback) -> None:
        self.cost = cost
        self.deltas = deltas
        self.fallback = fallback
        to_deadline_s = (claim.deadline_ms - claim.started_ms) / 1000
        self.ends_at = time.monotonic() + min(claim.spec.timeout_seconds, to_deadline_s)


_chance: Final = random.Random()  # noqa: S311 - jitter of back-off


class Abandoned(msgspec.Struct, frozen=True):
    """Nothing may be written: the lease is lost."""


class Decision(msgspec.Struct, frozen=True):
    """Next state of an attempt's job, or none.

    `spent`: all its attempts so far. `wasted`: tokens of this one that bought nothing, by reason. `cause`: the
    unforeseen exception that used the attempt up, as `cause_of` names it.
    """

    transition: Finish | Requeue | Throttled | Abandoned
    spent: Spent | None
    wasted: Mapping[str, int]
    cause: str = ""

    @property
    def writes(self) -> bool:
        """Whether the job's next state is to be written."""
        return not isinstance(self.transition, Abandoned)


def decide(attempt: Attempt, progress: Progress, result: CallResult) -> Decision:
    """Decide by the result of the calls and the reason of their stop, once all that is to be logged is in the log."""
    if isinstance(result, Completion):
        schema = attempt.claim.spec.response_schema
        if schema is not None and (fault := fault_of(schema, progress.deltas.text, result)) is not None:
            return _mismatch(attempt, progress, fault, result)
        return _decision(progress, _completed(attempt, progress, result))
    if isinstance(result, Throttled):
        return _decision(progress, result)

    reason = attempt.signal.reason
    if reason is StopReason.CANCELLED:
        text = progress.deltas.text or None
        cancelled = _finish(attempt, progress, JobStatus.CANCELLED, result=text, finish_reason="cancelled")
        return _decision(progress, cancelled)

    failure = _failure(attempt, reason, result)
    if reason is StopReason.DRAIN or failure.delay_ms is not None:
        return requeue(attempt, progress, reason, result)
    return _decision(progress, _finish(attempt, progress, JobStatus.FAILED, error=failure.error))


def requeue(attempt: Attempt, progress: Progress, reason: StopReason | None, result: CallResult) -> Decision:
    """Release the job, which can also be written when it is not known how much text is in the log.

    The script ends a job whose cancel was requested, or whose attempts or time are used up.
    """
    return _requeue(attempt, reason, result, progress.cost.spent, progress.cost.wasted)


def abandon(progress: Progress) -> Decision:
    """Write nothing: the lease is lost."""
    return _decision(progress, Abandoned())


def replace(decision: Decision, attempt: Attempt, error: Exception) -> Decision:
    """Release the job instead of ending it: writing its end raised `error` again and again."""
    if isinstance(decision.transition, Requeue):
        return decision
    return _requeue(attempt, None, error, decision.spent, decision.wasted)


def _decision(progress: Progress, transition: Finish | Throttled | Abandoned) -> Decision:
    return Decision(transition, progress.cost.spent, progress.cost.wasted)


def _requeue(
    attempt: Attempt, reason: StopReason | None, result: CallResult, spent: Spent | None, wasted: Mapping[str, int]
) -> Decision:
    if reason is StopReason.DRAIN:
        release = Requeue(attempt.claim, RetryReason.DRAIN, delay_ms=0, refund=True, spent=spent)
        return Decision(release, spent, wasted)

    failure = _failure(attempt, reason, result)
    retry = Requeue(
        attempt.claim, failure.reason, delay_ms=failure.delay_ms or 0, refund=False, error=failure.error, spent=spent
    )
    return Decision(retry, spent, wasted, result.cause if isinstance(result, Unforeseen) else "")


def _failure(attempt: Attempt, reason: StopReason | None, result: CallResult) -> Failure:
    raised = result if isinstance(result, Exception) else Interrupted()
    if reason is StopReason.TIMEOUT:
        # Some libraries turn the cancellation that cut them into an error of their own.
        raised = TimeoutError()
    claim = attempt.claim
    past_deadline = (claim.deadline_ms - claim.started_ms) / 1000 < claim.spec.timeout_seconds
    return classify(raised, claim.attempt, _chance, past_deadline=past_deadline)


def _completed(attempt: Attempt, progress: Progress, completion: Completion) -> Finish:
    text, metadata = progress.deltas.text, completion.metadata
    spec = attempt.claim.spec
    if spec.response_schema is None and (found := review(brief(spec.parameters), text)) is not None:
        metadata = {**(metadata or {}), **found}
    return _finish(
        attempt, progress, JobStatus.COMPLETED,
        result=text, finish_reason=completion.finish_reason, metadata=metadata,
    )  # fmt: skip


def _mismatch(attempt: Attempt, progress: Progress, fault: str, completion: Completion) -> Decision:
    """Release a job whose text does not fit its schema, for the one repair, which uses up no attempt. After that it
    fails."""
    claim, error = attempt.claim, mismatch_error(fault, repaired=bool(attempt.claim.mismatch))
    progress.cost.waste("schema_mismatch", completion.usage)
    if claim.mismatch:
        reason = completion.finish_reason
        return _decision(progress, _finish(attempt, progress, JobStatus.FAILED, error=error, finish_reason=reason))

    repair = Requeue(
        claim, RetryReason.SCHEMA_MISMATCH, delay_ms=0, refund=True, error=error, spent=progress.cost.spent,
        mismatch=fault,
    )  # fmt: skip
    return Decision(repair, progress.cost.spent, progress.cost.wasted)


def _finish(
    attempt: Attempt,
    progress: Progress,
    status: JobStatus,
    *,
    result: str | None = None,
    error: JobError | None = None,
    finish_reason: str | None = None,
    metadata: dict[str, object] | None = None,
) -> Finish:
    spent, deltas, fallback = progress.cost.spent, progress.deltas, progress.fallback
    provider, model = split(fallback.gate)
    outcome = Outcome(
        result=result, error=error, provider=provider or None, model=model or None,
        usage=spent.usage if spent else None, cost_usd=spent.cost_usd if spent else None,
        finish_reason=finish_reason, passed_over=tuple(fallback.passed_over), metadata=metadata,
    )  # fmt: skip
    run_ms = round((time.monotonic() - attempt.started_s) * 1000)
    return Finish(attempt.claim, status, outcome, number=deltas.number, offset=deltas.offset, run_ms=run_ms)
