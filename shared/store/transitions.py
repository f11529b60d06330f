"""State changes of a job: made where they are decided, and passed whole to the call of their script.

Each makes the `item` that its script takes (`engine/items.py`), and knows how to `read` the script's reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from shared.chain import split
from shared.errors import (
    BudgetExceeded,
    IdempotencyConflict,
    JobNotFound,
    LeaseLost,
    OrganizationLimited,
    OrganizationPaused,
    UserBlocked,
)
from shared.job import NANO, Claim, JobError, JobSnapshot, JobSpec, JobStatus, Outcome, RetryReason, Spent
from shared.store.engine.items import FinishItem, RequeueItem, RerouteItem, SubmitItem
from shared.store.keys import Keys, encode_id
from shared.store.reading import records, usage
from shared.store.results import CallReport, Rerouted, Submitted

DEADLINE_MS: Final = 86_400_000

KEY_SLACK_MS: Final = 7_200_000
"""So much longer than its job's record an idempotency key is remembered."""

LIMIT_RETRY_MS: Final = 5000
"""Of a limit that no clock ends."""

_STATES: Final[dict[str, JobStatus]] = {status.value: status for status in JobStatus}
"""States of a job that a repeated submit found; a state that this release does not know counts as waiting."""

_encode: Final = msgspec.json.Encoder().encode


def _refused(refusal: str) -> BudgetExceeded | OrganizationLimited | OrganizationPaused | UserBlocked:
    """Read a refusal of submit.lua: `paused`, `user`, `budget <period, or job> <ms to the next period> <project>`, or
    `<limit> <its value> <ms until there is room>`. The project only if it is its budget, the ms of a limit only where a
    clock ends it."""
    limit, *numbers = refusal.split()

    if limit == "budget":
        return BudgetExceeded(numbers[0], int(numbers[1]) / 1000, numbers[2] if numbers[2:] else None)
    if limit == "paused":
        return OrganizationPaused("an operator paused the organisation")
    if limit == "user":
        return UserBlocked("an operator blocked this user")

    quota, left_ms = (*map(int, numbers), LIMIT_RETRY_MS)[:2]
    return OrganizationLimited(limit, quota, left_ms / 1000)


class RetryOf(msgspec.Struct, frozen=True):
    """The job that a new one is the retry of, and the task that redrives it, if one does."""

    ended: JobSnapshot
    task: str = ""


class Submit(msgspec.Struct, frozen=True, kw_only=True):
    """A new job. Durations in ms, from the moment Redis takes it.

    `route`: the gates (`provider:model`) it may pass, in order of preference; empty: the fleet's chain.
    `own_deadline`: whether its caller set the deadline; None: when it is another one than `DEADLINE_MS`.
    `idempotency_key` is the client's key; `fingerprint` is a digest of the body it came with. `retry`: of which job it
    is the one retry.
    """

    id: str
    spec: JobSpec
    route: tuple[str, ...] = ()
    delay_ms: int = 0
    deadline_ms: int = DEADLINE_MS
    own_deadline: bool | None = None
    idempotency_key: str | None = None
    fingerprint: str = ""
    retry: RetryOf | None = None

    def item(self, result_ttl_ms: int) -> tuple[SubmitItem, int]:
        """Of submit.lua, and its size in bytes. `result_ttl_ms`: how long an ended job's record is kept."""
        spec, body = self.spec, _encode(self.spec)
        own = self.deadline_ms != DEADLINE_MS if self.own_deadline is None else self.own_deadline

        key, key_ttl_ms = "", 0
        if self.idempotency_key is not None:
            key = Keys.idempotency(spec.organization_id, self.idempotency_key)
            key_ttl_ms = self.delay_ms + self.deadline_ms + result_ttl_ms + KEY_SLACK_MS

        retry = self.retry
        item = SubmitItem(
            job=self.id, organization=encode_id(spec.organization_id), spec=body, queue=spec.priority[0],
            delay=self.delay_ms, deadline=self.deadline_ms, max_attempts=spec.max_attempts,
            route=" ".join(self.route), max_tokens=spec.max_tokens or "", idempotency=key,
            fingerprint=self.fingerprint, idempotency_ttl=key_ttl_ms, own_deadline=int(own),
            max_cost="" if spec.max_cost_usd is None else round(spec.max_cost_usd * NANO),
            ended=retry.ended.id if retry else "", kept=_encode(_without_texts(retry.ended.spec)) if retry else b"",
            task=retry.task if retry else "",
        )  # fmt: skip
        return item, len(body)

    def read(self, reply: Sequence[bytes]) -> Submitted:
        """The job that is queued now, or was before. IdempotencyConflict, BudgetExceeded, OrganizationLimited,
        OrganizationPaused, UserBlocked; JobNotFound: the job to retry is gone."""
        code, job_id, state = reply[0].decode(), reply[1].decode(), reply[2].decode()
        if code == "CONFLICT":
            raise IdempotencyConflict("this idempotency key came with another body before")
        if code == "LIMIT":
            refusal = _refused(state)
            refusal.organization_id = self.spec.organization_id
            raise refusal
        if code == "GONE":
            raise JobNotFound(job_id)
        return Submitted(job_id, code == "NEW", _STATES.get(state, JobStatus.QUEUED))


