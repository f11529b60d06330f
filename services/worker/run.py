"""One claimed job on one slot: the run itself, why it may be stopped, and how it ends."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TYPE_CHECKING, Final

import msgspec

from shared.errors import Overloaded, StoreFull, StoreUnavailable
from shared.job import Claim, JobError, JobStatus, Outcome, RetryReason

if TYPE_CHECKING:
    from services.worker.account import Account
    from services.worker.call import Call

PASSING: Final = (StoreUnavailable, StoreFull, Overloaded)
"""Refusals of the store that end by themselves: what was refused is repeated."""


class Stop(Enum):
    """Why a run is stopped before its end."""

    CANCELLED = "cancelled"  # the customer's wish
    LOST = "lost"  # the lease is gone or too old: stop paying
    DRAIN = "drain"  # the worker leaves
    TIMEOUT = "timeout"  # the attempt or the job took too long


class Finish(msgspec.Struct, frozen=True):
    """The job ends. `number` and `offset` as in `JobStore.finish`; `run_ms` from claim to now."""

    status: JobStatus
    outcome: Outcome
    number: int
    offset: int
    run_ms: int


class Requeue(msgspec.Struct, frozen=True):
    """The job goes back."""

    reason: RetryReason
    delay_ms: int
    refund: bool
    error: JobError | None


class Parked(msgspec.Struct, frozen=True):
    """The job waits in the lane of a gate, which opens in `wait_ms`. That is written already."""

    wait_ms: int


Ending = Finish | Requeue | Parked


class Run:
    """A claim and the task that works on it.

    `has_slot` until its text is done; `call`: the one under way; only then a stop interrupts the task.
    `close_log` waits for the append in flight and stops new ones; `number`, the last event of this lease in the log, is
    final then. `renewable` is False once the run is given up for stuck. `account`: what its calls cost.
    `ends_at_s`: when its time is over (monotonic clock).
    """

    __slots__ = (
        "account", "call", "claim", "close_log", "ends_at_s", "has_slot", "number", "renewable",
        "started_s", "stop", "task",
    )  # fmt: skip

    def __init__(self, claim: Claim, now_s: float) -> None:
        self.claim = claim
        self.started_s = now_s
        self.task: asyncio.Task[None] | None = None
        self.has_slot = True
        self.renewable = True
        self.number = 1
        self.account: Account | None = None
        self.close_log: Callable[[], Awaitable[None]] | None = None
        self.stop: Stop | None = None
        self.call: Call | None = None
        self.ends_at_s = math.inf

    def look(self, now_s: float) -> None:
        """Stop the run when its time is over, or its call when that has been silent for too long."""
        if now_s >= self.ends_at_s and self.stop is None:
            self.halt(Stop.TIMEOUT)
        elif self.call is not None:
            self.call.look(now_s)

    def halt(self, why: Stop) -> None:
        """Stop the provider's stream; the first reason counts, except that a lost lease overrules all."""
        if self.stop is None or why is Stop.LOST:
            self.stop = why
            if self.call is not None and self.task is not None:
                self.task.cancel()
