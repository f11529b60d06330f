"""Which gates the fleet's jobs may pass, and what each lets through: what the scripts are told of it. Pure."""

from __future__ import annotations

import msgspec


class GateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one `provider:model`, for the whole fleet. 0: no limit of our own, only the provider's answers close it."""

    gate: str
    requests_per_minute: int = 0
    tokens_per_minute: int = 0


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """`chain`: gates in order of preference, for jobs that name none. `limits`: of those that are gated; a gate that is
    not among them always lets pass. `failures`: so many in a row close a gate. `prices`: nano-USD (1e-9 USD) per input
    and per output token, of gates whose price is known: for jobs that end without a worker."""

    chain: tuple[str, ...] = ()
    limits: tuple[GateLimits, ...] = ()
    failures: int = 5
    prices: dict[str, tuple[float, float]] = {}

    @property
    def constants(self) -> dict[str, str | int]:
        """As the scripts' headers name them."""
        rows = [f"{row.gate} {row.requests_per_minute} {row.tokens_per_minute}" for row in self.limits]
        prices = [f"{gate} {used:f} {made:f}" for gate, (used, made) in self.prices.items()]
        return {
            "chain": " ".join(self.chain),
            "limits": " ".join(rows),
            "failures_max": self.failures,
            "prices": " ".join(prices),
        }
