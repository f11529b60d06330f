"""The counters of calls of providers, each found once: looking one up by its labels costs more than counting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import structlog
from prometheus_client import Counter

from shared.chain import split
from shared.job import NANO, Usage
from shared.telemetry.metrics import ProviderCalls

NAMES_MAX: Final = 100
"""Unknown finish reasons that are logged, each once: a server that makes one up for each answer fills no log."""

_ODD: Final = re.compile(r"[^A-Za-z0-9 _.:/-]")


class CallMetrics:
    """Counts by gate. Gates are the few that the settings name."""

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

    def wasted(self, tokens: Mapping[str, int]) -> None:
        """Count tokens that bought nothing, by reason."""
        for reason, count in tokens.items():
            self._metrics.wasted.labels(reason).inc(count)
