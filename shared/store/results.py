"""What the methods of `JobStore` answer."""

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
    """`more`: work was left behind. `server_ms`: Redis's clock at the claim. `next_ms`: when the caller must poll for
    throttled jobs, None when none wait or another worker will. `doubtful`: gates whose calls failed lately: an answered
    call is reported to them."""

    claims: list[Claim]
    more: bool
    server_ms: int
    next_ms: int | None = None
    doubtful: frozenset[str] = frozenset()


class Rerouted(msgspec.Struct, frozen=True):
    """The answer for a job whose call failed before its first token. `go`: run on at `gate`, which holds `reserved`
    tokens for it; `throttled`: the lease is over, a gate has room in `wait_ms`; `stay`: nobody else may answer."""

    state: Literal["go", "throttled", "stay"]
    gate: str
    reserved: int = 0
    wait_ms: int = 0


class CallReport(StrEnum):
    """What became of a call, for its gate."""

    OK = "ok"
    LIMITED = "limited"
    FAILED = "failed"
    REFUSED = "refused"
    NONE = ""


class Renewed(msgspec.Struct, frozen=True):
    """`lost`: tokens whose lease is gone. `cancelled`: job ids whose cancel was requested."""

    lost: frozenset[str]
    cancelled: frozenset[str]
    server_ms: int


class Recovered(msgspec.Struct, frozen=True):
    """`next_ms`: when the next suspicious entry (idle for more than half a lease) goes stale, 0: there is more to do,
    None: there is none. `pending`: how many suspicious entries other workers hold. `unfinished`: whether any job waits
    or runs. `isolated`: jobs that wait for a worker that holds no other, None when another worker looks after all."""

    requeued: int
    failed: int
    next_ms: int | None
    pending: int
    server_ms: int
    unfinished: bool = True
    isolated: int | None = None


class Promoted(msgspec.Struct, frozen=True):
    """`next_ms`: until the next job is due or overdue (0: more are now), None when none is known. `lane_ms`: when the
    caller must look after throttled jobs, None when none wait or another worker will. `heads_ms`: until the first of
    the new jobs is overdue, None when none waits or they were not looked at."""

    promoted: int
    next_ms: int | None
    queue_ms: int | None = None
    heads_ms: int | None = None


class TimedWork(msgspec.Struct, frozen=True):
    """`overdue_ms`: until a job that brought its own deadline is overdue (0: one is), None when there is none.
    `throttled`: whether jobs wait for a gate."""

    overdue_ms: int | None
    throttled: bool


class CancelReply(msgspec.Struct, frozen=True):
    """`cancelled`: ended by this call; `requested`: its worker was told; `ended`: it had ended before, see `status`."""

    state: Literal["cancelled", "requested", "ended"]
    status: JobStatus


class WakeUp(Enum):
    """Why a sleeping worker woke: a job is claimable, a look is due (recovered or delayed work), or time ran out."""

    JOB = "job"
    POLL = "look"
    NONE = ""


class UnreadableJob(msgspec.Struct, frozen=True):
    """A job whose record is damaged, or of another release. `state`: what stands there, empty when nothing does."""

    id: str
    state: str


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first. `cursor` continues; None at the end."""

    jobs: list[JobSnapshot | UnreadableJob]
    cursor: str | None


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """Exact counts of one moment. `queued` includes `delayed` and `throttled` (waiting for a provider's gate);
    `by_queue` splits the rest of it. `unbooked`: ended jobs whose usage is in no sum, as it could not be written."""

    queued: int
    processing: int
    completed: int
    failed: int
    cancelled: int
    delayed: int
    throttled: int
    by_queue: dict[str, int]
    unbooked: int = 0

    @property
    def backlog(self) -> int:
        """Jobs that want a worker now: those that could be claimed and those that run. What to scale workers on."""
        return sum(self.by_queue.values()) + self.processing


class MemoryUse(msgspec.Struct, frozen=True):
    """Bytes the server uses and may use (0: no limit, or it does not tell)."""

    used: int
    limit: int


class GateState(msgspec.Struct, frozen=True, kw_only=True):
    """Of the gate of one provider and model. `closed_ms`: how long it will be closed yet, 0: open; `reason`:
    rate_limited (the provider told us to wait) or unavailable (failures in a row)."""

    provider: str
    model: str
    blocked_ms: int
    reason: str


class Audited(msgspec.Struct, frozen=True):
    """What an audit repaired; `ran` is False when another worker audits."""

    ran: bool
    requeued: int
    consumers_deleted: int