class Finish(msgspec.Struct, frozen=True):
    """The job ends. `number`: the last delta appended (1: none); `offset`: characters of the result they hold;
    `run_ms`: from claim to now."""

    claim: Claim
    status: JobStatus
    outcome: Outcome
    number: int
    offset: int
    run_ms: int

    def item(self) -> tuple[FinishItem, int]:
        """Of finish.lua, and its size in bytes."""
        claim, outcome, number = self.claim, self.outcome, self.number
        has_tail = outcome.result is not None and self.offset < len(outcome.result)
        body, kept = _encode(outcome), _encode(_kept(claim.spec, self.status))
        brief = _encode(msgspec.structs.replace(outcome, result=None)) if len(body) >= records.BRIEF_FROM else b""

        item = FinishItem(
            consumer=claim.consumer, job=claim.job_id, organization=encode_id(claim.spec.organization_id),
            token=claim.token, status=self.status, outcome=body, number=number, offset=self.offset,
            final=number + 1 + int(has_tail), ended=claim.started_ms + self.run_ms, spec=kept,
            usage=_used(claim, outcome), brief=brief, logged=int(claim.logged), capped=int(claim.capped),
            budgeted=int(claim.budgeted), retained=int(claim.retained), waited=claim.waited_ms, ran=self.run_ms,
        )  # fmt: skip
        return item, len(body) + len(kept)

    def read(self, reply: bytes) -> None:
        """Return when the job ended so, now or by an earlier call. LeaseLost."""
        if reply not in (b"OK", b"ALREADY"):
            raise LeaseLost(self.claim.job_id)


class Requeue(msgspec.Struct, frozen=True):
    """The job waits again, for `delay_ms`. `refund`: the attempt is given back; `spent`: the cost of all attempts so
    far, this one too; `mismatch`: see `Claim`."""

    claim: Claim
    reason: RetryReason
    delay_ms: int
    refund: bool
    error: JobError | None = None
    spent: Spent | None = None
    mismatch: str = ""

    def item(self) -> RequeueItem:
        """Of requeue.lua."""
        claim, spent = self.claim, self.spent
        failure = self.error or JobError(type="GaveUp", message="the job was released too often")
        outcome = _ended_after(failure, claim, spent)
        return RequeueItem(
            consumer=claim.consumer, job=claim.job_id, token=claim.token, queue=claim.spec.priority[0],
            reason=self.reason, delay=self.delay_ms, refund=int(self.refund), outcome=_encode(outcome),
            spent=_encode(spent) if spent else b"", usage=_used(claim, outcome), waited=claim.waited_ms,
            mismatch=self.mismatch,
        )  # fmt: skip

    def read(self, reply: Sequence[bytes]) -> JobStatus:
        """The job's state: QUEUED, or an end. LeaseLost."""
        if reply[0] == b"LOST":
            raise LeaseLost(self.claim.job_id)
        return JobStatus(reply[1].decode())


class Reroute(msgspec.Struct, frozen=True):
    """A call at `gate` failed before its first token. `candidates`: gates that may take the job instead, in order;
    `chain`: all that may run it, `gate` and the candidates when it is empty. `retry_after_ms`: None: the provider did
    not say."""

    claim: Claim
    gate: str
    report: CallReport
    retry_after_ms: int | None
    candidates: Sequence[str]
    chain: Sequence[str] = ()
    spent: Spent | None = None

    def item(self) -> RerouteItem:
        """Of reroute.lua."""
        claim, spent = self.claim, self.spent
        chain = self.chain or (self.gate, *self.candidates)
        return RerouteItem(
            consumer=claim.consumer, job=claim.job_id, token=claim.token, queue=claim.spec.priority[0], gate=self.gate,
            report=self.report, retry=-1 if self.retry_after_ms is None else self.retry_after_ms,
            candidates=" ".join(self.candidates), route=" ".join(chain), spent=_encode(spent) if spent else b"",
            token_limit=claim.token_limit,
        )  # fmt: skip

    def read(self, reply: tuple[bytes, bytes, int, bytes]) -> Rerouted:
        """The gate that took the job, or its wait. LeaseLost."""
        code, name, number = reply[0].decode(), reply[1].decode(), int(reply[2])
        if code == "LOST":
            raise LeaseLost(self.claim.job_id)
        if code == "GO":
            return Rerouted("go", name, reserved=number, bound=int(reply[3]) if reply[3] else None)
        if code == "THROTTLED":
            return Rerouted("throttled", name, wait_ms=number)
        return Rerouted("stay", self.gate)


def _kept(spec: JobSpec, status: JobStatus) -> JobSpec:
    """The part of an ended job's spec that its record keeps: one that can be retried or continued keeps its prompt."""
    return spec if status is not JobStatus.COMPLETED or spec.stored else _without_texts(spec)


def _without_texts(spec: JobSpec) -> JobSpec:
    schema = spec.response_schema if spec.response else None  # a response shows it for as long as it lives
    return msgspec.structs.replace(
        spec, prompt="", parameters={}, turns=None, instructions=None, response_schema=schema
    )


def _used(claim: Claim, outcome: Outcome) -> str:
    return usage.line(claim.spec.organization_id, claim.spec.project_id, outcome)


def _ended_after(failure: JobError, claim: Claim, spent: Spent | None) -> Outcome:
    """The end of a job whose tries are used up, with their cost."""
    if spent is None:
        return Outcome(error=failure)
    provider, model = split(claim.gate)
    return Outcome(error=failure, provider=provider, model=model, usage=spent.usage, cost_usd=spent.cost_usd)
