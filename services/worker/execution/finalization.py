"""Writes how an attempt ends or goes on, again while its lease may live: every transition is safe to repeat."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from services.worker.execution import outcomes
from services.worker.execution.attempt import TRANSIENT, Attempt, Interrupted, StopReason, Unforeseen, step_s
from services.worker.execution.attempt_cost import CallMetrics
from services.worker.execution.attempt_spans import end_attempt
from services.worker.execution.outcomes import Decision, Throttled
from services.worker.timers import Timers
from shared.errors import LeaseLost, StoreFull, StoreRejected
from shared.job import JobStatus, RetryReason
from shared.store.job_store import JobStore
from shared.store.results import Rerouted
from shared.store.transitions import Finish, Requeue, Reroute
from shared.telemetry.causes import cause_of
from shared.telemetry.metrics import WorkerMetrics

_chance: Final = random.Random()  # noqa: S311 - jitter

UNFORESEEN_MAX: Final = 3
"""Unforeseen errors after which a job is left to its lease; from the second on another transition is tried."""

FULL_PAUSE_S: Final = 5.0
"""Pause after a refusal by a full server, in s: it will be full for a while, and each try may be billed."""


class Finalizer:
    """Writer of one worker's outcomes. `timers` learn of retries and throttled jobs; an unconfirmed outcome is written
    again for `patience_s`."""

    def __init__(
        self, store: JobStore, metrics: WorkerMetrics, call_metrics: CallMetrics, timers: Timers, *, patience_s: float
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._call_metrics = call_metrics
        self._timers = timers
        self._patience_s = patience_s
        self._step_s = step_s(store.settings.lease_seconds)
        # Bound once: a lazy logger is bound again at each line, also at those that its level drops.
        self._log = structlog.get_logger(__name__).bind()

        for reason in RetryReason:
            metrics.retries.labels(str(reason))  # from 0 on: else the first of each is no increase
        self._finished = {status: metrics.finished.labels(str(status)) for status in JobStatus if status.terminal}

    async def finalize(self, attempt: Attempt, decision: Decision) -> None:
        """Write the outcome of an attempt and count it, with one log line. A job whose outcome cannot be
        written is left to its lease, which is not renewed any more."""
        signal, give_up_at = attempt.signal, time.monotonic() + self._patience_s
        pause, unforeseen = 0.0, 0

        while signal.reason is not StopReason.LEASE_LOST and decision.writes:
            try:
                status = await self._write(attempt, decision, pause)
            except (*TRANSIENT, Interrupted) as refusal:
                if time.monotonic() > give_up_at and not signal.revoked:
                    self._line(self._log.warning, "outcome_not_confirmed", attempt)
                    return
                pause = _pause_s(refusal)
            except (LeaseLost, StoreRejected) as refusal:
                self._line(self._log.info, "lease_lost", attempt, why=type(refusal).__name__)
                return
            except GeneratorExit:
                raise
            except BaseException as error:  # an attempt ends with any exception of writing its outcome (I12)
                unforeseen += 1
                if unforeseen > UNFORESEEN_MAX:
                    self.abandon(attempt, cause_of(error))
                    return
                if unforeseen > 1:
                    decision = outcomes.replace(decision, attempt, Unforeseen(error))
            else:
                self._count(attempt, decision, status)
                return

        self._lost(attempt, decision)

    async def reroute(self, attempt: Attempt, reroute: Reroute) -> Rerouted:
        """See `JobStore.reroute`. LeaseLost also when the store cannot be reached for as long as the lease may live."""
        signal, give_up_at = attempt.signal, time.monotonic() + self._patience_s
        pause = 0.0

        while signal.reason is not StopReason.LEASE_LOST and time.monotonic() < give_up_at:
            try:
                with signal.step(time.monotonic() + pause + self._step_s):
                    if pause:
                        await asyncio.sleep(pause)
                    return await self._store.reroute(reroute)
            except (*TRANSIENT, Interrupted):
                pause = _chance.uniform(0.05, 0.25)
            except StoreRejected:
                break
        raise LeaseLost(attempt.claim.job_id)

    async def offer_suspects(self) -> None:
        """Wake a worker for the next suspect, now that this one holds none. A script could not: it wakes before we
        know."""
        with contextlib.suppress(*TRANSIENT):
            await self._store.maintenance.wake_to_poll()

    async def _write(self, attempt: Attempt, decision: Decision, pause: float) -> JobStatus:
        """Write the transition once, after `pause` seconds; returns the status of the job then."""
        transition = decision.transition
        with attempt.signal.step(time.monotonic() + pause + self._step_s):
            if pause:
                await asyncio.sleep(pause)
            if isinstance(transition, Finish):
                await self._store.finish(transition)
                return transition.status
            if isinstance(transition, Requeue):
                return await self._store.requeue(transition)
            return JobStatus.QUEUED  # throttled: that is written already

    def _count(self, attempt: Attempt, decision: Decision, status: JobStatus) -> None:
        claim, run_s = attempt.claim, time.monotonic() - attempt.started_s
        if attempt.span is not None:
            end_attempt(attempt.span, status, decision)
        self._metrics.run.observe(run_s)
        self._call_metrics.wasted(decision.wasted)

        if status is JobStatus.QUEUED:
            self._count_retry(decision)
        else:
            self._finished[status].inc()
            self._metrics.total.observe((claim.started_ms - claim.created_ms) / 1000 + run_s)

        if decision.cause:
            self._line(self._log.error, "attempt_finalized", attempt, status=str(status), cause=decision.cause)
        else:
            log = self._log.error if attempt.taken_over else self._log.info
            self._line(log, "attempt_finalized", attempt, status=str(status))

    def _count_retry(self, decision: Decision) -> None:
        transition = decision.transition
        if isinstance(transition, Requeue):
            self._metrics.retries.labels(str(transition.reason)).inc()
            if transition.delay_ms:
                self._timers.add_delayed(transition.delay_ms)
        elif isinstance(transition, Throttled):
            self._metrics.retries.labels(str(RetryReason.RATE_LIMITED)).inc()
            self._timers.add_throttled(transition.wait_ms)

    def _lost(self, attempt: Attempt, decision: Decision) -> None:
        if not decision.writes:
            self._call_metrics.wasted(decision.wasted)
        if not attempt.signal.revoked:
            self._line(self._log.info, "lease_lost", attempt, why=LeaseLost.__name__)

    def abandon(self, attempt: Attempt, cause: str) -> None:
        """Log that nothing can be written of an attempt: its lease runs out, a worker takes the job over."""
        self._line(self._log.error, "attempt_abandoned", attempt, cause=cause)

    def _line(self, log: Callable[..., Any], event: str, attempt: Attempt, **more: object) -> None:
        """Write the one line of an attempt, by the method of its level."""
        claim = attempt.claim
        if attempt.taken_over:
            more["stuck"] = True
        log(
            event, job_id=claim.job_id, attempt=claim.attempt, organization=claim.spec.organization_id,
            run_seconds=round(time.monotonic() - attempt.started_s, 3), **more,
        )  # fmt: skip


def _pause_s(refusal: Exception) -> float:
    longest = FULL_PAUSE_S if isinstance(refusal, StoreFull) else 0.25
    return _chance.uniform(longest / 5, longest)
