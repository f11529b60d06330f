"""One claimed job on one slot: the claim, the signal that stops the attempt, and the task that works on it.

A `Watchdog` cuts the overdue steps of all attempts, and keeps account of tasks that do not let themselves be cut.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from shared.errors import Overloaded, StoreFull, StoreUnavailable
from shared.job import Claim
from shared.telemetry.causes import cause_of
from shared.tracing.spans import Span

TRANSIENT: Final = (StoreUnavailable, StoreFull, Overloaded)
"""Refusals of the store that pass: the call is repeated."""

STEP_MOST_S: Final = 10.0
DRAIN_GRACE_S: Final = 0.5
"""Longest step of an attempt that is to be released, in s: the whole drain has little over a second for it."""

CHECK_SECONDS: Final = 0.1
"""Interval of the checks in s, so the delay with which a time-out may come. One timer serves all attempts: two timers
for each job would cost it 2 us."""


def step_s(lease_s: float) -> float:
    """Seconds that one step of an attempt may take, and that an attempt which is cut may take to notice: a third of a
    lease at most, so that one that hangs ends within its time-out plus a lease (I12)."""
    return min(lease_s / 3, STEP_MOST_S)


class StopReason(Enum):
    """Reasons to stop an attempt before its end."""

    CANCELLED = "cancelled"  # the customer asked for it
    LEASE_LOST = "lost"  # the lease is gone or too old: stop paying
    DRAIN = "drain"  # the worker leaves
    TIMEOUT = "timeout"  # the attempt or the job took too long
    LOG_FAILED = "broken"  # its text cannot be logged


class Interrupted(Exception):
    """A step was cut: the attempt is to stop, the step took too long, or the attempt was taken from its task."""


class Unforeseen(Exception):
    """Replaces an exception whose text must not be shown; only its `cause` is kept."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.cause = cause_of(error)


class StopSignal:
    """Holds the reason for which an attempt is to stop, and interrupts the step of its task. `step` is the one place
    where a cancellation of an attempt is asked for and undone.

    `owner`: the task whose steps these are. `reason`: None until the attempt is to stop. A signal that was `revoked`
    lets no step end well: its task is given up.
    """

    __slots__ = ("_cut_at", "_stoppable", "_task", "_until", "_watch", "grace_s", "owner", "reason", "revoked")

    def __init__(self, begin_by: float, grace_s: float) -> None:
        """`begin_by` (monotonic, s): when the first step must have begun. `grace_s`: see `step_s`."""
        self.reason: StopReason | None = None
        self.revoked = False
        self.grace_s = grace_s
        self.owner: asyncio.Task[None] | None = None
        self._until = begin_by
        self._cut_at = math.inf
        self._task: asyncio.Task[None] | None = None
        self._stoppable = False
        self._watch: Callable[[float], bool] | None = None

    def step(self, until: float, *, stoppable: bool = False, watch: Callable[[float], bool] | None = None) -> Self:
        """`with signal.step(until):` around each await of an attempt, or its awaits in a row. Interrupted when it was
        cut: at `until` (monotonic, s), by a stop if it is `stoppable`, or once `watch(now)` is True."""
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
        # Also cancellations from outside: the error says so, and the task goes on and finalizes the job.
        while task is not None and task.cancelling():
            task.uncancel()

        # Some libraries turn the cancellation that cut them into an error of their own.
        if self.revoked or (cut and error is not None and not isinstance(error, GeneratorExit)):
            raise Interrupted from None

    def hasten(self, until: float) -> None:
        """End the step by then at the latest."""
        self._until = min(self._until, until)

    def stop(self, reason: StopReason) -> None:
        """Stop the attempt; the first reason counts, except that a lost lease overrules all."""
        if self.reason is None or reason is StopReason.LEASE_LOST:
            self.reason = reason
            if self._stoppable:
                self._cut()

    def check(self, now: float) -> bool:
        """Cut a step that is overdue. True: the task is stuck, it was cut and does not leave its step."""
        if self._task is None:
            return now >= self._until + self.grace_s  # it has not begun, or never ended

        if self._cut_at == math.inf and (now >= self._until or (self._watch is not None and self._watch(now))):
            self._cut()
        return now >= self._cut_at + (DRAIN_GRACE_S if self.reason is StopReason.DRAIN else self.grace_s)

    def revoke(self) -> None:
        """Take the attempt from its task, which may not write any more, even if it wakes."""
        self.reason = StopReason.LEASE_LOST
        self.revoked = True

    def _cut(self) -> None:
        if self._task is not None and self._cut_at == math.inf:
            self._cut_at = time.monotonic()
            self._task.cancel()


class Attempt(msgspec.Struct, eq=False):
    """A claim, the signal that stops the attempt, and the task that works on it.

    `started_s`: when it was claimed (monotonic, s). `taken_over`: the task before this one did not end when it should
    have, this one only finalizes the job. `span`: see `attempt_spans.py`; None: tracing is off.
    """

    claim: Claim
    started_s: float
    signal: StopSignal
    taken_over: bool = False
    span: Span | None = None
    task: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin the task."""
        self.task = self.signal.owner = asyncio.get_running_loop().create_task(work)


class Watchdog:
    """Watchdog of one pool. `held`: its attempts. `take_over`: called for one whose task is stuck; `drop`: for one
    whose task ended without an outcome, with the cause."""

    def __init__(
        self,
        held: Callable[[], Sequence[Attempt]],
        take_over: Callable[[Attempt], None],
        drop: Callable[[Attempt, str], None],
    ) -> None:
        self._held = held
        self._take_over = take_over
        self._drop = drop
        self._timer: asyncio.TimerHandle | None = None
        self._checked_at = 0.0
        self._stuck: dict[asyncio.Task[None], float] = {}

    @property
    def stuck(self) -> list[asyncio.Task[None]]:
        """Tasks that do not end. Each still holds its job's memory, and its call may still cost money."""
        return list(self._stuck)

    def healthy(self, patience_s: float) -> bool:
        """False when attempts are not checked, or tasks live on that long although their jobs were taken from them."""
        now = time.monotonic()
        checked = self._timer is None or now - self._checked_at <= patience_s
        return checked and all(now - since <= patience_s for since in self._stuck.values())

    def start(self, now: float) -> None:
        """Check from now on, until no attempt is left."""
        if self._timer is None:
            self._checked_at = now
            self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check_all)

    def give_up(self, attempt: Attempt) -> None:
        """Cancel the task of an attempt that was taken from it; it counts as stuck until it ends."""
        if (task := attempt.task) is not None:
            self._stuck[task] = time.monotonic()
            task.add_done_callback(lambda done: self._stuck.pop(done, None))
            task.cancel()

    async def close(self) -> None:
        """Check no more; give tasks that were given up a moment to end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stuck:
            await asyncio.wait(self._stuck, timeout=DRAIN_GRACE_S)

    def _check_all(self) -> None:
        loop, self._checked_at = asyncio.get_running_loop(), time.monotonic()
        held = self._held()
        # First, because nothing after it may end the watch. An idle worker is not woken.
        self._timer = loop.call_later(CHECK_SECONDS, self._check_all) if held else None

        for attempt in held:
            try:
                self._check(attempt, self._checked_at)
            except Exception as error:  # one attempt must not cost the others their time-outs
                self._drop(attempt, cause_of(error))

    def _check(self, attempt: Attempt, now: float) -> None:
        task = attempt.task
        if task is not None and task.done():
            error = None if task.cancelled() else task.exception()
            self._drop(attempt, "no outcome" if error is None else cause_of(error))
        elif attempt.signal.check(now):
            self._take_over(attempt)
