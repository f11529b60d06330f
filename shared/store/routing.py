"""Gates that the fleet's jobs may pass, and their limits, in the form the scripts read. Pure."""

from __future__ import annotations

import msgspec


class GateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one `provider:model`, for the whole fleet. 0: no limit of our own, only the provider's replies block
    it."""

    gate: str
    requests_per_minute: int = 0
    tokens_per_minute: int = 0


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """Routes of jobs. `chain`: gates in order of preference, for jobs that name none. `limits`: limits of gates; a gate
    that is not among them lets every call pass. `failures`: this many in a row block a gate. `prices`: nano-USD (1e-9
    USD) per input and per output token, of gates whose price is known: for jobs that end without a worker."""

    chain: tuple[str, ...] = ()
    limits: tuple[GateLimits, ...] = ()
    failures: int = 5
    prices: dict[str, tuple[float, float]] = {}

    @property
    def constants(self) -> dict[str, str | int]:
        """Values by the names in the scripts' headers."""
        rows = [f"{row.gate} {row.requests_per_minute} {row.tokens_per_minute}" for row in self.limits]
        prices = [f"{gate} {used:f} {made:f}" for gate, (used, made) in self.prices.items()]
        return {
            "chain": " ".join(self.chain),
            "limits": " ".join(rows),
            "failures_max": self.failures,
            "prices": " ".join(prices),
        }
