"""Runs one claimed job: calls a provider, or the next one in the chain, and decides how the job goes on."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Mapping
from typing import Final

import structlog

from services.worker.account import Account
from services.worker.accounting import to_usd
from services.worker.call import Call, Patience
from services.worker.deltas import Deltas
from services.worker.gates import Gates, report_of
from services.worker.meters import Meters
from services.worker.prompting import brief, review
from services.worker.providers import Action, Completion, GenerationRequest, Provider, ProviderError
from services.worker.retry import classify, wish_ms
from services.worker.run import Ending, Finish, Parked, Requeue, Run, Stop
from services.worker.settlement import Settlement
from shared.chain import split
from shared.errors import LeaseLost
from shared.job import Claim, JobError, JobStatus, Outcome, PassedOver, RetryReason
from shared.store.replies import CallReport
from shared.telemetry.metrics import WorkerMetrics

_chance: Final = random.Random()  # noqa: S311 - jitter of back-off

_OUTCOMES: Final = {Action.WAIT: "limited", Action.RETRY: "failed", Action.FALLBACK: "refused", Action.FAIL: "rejected"}
"""How a call that failed is counted."""


class Turn:
    """Where the job stands in its chain: the gate it calls, its reservation there, and who did not answer before."""

    def __init__(self, run: Run, default: str) -> None:
        claim = run.claim
        self.gate = claim.gate or default
        self.reserved = claim.reserved
        self.passed_over = list(claim.passed_over)
        self.tried = {self.gate}

    def go_on(self, gate: str, reserved: int, why: str) -> None:
        """Another gate took the job."""
        provider, model = split(self.gate)
        self.passed_over.append(PassedOver(provider=provider, model=model, reason=why))
        self.gate, self.reserved = gate, reserved
        self.tried.add(gate)


class Runner:
    """Runs jobs. `providers` by name."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        gates: Gates,
        settlement: Settlement,
        metrics: WorkerMetrics,
        patience: Patience,
    ) -> None:
        self._providers = providers
        self._gates = gates
        self._settlement = settlement
        self._metrics = metrics
        self._meters = Meters(metrics.calls)
        self._patience = patience
        # Bound once: a lazy logger is bound again at each line, also at those that its level drops.
        self._log = structlog.get_logger(__name__).bind()

    async def execute(self, run: Run) -> Ending | None:
        """Generate the text; answers how the job goes on, None when nothing may be written any more."""
        run.account = account = Account(run.claim, self._providers, self._gates, self._meters)
        deltas = Deltas(self._settlement.store, run)
        run.close_log = deltas.close
        turn = Turn(run, self._gates.chain[0] if self._gates.chain else "")
        limit = min(run.claim.spec.timeout_seconds, self._seconds_to_deadline(run))
        run.ends_at_s = time.monotonic() + limit
        try:
            made = await self._call_in_turn(run, deltas, turn, account)
        finally:
            run.ends_at_s = math.inf
        if run.stop is Stop.LOST:
            deltas.give_up()
        await deltas.close()
        if run.stop is Stop.LOST:
            account.confirmed()
            return None
        if isinstance(made, Parked):
            return made
        if isinstance(made, Completion):
            return self._completed(run, deltas, turn, made)
        return self._after_stop(run, deltas, turn) or self._after_failure(run, deltas, turn, made)

    async def _call_in_turn(
        self, run: Run, deltas: Deltas, turn: Turn, account: Account
    ) -> Completion | Parked | Exception | None:
        """Call the providers of the chain until one has begun to answer; what its call came to."""
        while run.stop is None:
            call = Call(run, deltas, self._patience, lambda: self._began(run, turn.gate))
            raised: Exception | None = None
            try:
                completion = await call.complete(*self._request(run.claim, turn.gate))
            except asyncio.CancelledError:
                if run.stop is None:
                    raise
                self._swallow_cancel()
            except Exception as error:
                # Nobody reads its traceback, and that leads back to all that this call held.
                raised = error.with_traceback(None)
                if run.stop is not None:
                    self._swallow_cancel()
            else:
                account.completed(turn.gate, turn.reserved, completion)
                if run.stop is not None:
                    self._swallow_cancel()
                return completion if run.stop is not Stop.LOST else None
            self._broke(run, call, turn, raised, deltas.text)
            if run.stop is not None or not isinstance(raised, ProviderError):
                return raised
            if call.began:
                self._gates.failed(turn.gate, raised)
                return raised
            parked = await self._ask_others(run, turn, raised)
            if parked is None or isinstance(parked, Parked):
                return parked or raised
        return None

    def _request(self, claim: Claim, gate: str) -> tuple[Provider, GenerationRequest]:
        """Who is asked, and for what. ProviderError when this worker does not have it."""
        spec = claim.spec
        name, model = split(gate)
        provider = self._providers.get(name)
        if provider is None or (self._gates.chain and gate not in self._gates.chain):
            # Another release of the fleet may have it.
            error = JobError(
                type="ProviderNotConfigured", message="this worker has no such provider or model", retryable=True
            )
            raise ProviderError(error, Action.RETRY)
        request = GenerationRequest(
            job_id=claim.job_id, attempt=claim.attempt, prompt=spec.prompt, parameters=spec.parameters,
            model=model, max_tokens=spec.max_tokens, temperature=spec.temperature, effort=spec.effort,
        )  # fmt: skip
        return provider, request

    def _began(self, run: Run, gate: str) -> None:
        self._metrics.calls.first_token.observe(time.monotonic() - run.started_s)
        self._gates.answered(gate)

    @staticmethod
    def _broke(run: Run, call: Call, turn: Turn, raised: Exception | None, text: str) -> None:
        outcome, wasted = "failed", None if run.stop is Stop.CANCELLED else "error"
        if run.stop is not None:
            outcome = str(run.stop.value)
            wasted = {Stop.LOST: "lease_lost", Stop.DRAIN: "drain"}.get(run.stop, wasted)
        elif isinstance(raised, ProviderError):
            outcome = _OUTCOMES[raised.action]
        cut = run.stop is not None or call.silent
        if run.account is not None:
            run.account.broken(turn.gate, turn.reserved, call, text, outcome=outcome, cut=cut, wasted=wasted)

    async def _ask_others(self, run: Run, turn: Turn, error: ProviderError) -> Parked | bool | None:
        """Tell the gate of a failed call; True: another provider takes over, None: nobody else may."""
        report = report_of(error)
        account = run.account
        chain = run.claim.route or self._gates.chain
        others = [gate for gate in chain if gate not in turn.tried]
        if report is CallReport.NONE or not (others or self._gates.gated(turn.gate)):
            return None
        try:
            found = await self._settlement.reroute(
                run, turn.gate, report, retry_after_ms=wish_ms(error), candidates=others, chain=chain,
                spent=account.spent if account else None,
            )  # fmt: skip
        except LeaseLost:
            run.halt(Stop.LOST)
            return None
        if found.state == "go":
            turn.go_on(found.gate, found.reserved, error.error.type)
            return True
        return Parked(found.wait_ms) if found.state == "parked" else None

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

    def _finish(
        self,
        run: Run,
        status: JobStatus,
        deltas: Deltas,
        turn: Turn,
        *,
        result: str | None = None,
        error: JobError | None = None,
        finish_reason: str | None = None,
        metadata: dict[str, object] | None = None,
    ) -> Finish:
        spent = run.account.spent if run.account else None
        provider, model = split(turn.gate)
        outcome = Outcome(
            result=result, error=error, provider=provider or None, model=model or None,
            usage=spent.usage if spent else None, cost_usd=to_usd(spent.cost) if spent else None,
            finish_reason=finish_reason, passed_over=tuple(turn.passed_over), metadata=metadata,
        )  # fmt: skip
        run_ms = round((time.monotonic() - run.started_s) * 1000)
        return Finish(status, outcome, deltas.number, deltas.offset, run_ms)

    def _completed(self, run: Run, deltas: Deltas, turn: Turn, completion: Completion) -> Finish:
        text = deltas.text
        metadata = completion.metadata
        if (found := review(brief(run.claim.spec.parameters), text)) is not None:
            metadata = {**(metadata or {}), **found}
        finish = completion.finish_reason
        return self._finish(
            run, JobStatus.COMPLETED, deltas, turn, result=text, finish_reason=finish, metadata=metadata
        )

    def _after_stop(self, run: Run, deltas: Deltas, turn: Turn) -> Ending | None:
        if run.stop is Stop.CANCELLED:
            return self._finish(
                run, JobStatus.CANCELLED, deltas, turn, result=deltas.text or None, finish_reason="cancelled"
            )
        if run.stop is Stop.DRAIN:
            return Requeue(RetryReason.DRAIN, 0, refund=True, error=None)
        return None

    def _after_failure(self, run: Run, deltas: Deltas, turn: Turn, raised: Exception | None) -> Ending:
        if raised is None or run.stop is Stop.TIMEOUT:
            # Some libraries turn the cancellation that cut them into an error of their own.
            raised = TimeoutError()
        past_deadline = self._seconds_to_deadline(run) < run.claim.spec.timeout_seconds
        failure = classify(raised, run.claim.attempt, _chance, past_deadline=past_deadline)
        if failure.error.type == "InternalError":
            # The exception's text may hold a prompt or a key: its type is all that is told.
            self._log.error("attempt_failed", job_id=run.claim.job_id, exception=type(raised).__name__)
        if failure.delay_ms is None:
            return self._finish(run, JobStatus.FAILED, deltas, turn, error=failure.error)
        return Requeue(failure.reason, failure.delay_ms, refund=False, error=failure.error)
