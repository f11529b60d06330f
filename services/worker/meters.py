"""The counters of calls of providers, each found once: looking one up by its labels costs more than counting."""

from __future__ import annotations

from prometheus_client import Counter

from shared.chain import split
from shared.job import NANO, Usage
from shared.telemetry.instruments import Count
from shared.telemetry.metrics import ProviderCalls


class Meters:
    """Counts by gate. Gates are the few that the settings name."""

    def __init__(self, metrics: ProviderCalls) -> None:
        self._metrics = metrics
        self._requests: dict[tuple[str, str], Count] = {}
        self._tokens: dict[str, tuple[Count, Count, Count]] = {}
        self._cost: dict[str, Counter] = {}

    def request(self, gate: str, outcome: str) -> None:
        """A call ended so."""
        count = self._requests.get((gate, outcome))
        if count is None:
            count = self._requests[gate, outcome] = self._metrics.requests.labels(*split(gate), outcome)
        count.inc()

    def spent(self, gate: str, usage: Usage, cost: int | None) -> None:
        """A call used these tokens, for so many nano-USD (None: unknown)."""
        counts = self._tokens.get(gate)
        if counts is None:
            tokens, name = self._metrics.tokens, split(gate)
            counts = (tokens.labels(*name, "input"), tokens.labels(*name, "output"), tokens.labels(*name, "cached"))
            self._tokens[gate] = counts
        read, written, cached = counts
        read.inc(usage.input_tokens)
        written.inc(usage.output_tokens)
        cached.inc(usage.cached_tokens)
        if cost:
            paid = self._cost.get(gate)
            if paid is None:
                paid = self._cost[gate] = self._metrics.cost.labels(*split(gate))
            paid.inc(cost / NANO)

    def wasted(self, reason: str, tokens: int) -> None:
        """So many tokens bought nothing."""
        self._metrics.wasted.labels(reason).inc(tokens)
