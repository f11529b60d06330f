"""Runs one attempt: calls a provider, or the next one in the chain, until one has answered, and decides its outcome."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import msgspec

from services.worker.attribution import Attribution
from services.worker.execution import outcomes
from services.worker.execution.attempt import Attempt, Interrupted, StopReason, Unforeseen
from services.worker.execution.attempt_cost import AttemptCost, CallMetrics
from services.worker.execution.attempt_spans import CallSpan
from services.worker.execution.delta_writer import DeltaWriter
from services.worker.execution.finalization import Finalizer
from services.worker.execution.gate_reports import GateReports, report_of
from services.worker.execution.outcomes import CallResult, Decision, Fallback, Progress, Stopped, Throttled
from services.worker.execution.provider_call import ProviderCall, SilenceLimits
from services.worker.execution.retry_policy import retry_after_ms
from services.worker.providers import Action, Completion, GenerationRequest, Provider, ProviderError
from shared.chain import split
from shared.errors import LeaseLost
from shared.job import JobError
from shared.store.job_store import JobStore
from shared.store.results import CallReport, Rerouted
from shared.store.transitions import Reroute
from shared.tracing.spans import Tracer

_OUTCOMES: Final = {Action.WAIT: "limited", Action.RETRY: "failed", Action.FALLBACK: "refused", Action.FAIL: "rejected"}
"""Names in the metrics of calls that failed."""

_WASTED: Final = {StopReason.CANCELLED: None, StopReason.LEASE_LOST: "lease_lost", StopReason.DRAIN: "drain"}
"""Names in the metrics of tokens that bought nothing, where it is not "error"; None: the customer gets the text."""


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that all attempts of a worker share. `providers` by name."""

    providers: Mapping[str, Provider]
    store: JobStore
    gates: GateReports
    finalizer: Finalizer
    metrics: CallMetrics
    attribution: Attribution
    tracer: Tracer | None
    silence: SilenceLimits


