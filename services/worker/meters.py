"""The counters of calls of providers, each found once: looking one up by its labels costs more than counting."""

from __future__ import annotations

from prometheus_client import Counter

from shared.chain import split
from shared.job import Usage
from shared.telemetry.metrics import WorkerMetrics


class Meters:
    """Counts by gate. Gates are the few that the settings name."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._requests: dict[tuple[str, str], Counter] = {}
        self._tokens: dict[tuple[str, str], Counter] = {}
        self._cost: dict[str, Counter] = {}

    def request(self, gate: str, outcome: str) -> None:
        """A call ended so."""
        counter = self._requests.get((gate, outcome))
        if counter is None:
            counter = self._requests[gate, outcome] = self._metrics.requests.labels(*split(gate), outcome)
        counter.inc()

    def spent(self, gate: str, usage: Usage, cost: int | None) -> None:
        """A call used these tokens, for so many nano-USD (None: unknown)."""
        counts = (("input", usage.input_tokens), ("output", usage.output_tokens), ("cached", usage.cached_tokens))
        for direction, tokens in counts:
            if tokens:
                counter = self._tokens.get((gate, direction))
                if counter is None:
                    counter = self._tokens[gate, direction] = self._metrics.tokens.labels(*split(gate), direction)
                counter.inc(tokens)
        if cost:
            paid = self._cost.get(gate)
            if paid is None:
                paid = self._cost[gate] = self._metrics.cost.labels(*split(gate))
            paid.inc(cost / 1e9)

    def wasted(self, reason: str, tokens: int) -> None:
        """So many tokens bought nothing."""
        self._metrics.wasted.labels(reason).inc(tokens)
