"""Sums up the cost of one attempt's calls as they end, for the job's outcome, the metrics and the limits of gates.

Counters are looked up once: finding one by its labels costs more than counting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog
from prometheus_client import Counter

from services.worker.execution.gate_reports import GateReports
from services.worker.execution.provider_call import ProviderCall
from services.worker.providers import Completion, Provider
from services.worker.providers.usage import estimate_tokens, usage_of_broken
from shared.chain import split
from shared.job import NANO, Claim, Spent, Usage, reasoning
from shared.telemetry.metrics import ProviderCalls

NAMES_MAX: Final = 100
"""Unknown finish reasons that are logged, each once: a server that makes one up for each answer fills no log."""

_ODD: Final = re.compile(r"[^A-Za-z0-9 _.:/-]")


class CallMetrics:
    """Counts calls of providers by gate. Gates are the few that the settings name."""

    def __init__(self, metrics: ProviderCalls) -> None:
        self._metrics = metrics
        self._requests: dict[tuple[str, str], Counter] = {}
        self._tokens: dict[str, tuple[Counter, Counter, Counter]] = {}
        self._cost: dict[str, Counter] = {}
        self._unknown: set[tuple[str, str]] = set()
        self._log = structlog.get_logger(__name__).bind()

    def first_token(self, seconds: float) -> None:
        """Observe the time from claim to first text."""
        self._metrics.first_token.observe(seconds)

    def request(self, gate: str, outcome: str) -> None:
        """Count a call that ended so."""
        count = self._requests.get((gate, outcome))
        if count is None:
            count = self._requests[gate, outcome] = self._metrics.requests.labels(*split(gate), outcome)
        count.inc()

    def finish_reason(self, gate: str, reason: str) -> None:
        """Count the finish reason of a whole answer if it is in no table, and log it when it is new."""
        if reason in ("stop", "length"):
            return
        provider, model = split(gate)
        self._metrics.unknown_finish_reasons.labels(provider, model).inc()

        name = (gate, _ODD.sub("?", reason))
        if name not in self._unknown and len(self._unknown) < NAMES_MAX:
            self._unknown.add(name)
            self._log.warning("unknown_finish_reason_received", provider=provider, model=model, finish_reason=name[1])

    def usage(self, gate: str, usage: Usage, cost: int | None) -> None:
        """Count the tokens of a call, and its cost in nano-USD (None: unknown)."""
        counts = self._tokens.get(gate)
        if counts is None:
            tokens, name = self._metrics.tokens, split(gate)
            counts = (tokens.labels(*name, "input"), tokens.labels(*name, "output"), tokens.labels(*name, "cached"))
            self._tokens[gate] = counts

        read, written, cached = counts
        read.inc(usage.input_tokens)
        written.inc(usage.output_tokens)
        if usage.cached_tokens:
            cached.inc(usage.cached_tokens)
        if cost:
            paid = self._cost.get(gate)
            if paid is None:
                paid = self._cost[gate] = self._metrics.cost.labels(*split(gate))
            paid.inc(cost / NANO)

    def cut(self, gate: str) -> None:
        """Count and log a call whose reported cost was cut."""
        provider, model = split(gate)
        self._metrics.cut.labels(provider, model).inc()
        self._log.warning("reported_cost_cut", provider=provider, model=model)

    def wasted(self, tokens: Mapping[str, int]) -> None:
        """Count tokens that bought nothing, by reason."""
        for reason, count in tokens.items():
            self._metrics.wasted.labels(reason).inc(count)


class AttemptCost:
    """The cost of one attempt. `spent`: all attempts of the job so far, those of earlier leases too. `wasted`: tokens
    that bought nothing, by reason; they count once the job's next state is written.

    A call that is said to have cost more than was reserved for it is cut to that, and its usage counts as estimated.
    """

    def __init__(
        self, claim: Claim, providers: Mapping[str, Provider], gates: GateReports, metrics: CallMetrics
    ) -> None:
        self._claim = claim
        self._providers = providers
        self._gates = gates
        self._metrics = metrics
        self.spent = claim.spent
        self._bound = claim.bound
        self.wasted: dict[str, int] = {}

    def allow(self, bound: int | None) -> None:
        """Note the most that the next call may cost, in nano-USD; None: anything."""
        self._bound = bound

    def add_lost_call(self) -> None:
        """Add the call of a worker that was lost: the text that it logged is the best estimate of its cost."""
        if not self._claim.lost_bytes:
            return
        usage = Usage(
            input_tokens=estimate_tokens(len(self._claim.spec.prompt)),
            output_tokens=estimate_tokens(self._claim.lost_bytes),
            estimated=True,
        )
        self.spent = _total(self.spent, usage, self._price(self._claim.gate, usage))
        self.waste("worker_lost", usage)

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
            self._gates.used(gate, self._claim, reserved=reserved, tokens=0)
            return

        usage = usage_of_broken(call.usage, self._claim.spec.prompt, len(text), call.thought)
        self._add(gate, reserved, usage, outcome)
        if wasted is not None:
            self.waste(wasted, usage)

    def _add(self, gate: str, reserved: int, usage: Usage, outcome: str) -> None:
        cost = self._price(gate, usage)
        if cost is not None and self._bound is not None and cost > self._bound:
            self._metrics.cut(gate)
            cost, usage = self._bound, msgspec.structs.replace(usage, estimated=True)
        self.spent = _total(self.spent, usage, cost)
        self._metrics.request(gate, outcome)
        self._metrics.usage(gate, usage, cost)
        tokens = usage.input_tokens + usage.output_tokens
        self._gates.used(gate, self._claim, reserved=reserved, tokens=tokens)

    def _price(self, gate: str, usage: Usage) -> int | None:
        provider, model = split(gate)
        known = self._providers.get(provider)
        return None if known is None else known.cost(model, usage)

    def waste(self, reason: str, usage: Usage) -> None:
        """Note that the tokens of a call bought nothing."""
        self.wasted[reason] = self.wasted.get(reason, 0) + usage.input_tokens + usage.output_tokens


def _total(before: Spent | None, usage: Usage, cost: int | None) -> Spent:
    """Add a call to the sum `before`. A sum with an unknown part is unknown, never too low."""
    if before is None and type(usage) is Usage:  # a billed one has counts that are not promised to callers
        return Spent(usage=usage, cost=cost)

    before = before or Spent(usage=Usage(input_tokens=0, output_tokens=0), cost=0)
    earlier = before.usage
    return Spent(
        usage=Usage(
            input_tokens=earlier.input_tokens + usage.input_tokens,
            output_tokens=earlier.output_tokens + usage.output_tokens,
            cached_tokens=earlier.cached_tokens + usage.cached_tokens,
            estimated=earlier.estimated or usage.estimated,
            reasoning_tokens=reasoning((earlier.reasoning_tokens or 0) + (usage.reasoning_tokens or 0)),
        ),
        cost=None if before.cost is None or cost is None else before.cost + cost,
    )
