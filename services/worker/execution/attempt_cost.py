"""Sums up the cost of one attempt's calls as they end, for the job's outcome, the metrics and the limits of gates."""

from __future__ import annotations

from collections.abc import Mapping

from services.worker.execution.call_metrics import CallMetrics
from services.worker.execution.gate_reports import GateReports
from services.worker.execution.provider_call import ProviderCall
from services.worker.providers import Completion, Provider
from services.worker.providers.usage import estimate_tokens, total, usage_of_broken
from shared.chain import split
from shared.job import Claim, Usage


class AttemptCost:
    """`spent`: all attempts of the job so far, those of earlier leases too. `wasted`: tokens that bought nothing, by
    reason; they count once the job's next state is written."""

    def __init__(
        self, claim: Claim, providers: Mapping[str, Provider], gates: GateReports, metrics: CallMetrics
    ) -> None:
        self._claim = claim
        self._providers = providers
        self._gates = gates
        self._metrics = metrics
        self.spent = claim.spent
        self.wasted: dict[str, int] = {}

    def add_lost_call(self) -> None:
        """Add the call of a worker that was lost: the text that it logged is the best estimate of its cost."""
        if not self._claim.lost_bytes:
            return
        usage = Usage(
            input_tokens=estimate_tokens(len(self._claim.spec.prompt)),
            output_tokens=estimate_tokens(self._claim.lost_bytes),
            estimated=True,
        )
        self.spent = total(self.spent, usage, self._price(self._claim.gate, usage))
        self._waste("worker_lost", usage)

    def add_completed(self, gate: str, reserved: int, completion: Completion) -> None:
        """Add a call that reached its end, after some that were refused and cost nothing."""
        for _ in range(completion.repairs):
            self._metrics.request(gate, "adjusted")
        self._metrics.finish_reason(gate, completion.finish_reason)
        self._add(gate, reserved, completion.usage, "ok")

    def add_broken(
        self, gate: str, reserved: int, call: ProviderCall, text: str, *, outcome: str, cut: bool, wasted: str | None
    ) -> None:
        """Add a call that did not reach its end. Without any text or thought of the provider it costs nothing, unless
        we `cut` it.

        `wasted`: why its tokens bought nothing; None: the text is kept.
        """
        if not (call.began or call.thought or call.usage or cut):
            self._metrics.request(gate, outcome)
            self._gates.used(gate, reserved=reserved, tokens=0)
            return

        usage = usage_of_broken(call.usage, self._claim.spec.prompt, len(text), call.thought)
        self._add(gate, reserved, usage, outcome)
        if wasted is not None:
            self._waste(wasted, usage)

    def _add(self, gate: str, reserved: int, usage: Usage, outcome: str) -> None:
        cost = self._price(gate, usage)
        self.spent = total(self.spent, usage, cost)
        self._metrics.request(gate, outcome)
        self._metrics.usage(gate, usage, cost)
        self._gates.used(gate, reserved=reserved, tokens=usage.input_tokens + usage.output_tokens)

    def _price(self, gate: str, usage: Usage) -> int | None:
        provider, model = split(gate)
        known = self._providers.get(provider)
        return None if known is None else known.cost(model, usage)

    def _waste(self, reason: str, usage: Usage) -> None:
        self.wasted[reason] = self.wasted.get(reason, 0) + usage.input_tokens + usage.output_tokens
