"""Runs one claimed job on its provider and settles it: the only place where text is generated."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import structlog

from services.worker.deltas import Deltas
from services.worker.due import NextDue
from services.worker.providers import Completion, GenerationRequest, Provider, ProviderError
from services.worker.retry import classify
from services.worker.run import PASSING, Ending, Finish, Requeue, Run, Stop
from shared.errors import LeaseLost, StoreRejected
from shared.job import JobError, JobStatus, Outcome, RetryReason, Usage
from shared.store.job_store import JobStore
from shared.telemetry.metrics import WorkerMetrics

_chance: Final = random.Random()  # noqa: S311 - jitter of back-off

Chain = tuple[tuple[str, str], ...]
"""The allowed (provider, model) pairs in order; the first is the default."""


class Runner:
    """Runs jobs. `providers` by name; `due` hears of retries; an unconfirmed end is repeated for `settle_seconds`."""

    def __init__(
        self,
        store: JobStore,
        providers: Mapping[str, Provider],
        chain: Chain,
        metrics: WorkerMetrics,
        due: NextDue,
        *,
        settle_seconds: float,
    ) -> None:
        self._store = store
        self._providers = providers
        self._chain = chain
        self._metrics = metrics
        self._due = due
        self._settle_seconds = settle_seconds
        # Bound once: a lazy logger is bound again at each line, also at those that its level drops.
        self._log = structlog.get_logger(__name__).bind()
        self._finished = {status: metrics.finished.labels(str(status)) for status in JobStatus if status.terminal}

    def _choose(self, provider: str | None, model: str | None) -> tuple[str, str]:
        for name, known in self._chain:
            if provider in (None, name) and model in (None, known):
                return name, known
        raise ProviderError(JobError(type="ProviderNotConfigured", message="this worker has no such provider or model"))

    async def execute(self, run: Run, lost: Callable[[], None]) -> Ending | None:
        """Generate the text; answers how the job goes on, None when nothing may be written any more."""
        deltas = Deltas(self._store, run, lost)
        run.close_log = deltas.close
        chosen: tuple[str, str] | None = None
        completion: Completion | None = None
        raised: Exception | None = None
        try:
            chosen = self._choose(run.claim.spec.provider, run.claim.spec.model)
            if run.stop is None:
                completion = await self._generate(run, deltas, *chosen)
        except asyncio.CancelledError:
            if run.stop is None:
                raise
        except Exception as error:
            raised = error
        if run.stop is not None:
            self._swallow_cancel()
        if run.stop is Stop.LOST:
            deltas.give_up()
        await deltas.close()
        if run.stop is Stop.LOST:
            return None
        if completion is not None and chosen is not None:
            outcome = Outcome(
                result=deltas.text, provider=chosen[0], model=chosen[1], usage=completion.usage,
                cost_usd=completion.cost_usd, finish_reason=completion.finish_reason, metadata=completion.metadata,
            )  # fmt: skip
            return self._finish(run, JobStatus.COMPLETED, outcome, deltas)
        return self._after_stop(run, deltas, chosen) or self._after_failure(run, deltas, raised)

    async def _generate(self, run: Run, deltas: Deltas, provider: str, model: str) -> Completion:
        claim, spec = run.claim, run.claim.spec
        request = GenerationRequest(
            job_id=claim.job_id, attempt=claim.attempt, prompt=spec.prompt, parameters=spec.parameters,
            model=model, max_tokens=spec.max_tokens, temperature=spec.temperature,
        )  # fmt: skip
        # A timer of its own: asyncio.timeout costs four times as much, in every job.
        limit = min(spec.timeout_seconds, self._seconds_to_deadline(run))
        timer = asyncio.get_running_loop().call_later(limit, run.halt, Stop.TIMEOUT)
        run.executing = True
        try:
            return await self._consume(run, deltas, self._providers[provider], request)
        finally:
            run.executing = False
            timer.cancel()

    @staticmethod
    def _swallow_cancel() -> None:
        # `Run.halt` cancels this task to stop the provider; the task itself goes on and settles the job.
        task = asyncio.current_task()
        if task is not None:
            while task.cancelling():
                task.uncancel()

    @staticmethod
    def _seconds_to_deadline(run: Run) -> float:
        return (run.claim.deadline_ms - run.claim.started_ms) / 1000

    async def _consume(self, run: Run, deltas: Deltas, provider: Provider, request: GenerationRequest) -> Completion:
        first = True
        stream: Any = provider.stream(request)
        async with aclosing(stream):
            async for item in stream:
                if isinstance(item, Completion):
                    return item
                if first and item:
                    first = False
                    self._metrics.first_token.observe(time.monotonic() - run.started_s)
                deltas.push(item)
        raise ProviderError(
            JobError(type="StreamTruncated", message="the provider's stream ended too early", retryable=True)
        )

    def _finish(self, run: Run, status: JobStatus, outcome: Outcome, deltas: Deltas) -> Finish:
        run_ms = round((time.monotonic() - run.started_s) * 1000)
        return Finish(status, outcome, deltas.number, deltas.offset, run_ms)

    def _after_stop(self, run: Run, deltas: Deltas, chosen: tuple[str, str] | None) -> Ending | None:
        if run.stop is Stop.CANCELLED:
            text = deltas.text
            usage = Usage(
                input_tokens=max(len(run.claim.spec.prompt) // 4, 1), output_tokens=len(text) // 4, estimated=True
            )
            outcome = Outcome(
                result=text or None, usage=usage, finish_reason="cancelled",
                provider=chosen[0] if chosen else None, model=chosen[1] if chosen else None,
            )  # fmt: skip
            return self._finish(run, JobStatus.CANCELLED, outcome, deltas)
        if run.stop is Stop.DRAIN:
            return Requeue(RetryReason.DRAIN, 0, refund=True, error=None)
        return None

    def _after_failure(self, run: Run, deltas: Deltas, raised: Exception | None) -> Ending:
        if raised is None or run.stop is Stop.TIMEOUT:
            # Some libraries turn the cancellation that cut them into an error of their own.
            raised = TimeoutError()
        past_deadline = self._seconds_to_deadline(run) < run.claim.spec.timeout_seconds
        failure = classify(raised, run.claim.attempt, _chance, past_deadline=past_deadline)
        if failure.error.type == "InternalError":
            # The exception's text may hold a prompt or a key: its type is all that is told.
            self._log.error("attempt_failed", job_id=run.claim.job_id, exception=type(raised).__name__)
        if failure.delay_ms is None:
            return self._finish(run, JobStatus.FAILED, Outcome(error=failure.error), deltas)
        return Requeue(failure.reason, failure.delay_ms, refund=False, error=failure.error)

    async def settle(self, run: Run, ending: Ending) -> None:
        """Write the end, repeated while the lease may live: every transition is safe to repeat."""
        give_up = time.monotonic() + self._settle_seconds
        while run.stop is not Stop.LOST:
            try:
                self._count(run, ending, await self._write(run, ending))
            except PASSING:
                if time.monotonic() > give_up:
                    self._log.warning("end_not_confirmed", job_id=run.claim.job_id)
                    return
                await asyncio.sleep(_chance.uniform(0.05, 0.25))
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

    async def offer_suspects(self) -> None:
        """Ring for the next suspect, now that this worker holds none. A script could not: it rings before we know."""
        with contextlib.suppress(*PASSING):
            await self._store.ring_look()

    async def _write(self, run: Run, ending: Ending) -> JobStatus:
        if isinstance(ending, Requeue):
            return await self._store.requeue(
                run.claim, ending.reason, delay_ms=ending.delay_ms, refund=ending.refund, error=ending.error
            )
        await self._store.finish(
            run.claim, ending.status, ending.outcome, number=ending.number, offset=ending.offset, run_ms=ending.run_ms
        )
        return ending.status

    def _count(self, run: Run, ending: Ending, status: JobStatus) -> None:
        claim, run_s = run.claim, time.monotonic() - run.started_s
        self._metrics.run.observe(run_s)
        if status is JobStatus.QUEUED and isinstance(ending, Requeue):
            self._metrics.retries.labels(str(ending.reason)).inc()
            if ending.delay_ms:
                self._due.delayed(ending.delay_ms)
        else:
            self._finished[status].inc()
            self._metrics.total.observe((claim.started_ms - claim.created_ms) / 1000 + run_s)
        self._log.info(
            "job_settled", job_id=claim.job_id, attempt=claim.attempt, organization=claim.spec.organization_id,
            status=str(status), run_seconds=round(run_s, 3),
        )  # fmt: skip
