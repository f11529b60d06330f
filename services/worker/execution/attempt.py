"""One claimed job on one slot: the claim, the signal that stops it, and how it ends."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import msgspec

from shared.errors import Overloaded, StoreFull, StoreUnavailable
from shared.job import Claim, JobError, JobStatus, Outcome, RetryReason
from shared.telemetry.causes import cause_of

if TYPE_CHECKING:
    from services.worker.execution.progress import Work

PASSING: Final = (StoreUnavailable, StoreFull, Overloaded)
"""Refusals of the store that end by themselves: what was refused is repeated."""

STEP_MOST_S: Final = 10.0
DRAIN_GRACE_S: Final = 0.5
"""A run that is to be handed back gets no more: the whole drain has little over a second for it."""


def step_s(lease_s: float) -> float:
    """How long one step of a run may take, and how long a run that is cut may take to notice, in s: a third of a lease
    at most, so that an attempt that hangs ends within its time-out plus a lease (I12)."""
    return min(lease_s / 3, STEP_MOST_S)


class Stop(Enum):
    """Why a run is stopped before its end."""

    CANCELLED = "cancelled"  # the customer's wish
    LOST = "lost"  # the lease is gone or too old: stop paying
    DRAIN = "drain"  # the worker leaves
    TIMEOUT = "timeout"  # the attempt or the job took too long
    BROKEN = "broken"  # its text cannot be logged


class Finish(msgspec.Struct, frozen=True):
    """The job ends. `number` and `offset` as in `JobStore.finish`; `run_ms` from claim to now."""

    status: JobStatus
    outcome: Outcome
    number: int
    offset: int
    run_ms: int


class Requeue(msgspec.Struct, frozen=True):
    """The job goes back. `cause`: the exception that nobody foresaw, as `cause_of` tells it."""

    reason: RetryReason
    delay_ms: int
    refund: bool
    error: JobError | None
    cause: str = ""


class Parked(msgspec.Struct, frozen=True):
    """The job waits in the lane of a gate, which opens in `wait_ms`. That is written already."""

    wait_ms: int


Ending = Finish | Requeue | Parked


class Interrupted(Exception):
    """A step was cut: the run is to stop, the step took too long, or the run was taken from its task."""


class Unforeseen(Exception):
    """Stands for an exception that is not for our words; `cause` is all that is kept of it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.cause = cause_of(error)


class StopSignal:
    """Says why a run is to stop, and interrupts the step its task is in. `step` is the one place where a cancellation
    of an attempt is asked for and taken back.

    `owner`: the task whose steps these are. `reason`: None until the run is to stop. A signal that was
    `revoked` lets no step end well: its task is given up.
    """

    __slots__ = ("_cut_at", "_stoppable", "_task", "_until", "_watch", "grace_s", "owner", "reason", "revoked")

    def __init__(self, begin_by: float, grace_s: float) -> None:
        """`begin_by` (monotonic, s): when the first step must have begun. `grace_s`: see `step_s`."""
        self.reason: Stop | None = None
        self.revoked = False
        self.grace_s = grace_s
        self._until = begin_by
        self._cut_at = math.inf
        self.owner: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._stoppable = False
        self._watch: Callable[[float], bool] | None = None

    def step(self, until: float, *, stoppable: bool = False, watch: Callable[[float], bool] | None = None) -> Self:
        """`with signal.step(until):` around whatever an attempt awaits, or its awaits in a row. Interrupted when it was
        cut: at `until` (monotonic, s), by a stop if it is `stoppable`, or once `watch(now)` answers True."""
        self._until, self._stoppable, self._watch = until, stoppable, watch
        return self

    def __enter__(self) -> Self:
        if self.revoked or (self._stoppable and self.reason is not None):
            raise Interrupted
        self._task = self.owner
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task, self._watch = self._task, None, None
        if error is None and self._cut_at == math.inf and not self.revoked:
            return
        cut, self._cut_at = self._cut_at < math.inf, math.inf
        # Also what others asked for: the error says it, the task goes on and settles the job.
        while task is not None and task.cancelling():
            task.uncancel()
        # Some libraries turn the cancellation that cut them into an error of their own.
        if self.revoked or (cut and error is not None and not isinstance(error, GeneratorExit)):
            raise Interrupted from None

    def hasten(self, until: float) -> None:
        """The step must end by then at the latest."""
        self._until = min(self._until, until)

    def halt(self, why: Stop) -> None:
        """Stop the run; the first reason counts, except that a lost lease overrules all."""
        if self.reason is None or why is Stop.LOST:
            self.reason = why
            if self._stoppable:
                self._cut()

    def _cut(self) -> None:
        if self._task is not None and self._cut_at == math.inf:
            self._cut_at = time.monotonic()
            self._task.cancel()

    def look(self, now: float) -> bool:
        """Cut a step that is overdue. True: the task is stuck, it was cut and does not leave its step."""
        if self._task is None:
            return now >= self._until + self.grace_s  # it has not begun, or never ended
        if self._cut_at == math.inf and (now >= self._until or (self._watch is not None and self._watch(now))):
            self._cut()
        return now >= self._cut_at + (DRAIN_GRACE_S if self.reason is Stop.DRAIN else self.grace_s)

    def revoke(self) -> None:
        """Take the run from its task, which may write nothing any more, whenever it wakes."""
        self.reason = Stop.LOST
        self.revoked = True


class Run:
    """A claim, the signal that stops the run, and the task that works on it.

    `work`: what came of it so far, the runner's. `ending`: how it is to end, once that is decided. `taken`: its task
    did not end when it should, another one settles the job.
    """

    __slots__ = ("claim", "ending", "signal", "started_s", "taken", "task", "work")

    def __init__(self, claim: Claim, now_s: float, grace_s: float) -> None:
        self.claim = claim
        self.started_s = now_s
        self.signal = StopSignal(now_s + grace_s, grace_s)
        self.task: asyncio.Task[None] | None = None
        self.work: Work | None = None
        self.ending: Ending | None = None
        self.taken = False

    @property
    def stop(self) -> Stop | None:
        """Why it is to stop."""
        return self.signal.reason

    def halt(self, why: Stop) -> None:
        """See `StopSignal.halt`."""
        self.signal.halt(why)
