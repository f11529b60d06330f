"""Results of the methods of `JobStore`."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Literal

import msgspec

from shared.job import Claim, JobSnapshot, JobStatus


class Submitted(msgspec.Struct, frozen=True):
    """`created` is False when an idempotency key (or a repeated call) answered a job that was there before."""

    job_id: str
    created: bool
    status: JobStatus


class Claimed(msgspec.Struct, frozen=True):
    """Result of a claim. `more`: work was left behind. `server_ms`: Redis's clock at the claim. `next_ms`: ms until the
    caller must poll for throttled jobs, None when none wait or another worker will. `doubtful`: gates whose calls
    failed lately: to these an answered call is reported."""

    claims: list[Claim]
    more: bool
    server_ms: int
    next_ms: int | None = None
    doubtful: frozenset[str] = frozenset()


class Rerouted(msgspec.Struct, frozen=True):
    """Decision on a job whose call failed before its first token. `go`: run on at `gate`, which holds `reserved` tokens
    for it, and where the call may cost `bound` (nano-USD, None: anything); `throttled`: the lease is over, a gate or
    the budget has room in `wait_ms`; `stay`: no other gate may answer."""

    state: Literal["go", "throttled", "stay"]
    gate: str
    reserved: int = 0
    wait_ms: int = 0
    bound: int | None = None


class CallReport(StrEnum):
    """Result of a call, for its gate."""

    OK = "ok"
    LIMITED = "limited"
    FAILED = "failed"
    REFUSED = "refused"
    NONE = ""


class Renewed(msgspec.Struct, frozen=True):
    """Result of a renewal. `lost`: tokens whose lease is gone. `cancelled`: job ids whose cancel was requested.
    `drain`: the worker is to claim nothing more; `registered`: its entry is there."""

    lost: frozenset[str]
    cancelled: frozenset[str]
    server_ms: int
    drain: bool = False
    registered: bool = True


class Recovered(msgspec.Struct, frozen=True):
    """Result of a recovery. `next_ms`: ms until the next suspicious entry (idle for more than half a lease) goes stale,
    0: there is more to do, None: there is none. `pending`: number of suspicious entries that other workers hold.
    `unfinished`: whether any job waits or runs. `isolated`: number of isolated jobs that wait, None when another worker
    searches for all."""

    requeued: int
    failed: int
    next_ms: int | None
    pending: int
    server_ms: int
    unfinished: bool = True
    isolated: int | None = None


class Promoted(msgspec.Struct, frozen=True):
    """Result of a promotion. `next_ms`: ms until the next job is due or overdue (0: more are now), None when none is
    known. `queue_ms`: ms until the caller must poll for throttled jobs, None when none wait or another worker will.
    `heads_ms`: ms until the first of the new jobs is overdue, None when none waits or they were not checked."""

    promoted: int
    next_ms: int | None
    queue_ms: int | None = None
    heads_ms: int | None = None


class TimedWork(msgspec.Struct, frozen=True):
    """Work at a time. `overdue_ms`: ms until a job with a deadline of its own is overdue (0: one is), None when there
    is none. `throttled`: whether jobs wait for a gate."""

    overdue_ms: int | None
    throttled: bool


class CancelReply(msgspec.Struct, frozen=True):
    """Result of a cancel request. `cancelled`: ended by this call; `requested`: its worker was notified; `ended`: it
    had ended before, see `status`."""

    state: Literal["cancelled", "requested", "ended"]
    status: JobStatus


class WakeUp(Enum):
    """Reason why a waiting worker woke: a job is claimable, a poll is due (recovered or delayed work), or time ran
    out."""

    JOB = "job"
    POLL = "look"
    NONE = ""


class UnreadableJob(msgspec.Struct, frozen=True):
    """A job whose record is damaged, or of another release. `state`: the record's text, empty when it has none."""

    id: str
    state: str


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first. `cursor` continues; None at the end."""

    jobs: list[JobSnapshot | UnreadableJob]
    cursor: str | None


class JobCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Exact counts of one moment (I3). The first five add up to all jobs; `delayed` is a part of `queued`."""

    queued: int
    processing: int
    completed: int
    failed: int
    cancelled: int
    delayed: int


class QueueStats(JobCounts, frozen=True, kw_only=True):
    """Counts of all jobs. `throttled` (waiting for a provider's gate) is a part of `queued` too; `by_queue` splits its
    rest. `unbooked`: ended jobs whose usage is in no sum, as it could not be written. `held`: of `by_queue`, jobs
    that no worker may claim now: the queue is paused, or their organisation is held."""

    throttled: int
    by_queue: dict[str, int]
    unbooked: int = 0
    held: int = 0

    @property
    def backlog(self) -> int:
        """Jobs that need a worker now: claimable and running ones. The figure to scale workers on."""
        return sum(self.by_queue.values()) - self.held + self.processing


class WaitReason(StrEnum):
    """Reason why a queued job waits. `queued`: for a free slot; `fair_share`: its organisation has its share of them;
    `delayed`: until it is due; `rate_limited`, `provider_down`: for a gate; `paused`, `organization_limit`, `budget`:
    its organisation may start none now."""

    QUEUED = "queued"
    FAIR_SHARE = "fair_share"
    DELAYED = "delayed"
    RATE_LIMITED = "rate_limited"
    PROVIDER_DOWN = "provider_down"
    PAUSED = "paused"
    BUDGET = "budget"
    ORGANIZATION_LIMIT = "organization_limit"


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A queued job's reason to wait. `gate`: `provider:model` that it waits for; `until_ms`: time before which it
    cannot start (ms since the epoch); `ahead`: jobs of its own organisation that go first. None: not known, or of no
    meaning."""

    reason: WaitReason
    gate: str | None = None
    until_ms: int | None = None
    ahead: int | None = None


class MemoryUse(msgspec.Struct, frozen=True):
    """Bytes the server uses and may use (0: no limit, or it does not say)."""

    used: int
    limit: int


class GateState(msgspec.Struct, frozen=True, kw_only=True):
    """State of the gate of one provider and model. `blocked_ms`: ms until it is available again, 0: it is; `reason`:
    rate_limited (the provider asked to wait) or unavailable (failures in a row)."""

    provider: str
    model: str
    blocked_ms: int
    reason: str


class Audited(msgspec.Struct, frozen=True):
    """Result of an audit; `ran` is False when another worker audits."""

    ran: bool
    requeued: int
    consumers_deleted: int


class BudgetReached(msgspec.Struct, frozen=True):
    """A budget of which `percent` (80 or 100) have been spent, for the first time in its `period` (month or day).
    Amounts in nano-USD. `project_id`: whose budget it is, None: the organisation's."""

    organization_id: str
    period: str
    percent: int
    spent: int
    allowed: int
    project_id: str | None = None
