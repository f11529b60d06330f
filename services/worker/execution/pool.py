"""The attempts of one worker: how many slots are free, which leases are held, and which attempts are to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from services.worker.execution.attempt import Attempt, StopReason, StopSignal, Watchdog, step_s
from services.worker.execution.attempt_runner import AttemptRunner, Dependencies
from services.worker.execution.attempt_spans import begin_attempt
from services.worker.execution.outcomes import Decision
from shared.job import Claim
from shared.telemetry.metrics import WorkerMetrics

LEFT: Final = "lease_lost"
"""Error in the trace of an attempt that ended without a word of its job's next state."""

SUSPECTS_PART: Final = 8
"""Slots among which one may hold a suspect."""

GIVEN_UP_MAX: Final = 4096
"""Leases that were given up and are remembered, the newest: a server whose clock went back may deliver them again."""


class Pool:
    """`slots` jobs run at once. A slot is free when its job's text is done; outcomes not yet confirmed by Redis are
    bounded by as many again. `budgeted`: attempts so far of organisations with a budget.

    The task of an attempt is not trusted to end (I12): a watchdog cuts overdue steps; when a task does not let
    itself be cut, the attempt is taken from it and another task finalizes the job.
    """

    def __init__(self, shared: Dependencies, slots: int, metrics: WorkerMetrics) -> None:
        self._shared = shared
        self._finalizer = shared.finalizer
        self._slots = slots
        self._wait_metric = metrics.wait
        self._grace_s = step_s(shared.store.settings.lease_seconds)
        self._attempts: dict[str, Attempt] = {}
        self._runners: dict[str, AttemptRunner] = {}
        self._executing: set[str] = set()
        self._suspects: dict[str, Claim] = {}
        self._given_up: dict[str, None] = {}
        self._clearing = False
        self._drained = False
        self.budgeted = 0
        self._changed = asyncio.Event()
        self._watchdog = Watchdog(lambda: self.attempts, self._take_over, self._drop)
        metrics.slots.set(slots)
        metrics.busy.set_function(lambda: len(self._executing))  # read at a scrape, instead of set twice for each job
        metrics.stuck.set_function(lambda: len(self.stuck))

    # ---- room ---------------------------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        """Number of jobs that may be claimed now: 0 beside one that must run alone, and 0 while room is made for
        one, or by order of an operator."""
        if self._drained or (self._clearing and self._attempts):
            return 0
        if self._suspects and any(claim.isolated for claim in self._held_suspects()):
            return 0
        return min(self._slots - len(self._executing), 2 * self._slots - len(self._attempts))

    @property
    def half(self) -> int:
        """Half of all slots, at least one."""
        return max(self._slots // 2, 1)

    @property
    def holds_suspect(self) -> bool:
        """Whether a job that lost two workers before is among them."""
        return bool(self._held_suspects())

    @property
    def suspects_room(self) -> int:
        """Number of further suspects that may run here: they take at most an eighth of the slots, and at least one."""
        return max(max(self._slots // SUSPECTS_PART, 1) - len(self._held_suspects()), 0)

    @property
    def clearing(self) -> bool:
        """Whether nothing is claimed until all attempts ended: a job waits that must run alone."""
        return self._clearing

    @clearing.setter
    def clearing(self, wanted: bool) -> None:
        if wanted != self._clearing:
            self._clearing = wanted
            self._changed.set()

    @property
    def drained(self) -> bool:
        """Whether nothing is claimed until an operator says so."""
        return self._drained

    @drained.setter
    def drained(self, wanted: bool) -> None:
        self._drained = wanted
        self._changed.set()

    def _held_suspects(self) -> Sequence[Claim]:
        # Read at each end of a job, and nearly always empty.
        if self._suspects:
            self._suspects = {token: claim for token, claim in self._suspects.items() if token in self._attempts}
        return tuple(self._suspects.values())

    async def wait_free(self) -> None:
        """Return when a slot is free."""
        while self.free <= 0:
            self._changed.clear()
            await self._changed.wait()

    async def wait_empty(self) -> None:
        """Return when no attempt is left."""
        while self._attempts:
            self._changed.clear()
            await self._changed.wait()

    # ---- attempts -----------------------------------------------------------------------------------------------

    @property
    def attempts(self) -> list[Attempt]:
        """All attempts whose lease is held, those too whose outcome is not confirmed yet."""
        return list(self._attempts.values())

    def start(self, claims: Sequence[Claim]) -> None:
        """Take a slot for each claim, and begin two iterations of the event loop later: the next claim, which is made
        in this one, has left by then, and the server serves it while these run. Else each would wait for the other.

        A lease that was given up is left to recovery: two attempts of one lease would mix their events (I4, I10)."""
        now, loop = time.monotonic(), asyncio.get_running_loop()
        new = [one for one in claims if one.token not in self._attempts and one.token not in self._given_up]
        started = [self._attempt(claim, now) for claim in new]

        for attempt in started:
            token = attempt.claim.token
            self._attempts[token] = attempt
            self._executing.add(token)
            self.budgeted += attempt.claim.budgeted
            if attempt.claim.suspect:
                self._suspects[token] = attempt.claim

        loop.call_soon(loop.call_soon, self._begin, started)
        self._watchdog.start(now)
        for claim in new:
            self._wait_metric.observe(claim.waited_ms / 1000)

    def _attempt(self, claim: Claim, now: float) -> Attempt:
        tracer = self._shared.tracer
        span = None if tracer is None else begin_attempt(tracer, claim)
        return Attempt(claim, now, StopSignal(now + self._grace_s, self._grace_s), span=span)

    def _begin(self, started: Sequence[Attempt]) -> None:
        for attempt in started:
            if self._attempts.get(attempt.claim.token) is attempt:
                runner = self._runners[attempt.claim.token] = AttemptRunner(attempt, self._shared)
                attempt.start(self._work(attempt, runner))

    async def _work(self, attempt: Attempt, runner: AttemptRunner) -> None:
        signal = attempt.signal
        result = await runner.call()
        self._vacate(attempt)
        if not signal.revoked:
            decision = await runner.decide(result)
        if not signal.revoked:
            await self._finalize(attempt, decision)

    async def _finalize(self, attempt: Attempt, decision: Decision) -> None:
        await self._finalizer.finalize(attempt, decision)
        if not attempt.signal.revoked:
            self._forget(attempt)
            if attempt.claim.suspect:
                await self._finalizer.offer_suspects()

    def _take_over(self, attempt: Attempt) -> None:
        """Finalize the job of an attempt whose task does not end, in a task of its own; the slot is free."""
        self._vacate(attempt)
        self._watchdog.give_up(attempt)
        runner = self._runners.get(attempt.claim.token)
        if runner is None or attempt.taken_over:
            self._drop(attempt, "finalizing it hangs" if attempt.taken_over else "it did not begin")
            return

        decision = runner.take_over()
        signal = StopSignal(time.monotonic() + self._grace_s, self._grace_s)
        successor = Attempt(attempt.claim, attempt.started_s, signal, taken_over=True, span=attempt.span)
        self._attempts[attempt.claim.token] = successor
        successor.start(self._finalize(successor, decision))

    def _drop(self, attempt: Attempt, cause: str) -> None:
        """Leave an attempt to its lease when nothing can be written of it: another worker takes the job over."""
        attempt.signal.revoke()
        self._vacate(attempt)
        self._forget(attempt)
        self._finalizer.abandon(attempt, cause)

    def _vacate(self, attempt: Attempt) -> None:
        if attempt.claim.token in self._executing:
            self._executing.discard(attempt.claim.token)
            self._changed.set()

    def _forget(self, attempt: Attempt) -> None:
        """Hold the lease of an attempt no longer."""
        token = attempt.claim.token
        if self._attempts.get(token) is attempt:
            del self._attempts[token]
            self._runners.pop(token, None)
            if attempt.signal.reason is StopReason.LEASE_LOST:
                self._give_up(token)
            if attempt.span is not None:
                attempt.span.end(LEFT)
            self._changed.set()

    def _give_up(self, token: str) -> None:
        self._given_up[token] = None
        if len(self._given_up) > GIVEN_UP_MAX:
            del self._given_up[next(iter(self._given_up))]

    # ---- stops --------------------------------------------------------------------------------------------------

    @property
    def stuck(self) -> list[asyncio.Task[None]]:
        """See `Watchdog.stuck`."""
        return self._watchdog.stuck

    def healthy(self, patience_s: float) -> bool:
        """See `Watchdog.healthy`."""
        return self._watchdog.healthy(patience_s)

    def stop_all(self, reason: StopReason) -> None:
        """Stop every attempt."""
        for attempt in self.attempts:
            attempt.signal.stop(reason)

    def stop_job(self, job_id: str, reason: StopReason) -> None:
        """Stop the attempt at one job, if it is here."""
        for attempt in self.attempts:
            if attempt.claim.job_id == job_id:
                attempt.signal.stop(reason)

    async def close(self) -> None:
        """Write nothing more: attempts that still run are left to their leases."""
        for attempt in self.attempts:
            attempt.signal.revoke()
            self._vacate(attempt)
            self._forget(attempt)
            self._watchdog.give_up(attempt)
        await self._watchdog.close()
