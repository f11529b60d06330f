"""State changes of a job: made where they are decided, and passed whole to the call of their script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from shared.job import Claim, JobError, JobSpec, JobStatus, Outcome, RetryReason, Spent
from shared.store.results import CallReport

DEADLINE_MS: Final = 86_400_000


class Submit(msgspec.Struct, frozen=True, kw_only=True):
    """A new job. Durations in ms, from the moment Redis takes it.

    `route`: the gates (`provider:model`) it may pass, in order of preference; empty: the fleet's chain.
    `own_deadline`: whether its caller set the deadline; None: when it is another one than `DEADLINE_MS`.
    `idempotency_key` is the client's key; `fingerprint` is a digest of the body it came with.
    """

    id: str
    spec: JobSpec
    route: tuple[str, ...] = ()
    delay_ms: int = 0
    deadline_ms: int = DEADLINE_MS
    own_deadline: bool | None = None
    idempotency_key: str | None = None
    fingerprint: str = ""


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
