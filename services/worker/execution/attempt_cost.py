"""What one run's calls cost, as they end: kept for the job's end, told to the metrics and to the gate's limits."""

from __future__ import annotations

from collections.abc import Mapping

from services.worker.execution.call_metrics import Meters
from services.worker.execution.gate_reports import Gates
from services.worker.execution.provider_call import Call
from services.worker.execution.usage import estimate_tokens, total, usage_of_broken
from services.worker.providers import Completion, Provider
from shared.chain import split
from shared.job import Claim, Usage


class Account:
    """`spent`: all attempts of the job so far, those of earlier leases too. `wasted`: tokens that bought nothing, by
    reason; they count once the job's next state is written."""

    def __init__(self, claim: Claim, providers: Mapping[str, Provider], gates: Gates, meters: Meters) -> None:
        self._claim = claim
        self._providers = providers
        self._gates = gates
        self._meters = meters
        self.spent = claim.spent
        self.wasted: dict[str, int] = {}
        if claim.lost_bytes:
            self._lost()

    def _lost(self) -> None:
        # The worker that knew better is gone: what it logged is the best estimate of what it paid for.
        usage = Usage(
            input_tokens=estimate_tokens(len(self._claim.spec.prompt)),
            output_tokens=estimate_tokens(self._claim.lost_bytes),
            estimated=True,
        )
        self.spent = total(self.spent, usage, self._cost(self._claim.gate, usage))
        self._waste("worker_lost", usage)

    def _cost(self, gate: str, usage: Usage) -> int | None:
        provider, model = split(gate)
        known = self._providers.get(provider)
        return None if known is None else known.cost(model, usage)

    def _waste(self, reason: str, usage: Usage) -> None:
        self.wasted[reason] = self.wasted.get(reason, 0) + usage.input_tokens + usage.output_tokens

    def completed(self, gate: str, reserved: int, completion: Completion) -> None:
        """A call reached its end, after some that were refused and cost nothing."""
        for _ in range(completion.repairs):
            self._meters.request(gate, "adjusted")
        self._meters.finished(gate, completion.finish_reason)
        self._settle(gate, reserved, completion.usage, "ok")

    def broken(
        self, gate: str, reserved: int, call: Call, text: str, *, outcome: str, cut: bool, wasted: str | None
    ) -> None:
        """A call did not reach its end. Without a word or a thought of the provider it costs nothing, unless we `cut`
        it.

        `wasted`: why its tokens bought nothing; None: the text is kept.
        """
        if not (call.began or call.thought or call.usage or cut):
            self._meters.request(gate, outcome)
            self._gates.used(gate, reserved=reserved, tokens=0)
            return
        usage = usage_of_broken(call.usage, self._claim.spec.prompt, len(text), call.thought)
        self._settle(gate, reserved, usage, outcome)
        if wasted is not None:
            self._waste(wasted, usage)

    def _settle(self, gate: str, reserved: int, usage: Usage, outcome: str) -> None:
        cost = self._cost(gate, usage)
        self.spent = total(self.spent, usage, cost)
        self._meters.request(gate, outcome)
        self._meters.spent(gate, usage, cost)
        self._gates.used(gate, reserved=reserved, tokens=usage.input_tokens + usage.output_tokens)

    def confirmed(self) -> None:
        """The job's next state is written: count what was wasted."""
        for reason, tokens in self.wasted.items():
            self._meters.wasted(reason, tokens)
        self.wasted.clear()
