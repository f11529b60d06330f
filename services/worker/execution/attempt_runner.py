"""Runs one claimed job: calls a provider, or the next one in the chain, until one has answered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from services.worker.execution import outcomes
from services.worker.execution.attempt import Ending, Interrupted, Parked, Run, Stop, Unforeseen
from services.worker.execution.attempt_cost import Account
from services.worker.execution.call_metrics import Meters
from services.worker.execution.delta_writer import Deltas
from services.worker.execution.gate_reports import Gates, report_of
from services.worker.execution.progress import Made, Turn, Work
from services.worker.execution.provider_call import Call, Patience
from services.worker.execution.retry_policy import wish_ms
from services.worker.execution.settlement import Settlement
from services.worker.providers import Action, GenerationRequest, Provider, ProviderError
from shared.chain import split
from shared.errors import LeaseLost
from shared.job import Claim, JobError
from shared.store.results import CallReport
from shared.telemetry.metrics import WorkerMetrics

_OUTCOMES: Final = {Action.WAIT: "limited", Action.RETRY: "failed", Action.FALLBACK: "refused", Action.FAIL: "rejected"}
"""How a call that failed is counted."""


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

    async def call(self, run: Run) -> Made:
        """Call the providers of the chain until one has begun to answer; what came of it, whatever was raised."""
        try:
            account = Account(run.claim, self._providers, self._gates, self._meters)
            deltas = Deltas(self._settlement.store, run.claim, run.signal)
            turn = Turn(run.claim, self._gates.chain[0] if self._gates.chain else "")
            run.work = work = Work(run.claim, account, deltas, turn)
            return await self._call_in_turn(run, work)
        except GeneratorExit:
            raise
        except BaseException as error:  # an attempt ends with what it raises, whatever that is (I12)
            return Unforeseen(error)

    async def _call_in_turn(self, run: Run, work: Work) -> Made:
        signal = run.signal
        while signal.reason is None:
            gate = work.turn.gate
            work.call = call = Call(signal, work.deltas, self._patience, lambda: self._began(run, work.turn.gate))
            raised: Exception | None = None
            try:
                completion = await call.complete(*self._request(run.claim, gate), work.ends_at)
            except Interrupted:
                if signal.reason is None:
                    signal.halt(Stop.TIMEOUT if time.monotonic() >= work.ends_at else Stop.BROKEN)
            except ProviderError as error:
                # Nobody reads its traceback, and that leads back to all that this call held.
                raised = error.with_traceback(None)
            except GeneratorExit:
                raise
            except BaseException as error:  # as above
                raised = TimeoutError() if isinstance(error, TimeoutError) else Unforeseen(error)
            else:
                work.call = None
                work.account.completed(gate, work.turn.reserved, completion)
                return completion if signal.reason is not Stop.LOST else None
            self._broke(work, signal.reason, raised)
            if signal.reason is not None or not isinstance(raised, ProviderError):
                return raised
            if call.began:
                self._gates.failed(gate, raised)
                return raised
            parked = await self._ask_others(run, work, raised)
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
    def _broke(work: Work, stop: Stop | None, raised: Exception | None) -> None:
        """Count, once, what a call cost that did not reach its end."""
        call, work.call = work.call, None
        if call is None:
            return
        outcome, wasted = "failed", None if stop is Stop.CANCELLED else "error"
        if stop is not None:
            outcome = str(stop.value)
            wasted = {Stop.LOST: "lease_lost", Stop.DRAIN: "drain"}.get(stop, wasted)
        elif isinstance(raised, ProviderError):
            outcome = _OUTCOMES[raised.action]
        work.account.broken(
            work.turn.gate, work.turn.reserved, call, work.deltas.text,
            outcome=outcome, cut=stop is not None or call.silent, wasted=wasted,
        )  # fmt: skip

    async def _ask_others(self, run: Run, work: Work, error: ProviderError) -> Parked | bool | None:
        """Tell the gate of a failed call; True: another provider takes over, None: nobody else may."""
        report = report_of(error)
        turn = work.turn
        chain = run.claim.route or self._gates.chain
        others = [gate for gate in chain if gate not in turn.tried]
        if report is CallReport.NONE or not (others or self._gates.gated(turn.gate)):
            return None
        try:
            found = await self._settlement.reroute(
                run, turn.gate, report, retry_after_ms=wish_ms(error), candidates=others, chain=chain,
                spent=work.account.spent,
            )  # fmt: skip
        except LeaseLost:
            run.halt(Stop.LOST)
            return None
        if found.state == "go":
            turn.go_on(found.gate, found.reserved, error.error.type)
            return True
        return Parked(found.wait_ms) if found.state == "parked" else None

    async def decide(self, run: Run, made: Made) -> Ending | None:
        """How the job goes on, once its log is closed; None when nothing may be written any more. Whatever is raised
        meanwhile uses up the attempt."""
        work, signal = run.work, run.signal
        if work is None:
            return outcomes.again(run, signal.reason, made)
        try:
            if signal.reason is Stop.LOST:
                work.deltas.give_up()
            await work.deltas.close()
            if signal.reason is not Stop.LOST:
                return outcomes.ending_of(run, work, made)
        except GeneratorExit:
            raise
        except BaseException as error:  # as above
            if signal.reason is not Stop.LOST:
                return outcomes.again(run, signal.reason, Unforeseen(error))
        work.account.confirmed()
        return None

    def take(self, run: Run) -> Ending | None:
        """Take a run from its task, which does not end: how the job goes on, None when nothing may be written."""
        work, stop = run.work, run.stop
        made: Made = Unforeseen(Interrupted())
        run.signal.revoke()
        if work is not None:
            if stop is None and (call := work.call) is not None and call.silent:
                made = call.silence
            elif stop is None:
                stop = Stop.TIMEOUT if time.monotonic() >= work.ends_at else Stop.BROKEN
            self._broke(work, stop, None)
            work.deltas.give_up()
        return None if stop is Stop.LOST else outcomes.again(run, stop, made)