class AttemptRunner:
    """Runner of one attempt; nothing else changes its progress. First `call`, then `decide`; `take_over` at any
    time."""

    __slots__ = ("_attempt", "_call", "_decision", "_progress", "_shared", "_signal", "_span")

    def __init__(self, attempt: Attempt, shared: Dependencies) -> None:
        claim, chain = attempt.claim, shared.gates.chain
        self._attempt = attempt
        self._signal = attempt.signal
        self._shared = shared
        self._progress = Progress(
            claim,
            AttemptCost(claim, shared.providers, shared.gates, shared.metrics),
            DeltaWriter(shared.store, claim, attempt.signal),
            Fallback(claim, chain[0] if chain else ""),
        )
        self._call: ProviderCall | None = None
        self._span: CallSpan | None = None
        self._decision: Decision | None = None

    async def call(self) -> CallResult:
        """Call the providers of the chain until one has begun to answer; returns exceptions, too."""
        try:
            self._progress.cost.add_lost_call()
            if route := self._attempt.claim.route:
                self._shared.gates.recent.took(route)
            return await self._call_chain()
        except GeneratorExit:
            raise
        except BaseException as error:  # an attempt ends with any exception (I12)
            return Unforeseen(error)

    async def decide(self, result: CallResult) -> Decision:
        """Close the log and decide how the job goes on. An exception in between uses up the attempt."""
        try:
            if self._signal.reason is StopReason.LEASE_LOST:
                self._progress.deltas.give_up()
            await self._progress.deltas.close()
            if self._signal.reason is not StopReason.LEASE_LOST:
                self._decision = outcomes.decide(self._attempt, self._progress, result)
        except GeneratorExit:
            raise
        except BaseException as error:  # as above
            if self._signal.reason is not StopReason.LEASE_LOST:
                raised = Unforeseen(error)
                self._decision = outcomes.requeue(self._attempt, self._progress, self._signal.reason, raised)
        return self._decision or outcomes.abandon(self._progress)

    def take_over(self) -> Decision:
        """Take the attempt from its task, which does not end, and decide without it."""
        reason, call = self._signal.reason, self._call
        self._signal.revoke()
        if self._decision is not None:
            return self._decision

        result: CallResult = Unforeseen(Interrupted())
        if reason is None and call is not None and call.silent:
            result = call.silence
        elif reason is None:
            reason = self._overrun()
        self._count(reason, None)
        self._progress.deltas.give_up()

        if reason is StopReason.LEASE_LOST:
            return outcomes.abandon(self._progress)
        return outcomes.requeue(self._attempt, self._progress, reason, result)

    # ---- calls --------------------------------------------------------------------------------------------------

    async def _call_chain(self) -> CallResult:
        signal, fallback = self._signal, self._progress.fallback
        while signal.reason is None:
            self._call = call = ProviderCall(signal, self._progress.deltas, self._shared.silence, self._began)
            if self._shared.tracer is not None:
                self._span = CallSpan(self._shared.tracer, self._attempt, fallback.gate)
            result = await self._complete(call)
            self._count(signal.reason, result)
            if signal.reason is not None or not isinstance(result, ProviderError):
                return result

            if call.began:
                self._shared.gates.failed(fallback.gate, result)
                return result
            rerouted = await self._reroute(result)
            if rerouted.state == "throttled":
                return Throttled(rerouted.wait_ms)
            if rerouted.state == "stay":
                return result
            fallback.advance(rerouted.gate, rerouted.reserved, result.error.type)
            self._progress.cost.allow(rerouted.bound)
        return Stopped()

    async def _complete(self, call: ProviderCall) -> CallResult:
        try:
            return await call.complete(*self._request(), self._progress.ends_at)
        except Interrupted:
            if self._signal.reason is None:
                self._signal.stop(self._overrun())
            return Stopped()
        except ProviderError as error:
            # Its traceback is never read, and it leads back to all that this call held.
            return error.with_traceback(None)
        except GeneratorExit:
            raise
        except BaseException as error:  # an attempt ends with any exception (I12)
            return TimeoutError() if isinstance(error, TimeoutError) else Unforeseen(error)

    def _request(self) -> tuple[Provider, GenerationRequest]:
        """Build the request for the current gate. ProviderError when this worker does not have it."""
        claim, gate, chain = self._attempt.claim, self._progress.fallback.gate, self._shared.gates.chain
        name, model = split(gate)
        provider = self._shared.providers.get(name)
        if provider is None or (chain and gate not in chain):
            # Another release of the fleet may have it.
            error = JobError(
                type="ProviderNotConfigured", message="this worker has no such provider or model", retryable=True
            )
            raise ProviderError(error, Action.RETRY)

        spec = claim.spec
        request = GenerationRequest(
            job_id=claim.job_id, attempt=claim.attempt, prompt=spec.prompt, parameters=spec.parameters,
            model=model, max_tokens=spec.max_tokens, temperature=spec.temperature, effort=spec.effort,
            turns=spec.turns or (), instructions=spec.instructions, response_schema=spec.response_schema,
            mismatch=claim.mismatch,
            end_user=self._shared.attribution.end_user(spec.organization_id, spec.user_id),
        )  # fmt: skip
        return provider, request

    def _began(self) -> None:
        self._shared.metrics.first_token(time.monotonic() - self._attempt.started_s)
        if self._span is not None:
            self._span.note_first_token()
        self._shared.gates.answered(self._progress.fallback.gate)

    def _overrun(self) -> StopReason:
        """The error of a step that was cut although the attempt was not to stop."""
        overdue = time.monotonic() >= self._progress.ends_at
        return StopReason.TIMEOUT if overdue else StopReason.LOG_FAILED

    def _count(self, reason: StopReason | None, result: CallResult | None) -> None:
        """Add the cost of the call under way, once, and end its span."""
        call, self._call = self._call, None
        if call is None:
            return
        outcome = _outcome(reason, result)
        if self._span is not None:
            self._span.end(outcome, result, call)

        fallback, cost = self._progress.fallback, self._progress.cost
        if (failure := _failure(reason, result, call)) is not None:
            chain = self._attempt.claim.route or self._shared.gates.chain
            self._shared.gates.recent.failed(fallback.gate, failure, chain)
        if isinstance(result, Completion):
            cost.add_completed(fallback.gate, fallback.reserved, result)
            return

        wasted = "error" if reason is None else _WASTED.get(reason, "error")
        cost.add_broken(
            fallback.gate, fallback.reserved, call, self._progress.deltas.text,
            outcome=outcome, cut=reason is not None or call.silent, wasted=wasted,
        )  # fmt: skip

    async def _reroute(self, error: ProviderError) -> Rerouted:
        """Report a failed call to its gate, and ask the other gates of the chain for room."""
        claim, fallback, gates = self._attempt.claim, self._progress.fallback, self._shared.gates
        report, chain = report_of(error), claim.route or gates.chain
        others = [gate for gate in chain if gate not in fallback.tried]
        if report is CallReport.NONE or not (others or gates.limited(fallback.gate)):
            return Rerouted("stay", fallback.gate)

        reroute = Reroute(
            claim, fallback.gate, report, retry_after_ms=retry_after_ms(error), candidates=others, chain=chain,
            spent=self._progress.cost.spent,
        )  # fmt: skip
        try:
            return await self._shared.finalizer.reroute(self._attempt, reroute)
        except LeaseLost:
            self._signal.stop(StopReason.LEASE_LOST)
            return Rerouted("stay", fallback.gate)


def _failure(reason: StopReason | None, result: CallResult | None, call: ProviderCall) -> str | None:
    """The type of error of a call that its provider failed; None: it did not, or we cut it for another reason."""
    if reason is StopReason.TIMEOUT or (reason is None and isinstance(result, TimeoutError)):
        return "Timeout"
    error = call.silence if result is None and call.silent else result
    return error.error.type if reason is None and isinstance(error, ProviderError) else None


def _outcome(reason: StopReason | None, result: CallResult | None) -> str:
    """The name in the metrics of a call that ended so. `reason`: why it was cut."""
    if isinstance(result, Completion):
        return "ok"
    if reason is not None:
        return str(reason.value)
    return _OUTCOMES[result.action] if isinstance(result, ProviderError) else "failed"
