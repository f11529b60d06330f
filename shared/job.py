"""Jobs as data: their specification, their states, and the views that workers and readers have. Pure, no I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from shared.conversation import Turn
from shared.past_lease import PastLease
from shared.response_options import ResponseOptions

SUSPECT_LOSSES: Final = 2
ISOLATED_LOSSES: Final = 3
"""Losses of a worker from which on a job is isolated, more and more (`queue_after` in `lua/include/lease.lua`)."""

ParameterValue = str | int | float | bool | list[str | int | float | bool]


class JobStatus(StrEnum):
    """The five public states. The last three are terminal: nothing follows them (I2).

    A queued job ends without a worker when it is cancelled, or its deadline or its tries are over; a processing one
    goes back to queued when it is to be tried again.
    """

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self in TERMINAL


TERMINAL: Final = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


class Priority(StrEnum):
    """The priority by which a job is queued."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Effort(StrEnum):
    """Amount of thinking by a model before it writes."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class RetryReason(StrEnum):
    """Why a job went back to the queue; the `reason` of a `retrying` event."""

    ERROR = "error"
    WORKER_LOST = "worker_lost"
    DRAIN = "drain"
    RATE_LIMITED = "rate_limited"
    SCHEMA_MISMATCH = "schema_mismatch"


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The customer's request; immutable, stored as JSON in the job's record.

    `timeout_seconds` bounds one attempt, `max_attempts` the attempts that count. `providers`: the job's own chain of
    `provider:model` names in order of preference, instead of the fleet's. `effort`: None: as little as the model can.
    `max_cost_usd` bounds all attempts together. `turns`: the messages that `prompt` is made of; None: it is one of the
    user. `instructions`: beside those of the platform. `response`: of a job that came through `/v1/responses`.
    `response_schema`: the JSON Schema of its result, within the bounds of `shared/response_schema`; None: plain text.
    """

    project_id: str
    user_id: str
    organization_id: str
    prompt: str
    parameters: dict[str, ParameterValue] = {}
    priority: Priority = Priority.NORMAL
    provider: str | None = None
    model: str | None = None
    max_tokens: int | None = None
    providers: list[str] | None = None
    temperature: float | None = None
    effort: Effort | None = None
    timeout_seconds: float = 300.0
    max_attempts: int = 3
    max_cost_usd: float | None = None
    metadata: dict[str, object] | None = None
    retry_of: str | None = None
    traceparent: str | None = None
    turns: list[Turn] | None = None
    instructions: str | None = None
    response: ResponseOptions | None = None
    response_schema: dict[str, object] | None = None

    @property
    def stored(self) -> bool:
        """Whether its request is kept for as long as its record: a later response may continue it."""
        return self.response is not None and self.response.store


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The right to run one job once: made by `JobStore.claim` alone, every worker transition takes one.

    `token` is the lease: the letter of a stream and the entry's id; it has one life (docs/adr/0015). `consumer` is the
    worker it was made for. `attempt` is a count from 1 and proves nothing. Times are Redis's clock, ms since 1970.
    `losses`: how often the job lost its worker, as far as that counts. `gate`: the `provider:model` that has room for
    it, `reserved` its tokens there; `route`: the job's own chain, () for the fleet's; `passed_over`: the gates before
    it in the chain that had none. `spent`: cost of earlier attempts, without `lost_bytes` of text that were lost with
    their workers. `before`: the last of the job's earlier leases that ended in a requeue. `logged`: the log has events
    of earlier leases; `capped`: its organisation has a cap on running jobs.
    `bound`: nano-USD that the attempt may cost, None: anything; `budgeted`: its organisation has reserved that.
    `mismatch`: why the text of an earlier attempt did not fit its schema: this one repairs it; empty: none was written.
    `token_limit`: tokens a minute of its organisation at each gate; 0: no limit. `retained`: its organisation has a
    retention of its own.
    """

    job_id: str
    token: str
    consumer: str
    spec: JobSpec
    attempt: int
    created_ms: int
    ready_ms: int
    started_ms: int
    deadline_ms: int
    losses: int = 0
    gate: str = ""
    route: tuple[str, ...] = ()
    reserved: int = 0
    passed_over: tuple[PassedOver, ...] = ()
    spent: Spent | None = None
    lost_bytes: int = 0
    before: PastLease | None = None
    logged: bool = False
    capped: bool = False
    bound: int | None = None
    budgeted: bool = False
    mismatch: str = ""
    token_limit: int = 0
    retained: bool = False

    @property
    def waited_ms(self) -> int:
        """Time from its submit, or from its due time, to its start, in ms."""
        return max(self.started_ms - self.ready_ms, 0)

    @property
    def suspect(self) -> bool:
        """Whether it may be the job that ended its workers: it lost two."""
        return self.losses >= SUSPECT_LOSSES

    @property
    def isolated(self) -> bool:
        """Whether it runs alone in its worker: it lost three, and no other job may cause a fourth loss."""
        return self.losses >= ISOLATED_LOSSES


class Usage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Tokens of one call. `estimated` when the provider did not report them. `reasoning_tokens`: the part of the output
    that was thought and is in no text; left out where it is unknown."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    estimated: bool = False
    reasoning_tokens: int | msgspec.UnsetType = msgspec.UNSET


def reasoning(tokens: int) -> int | msgspec.UnsetType:
    """The value for `Usage.reasoning_tokens`: left out when it is 0."""
    return tokens or msgspec.UNSET


NANO: Final = 10**9
"""Nano-USD in a USD: costs are counted in whole ones."""


class Spent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Cost of a job's attempts so far. `cost` in nano-USD (1e-9 USD), None when a part of it is unknown."""

    usage: Usage
    cost: int | None

    @property
    def cost_usd(self) -> float | None:
        """The cost in USD: exact to the nano for sums below 9 million USD."""
        return None if self.cost is None else self.cost / NANO


class PassedOver(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that came earlier in the chain and did not answer. `reason`: limit (our own), organization_limit
    (its organisation's own), rate_limited (the provider asked to wait), unavailable (too many failures in a row), or
    the type of its error."""

    provider: str
    model: str
    reason: str


class JobError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job or an attempt failed, in our own words, never the provider's. Safe to show."""

    type: str
    message: str
    retryable: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The end of a job; stored as JSON, part of the terminal event and of job-status.

    `result` is the whole text (of a cancelled job: the text so far). `usage` and `cost_usd` are those of all attempts
    together, None when unknown. `passed_over`: providers before `provider` in the chain, and why they did not answer.
    """

    result: str | None = None
    error: JobError | None = None
    provider: str | None = None
    model: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    finish_reason: str | None = None
    passed_over: tuple[PassedOver, ...] = ()
    metadata: dict[str, object] | None = None


class JobSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A job's state at one moment, from its record. Times are Redis's clock, ms since the epoch. `superseded`: leases
    that had logged text before they ended in a requeue. `retried_as`: the job that is its retry."""

    id: str
    organization_id: str
    status: JobStatus
    spec: JobSpec
    attempt: int
    created_ms: int
    deadline_ms: int
    started_ms: int | None = None
    ended_ms: int | None = None
    next_attempt_ms: int | None = None
    cancel_requested: bool = False
    retried_as: str | None = None
    outcome: Outcome | None = None
    superseded: int = 0
