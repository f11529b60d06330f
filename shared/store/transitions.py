"""State changes of a claimed job: made where they are decided, and passed whole to the call of their script."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.job import Claim, JobError, JobStatus, Outcome, RetryReason, Spent
from shared.store.results import CallReport


class Finish(msgspec.Struct, frozen=True):
    """The job ends. `number`: the last delta appended (1: none); `offset`: characters of the result they hold;
    `run_ms`: from claim to now."""

    claim: Claim
    status: JobStatus
    outcome: Outcome
    number: int
    offset: int
    run_ms: int


class Requeue(msgspec.Struct, frozen=True):
    """The job waits again, for `delay_ms`. `refund`: the attempt is given back; `spent`: the cost of all attempts so
    far, this one too."""

    claim: Claim
    reason: RetryReason
    delay_ms: int
    refund: bool
    error: JobError | None = None
    spent: Spent | None = None


class Reroute(msgspec.Struct, frozen=True):
    """A call at `gate` failed before its first token. `candidates`: gates that may take the job instead, in order;
    `chain`: all that may run it, `gate` and the candidates when it is empty."""

    claim: Claim
    gate: str
    report: CallReport
    retry_after_ms: int | None
    candidates: Sequence[str]
    chain: Sequence[str] = ()
    spent: Spent | None = None
