"""Writes how a run ended, repeated while its lease may live: every transition is safe to repeat."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from services.worker.execution import outcomes
from services.worker.execution.attempt import (
    PASSING,
    Ending,
    Interrupted,
    Parked,
    Requeue,
    Run,
    Stop,
    Unforeseen,
    step_s,
)
from services.worker.timers import Timers
from shared.errors import LeaseLost, StoreFull, StoreRejected
from shared.job import JobStatus, RetryReason, Spent
from shared.store.job_store import JobStore
from shared.store.results import CallReport, Rerouted
from shared.telemetry.causes import cause_of
from shared.telemetry.metrics import WorkerMetrics

_chance: Final = random.Random()  # noqa: S311 - jitter

FULL_PAUSE_S: Final = 5.0
"""A full server will be full for a while, and each try may be billed."""


class Settlement:
    """`timers` learn of retries and of gates that open; an unconfirmed end is repeated for `patience_s`."""

    def __init__(self, store: JobStore, metrics: WorkerMetrics, timers: Timers, *, patience_s: float) -> None:
        self.store = store
        self._metrics = metrics
        self._timers = timers
        self._patience_s = patience_s
        self._step_s = step_s(store.settings.lease_seconds)
        # Bound once: a lazy logger is bound again at each line, also at those that its level drops.
        self._log = structlog.get_logger(__name__).bind()
        for reason in RetryReason:
            metrics.retries.labels(str(reason))  # from 0 on: else the first of each is no increase
        self._finished = {status: metrics.finished.labels(str(status)) for status in JobStatus if status.terminal}

    async def settle(self, run: Run, ending: Ending | None) -> None:
        """Write the end of a run and count it, with one log line; None: its lease is lost. What cannot be written is
        left to the lease, which is not renewed any more."""
        signal = run.signal
        give_up = time.monotonic() + self._patience_s
        pause, unforeseen = 0.0, 0
        while ending is not None and signal.reason is not Stop.LOST:
            try:
                with signal.step(time.monotonic() + pause + self._step_s):
                    if pause:
                        await asyncio.sleep(pause)
                    status = await self._write(run, ending)
            except (*PASSING, Interrupted) as passing:
                if time.monotonic() > give_up and not signal.revoked:
                    self.left(run, "end_not_confirmed")
                    return
                pause = _pause(passing)
            except (LeaseLost, StoreRejected) as refused:
                self._line(self._log.info, "lease_lost", run, why=type(refused).__name__)
                return
            except GeneratorExit:
                raise
            except BaseException as error:  # an attempt ends, whatever its end raises (I12)
                unforeseen += 1
                if unforeseen > 3:
                    self.left(run, "attempt_left_to_its_lease", cause=cause_of(error))
                    return
                if unforeseen > 1 and not isinstance(ending, Requeue):  # another end may be written than this
                    ending = outcomes.again(run, None, Unforeseen(error))
            else:
                self._count(run, ending, status)
                return
        if not signal.revoked:
            self._line(self._log.info, "lease_lost", run, why=LeaseLost.__name__)

    async def reroute(
        self,
        run: Run,
        gate: str,
        report: CallReport,
        *,
        retry_after_ms: int | None,
        candidates: Sequence[str],
        chain: Sequence[str],
        spent: Spent | None,
    ) -> Rerouted:
        """See `JobStore.reroute`. LeaseLost also when the store cannot be reached for as long as the lease may live."""
        signal, pause = run.signal, 0.0
        give_up = time.monotonic() + self._patience_s
        while signal.reason is not Stop.LOST and time.monotonic() < give_up:
            try:
                with signal.step(time.monotonic() + pause + self._step_s):
                    if pause:
                        await asyncio.sleep(pause)
                    return await self.store.reroute(
                        run.claim, gate, report, retry_after_ms=retry_after_ms, candidates=candidates, chain=chain,
                        spent=spent,
                    )  # fmt: skip
            except (*PASSING, Interrupted):
                pause = _chance.uniform(0.05, 0.25)
            except StoreRejected:
                break
        raise LeaseLost(run.claim.job_id)

    async def offer_suspects(self) -> None:
        """Ring for the next suspect, now that this worker holds none. A script could not: it rings before we know."""
        with contextlib.suppress(*PASSING):
            await self.store.ring_look()

    async def _write(self, run: Run, ending: Ending) -> JobStatus:
        if isinstance(ending, Parked):
            return JobStatus.QUEUED
        if isinstance(ending, Requeue):
            return await self.store.requeue(
                run.claim, ending.reason, delay_ms=ending.delay_ms, refund=ending.refund, error=ending.error,
                spent=run.work.account.spent if run.work else None,
            )  # fmt: skip
        await self.store.finish(
            run.claim, ending.status, ending.outcome, number=ending.number, offset=ending.offset, run_ms=ending.run_ms
        )
        return ending.status

    def _count(self, run: Run, ending: Ending, status: JobStatus) -> None:
        claim, run_s = run.claim, time.monotonic() - run.started_s
        self._metrics.run.observe(run_s)
        if run.work is not None:
            run.work.account.confirmed()
        if status is JobStatus.QUEUED and isinstance(ending, Requeue):
            self._metrics.retries.labels(str(ending.reason)).inc()
            if ending.delay_ms:
                self._timers.add_delayed(ending.delay_ms)
        elif status is JobStatus.QUEUED and isinstance(ending, Parked):
            self._metrics.retries.labels(str(RetryReason.RATE_LIMITED)).inc()
            self._timers.add_throttled(ending.wait_ms)
        else:
            self._finished[status].inc()
            self._metrics.total.observe((claim.started_ms - claim.created_ms) / 1000 + run_s)
        if isinstance(ending, Requeue) and ending.cause:
            self._line(self._log.error, "job_settled", run, status=str(status), cause=ending.cause)
        else:
            self._line(self._log.error if run.taken else self._log.info, "job_settled", run, status=str(status))

    def left(self, run: Run, event: str, **more: object) -> None:
        """The job waits for its lease to run out: say so."""
        self._line(self._log.error if more else self._log.warning, event, run, **more)

    def _line(self, log: Callable[..., Any], event: str, run: Run, **more: object) -> None:
        """The one line of an attempt, by the method of its level."""
        claim = run.claim
        if run.taken:
            more["stuck"] = True
        log(
            event, job_id=claim.job_id, attempt=claim.attempt, organization=claim.spec.organization_id,
            run_seconds=round(time.monotonic() - run.started_s, 3), **more,
        )  # fmt: skip


def _pause(passing: Exception) -> float:
    patience = FULL_PAUSE_S if isinstance(passing, StoreFull) else 0.25
    return _chance.uniform(patience / 5, patience)
