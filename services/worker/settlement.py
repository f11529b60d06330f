"""Writes how a run ended, repeated while its lease may live: every transition is safe to repeat."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from typing import Final

import structlog

from services.worker.due import NextDue
from services.worker.run import PASSING, Ending, Finish, Parked, Requeue, Run, Stop
from shared.errors import LeaseLost, StoreFull, StoreRejected
from shared.job import JobError, JobStatus, Outcome, RetryReason, Spent
from shared.store.job_store import JobStore
from shared.store.replies import CallReport, Rerouted
from shared.telemetry.metrics import WorkerMetrics

_chance: Final = random.Random()  # noqa: S311 - jitter


class Settlement:
    """`due` hears of retries and of gates that open; an unconfirmed end is repeated for `patience_s`."""

    def __init__(self, store: JobStore, metrics: WorkerMetrics, due: NextDue, *, patience_s: float) -> None:
        self.store = store
        self._metrics = metrics
        self._due = due
        self._patience_s = patience_s
        self._log = structlog.get_logger(__name__).bind()
        for reason in RetryReason:
            metrics.retries.labels(str(reason))  # from 0 on: else the first of each is no increase
        self._finished = {status: metrics.finished.labels(str(status)) for status in JobStatus if status.terminal}

    async def settle(self, run: Run, ending: Ending) -> None:
        """Write the end of a run and count it."""
        give_up = time.monotonic() + self._patience_s
        while run.stop is not Stop.LOST:
            try:
                self._count(run, ending, await self._write(run, ending))
            except PASSING as passing:
                if time.monotonic() > give_up:
                    self._log.warning("end_not_confirmed", job_id=run.claim.job_id)
                    return
                # A full server will be full for a while, and each try may be billed.
                patience = 5.0 if isinstance(passing, StoreFull) else 0.25
                await asyncio.sleep(_chance.uniform(patience / 5, patience))
            except (LeaseLost, StoreRejected) as refused:
                self._log.info("lease_lost", job_id=run.claim.job_id, why=type(refused).__name__)
                return
            else:
                return

    async def settle_stuck(self, run: Run) -> None:
        """End the job of a run that outlived its time-out by far; its task may write nothing any more."""
        if run.close_log is not None:
            await run.close_log()
        error = JobError(type="Timeout", message="the provider did not end after its time-out")
        run_ms = round((time.monotonic() - run.started_s) * 1000)
        await self.settle(run, Finish(JobStatus.FAILED, Outcome(error=error), run.number, -1, run_ms))

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
        give_up = time.monotonic() + self._patience_s
        while run.stop is not Stop.LOST and time.monotonic() < give_up:
            try:
                return await self.store.reroute(
                    run.claim,
                    gate,
                    report,
                    retry_after_ms=retry_after_ms,
                    candidates=candidates,
                    chain=chain,
                    spent=spent,
                )
            except PASSING:
                await asyncio.sleep(_chance.uniform(0.05, 0.25))
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
                spent=run.account.spent if run.account else None,
            )  # fmt: skip
        await self.store.finish(
            run.claim, ending.status, ending.outcome, number=ending.number, offset=ending.offset, run_ms=ending.run_ms
        )
        return ending.status

    def _count(self, run: Run, ending: Ending, status: JobStatus) -> None:
        claim, run_s = run.claim, time.monotonic() - run.started_s
        self._metrics.run.observe(run_s)
        if run.account is not None:
            run.account.confirmed()
        if status is JobStatus.QUEUED and isinstance(ending, Requeue):
            self._metrics.retries.labels(str(ending.reason)).inc()
            if ending.delay_ms:
                self._due.delayed(ending.delay_ms)
        elif status is JobStatus.QUEUED and isinstance(ending, Parked):
            self._metrics.retries.labels(str(RetryReason.RATE_LIMITED)).inc()
            self._due.lane(ending.wait_ms)
        else:
            self._finished[status].inc()
            self._metrics.total.observe((claim.started_ms - claim.created_ms) / 1000 + run_s)
        self._log.info(
            "job_settled", job_id=claim.job_id, attempt=claim.attempt, organization=claim.spec.organization_id,
            status=str(status), run_seconds=round(run_s, 3),
        )  # fmt: skip
