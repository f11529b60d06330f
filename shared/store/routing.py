"""Gates that the fleet's jobs may pass, and their limits, in the form the scripts read. Pure."""

from __future__ import annotations

from typing import Final

import msgspec


class GateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one `provider:model`, for the whole fleet. 0: no limit of our own, only the provider's replies block
    it."""

    gate: str
    requests_per_minute: int = 0
    tokens_per_minute: int = 0


OUTPUT_MOST: Final = 128_000
"""Tokens that a model writes at most as far as none is known to write more."""


class OutputBound(msgspec.Struct, frozen=True, kw_only=True):
    """Most tokens that a gate's model writes, thoughts among them: `most` in any call; `thoughts`: those beside a job's
    own limit, by its effort: none asked for, low, medium, high."""

    most: int = OUTPUT_MOST
    thoughts: tuple[int, int, int, int] = (0, 0, 0, 0)


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """Routes of jobs. `chain`: gates in order of preference, for jobs that name none. `limits`: limits of gates; a gate
    that is not among them lets every call pass. `failures`: this many in a row block a gate. `prices`: nano-USD (1e-9
    USD) per input and per output token, of gates whose price is known: for jobs that end without a worker. `unpriced`:
    gates whose calls cost nothing that is to be counted; `outputs`: bounds of their replies."""

    chain: tuple[str, ...] = ()
    limits: tuple[GateLimits, ...] = ()
    failures: int = 5
    prices: dict[str, tuple[float, float]] = {}
    unpriced: tuple[str, ...] = ()
    outputs: dict[str, OutputBound] = {}

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
            "bounds": " ".join(f"{gate} {bound}" for gate, bound in self.bounds.items()),
        }

    @property
    def bounds(self) -> dict[str, str]:
        """For each gate: nano-USD per input and output token, and the bound of its replies, as `bounds.lua` reads them.

        A gate without a known price counts as the dearest of all.
        """
        dearest = tuple(max((price[part] for price in self.prices.values()), default=0.0) for part in (0, 1))
        found = {}
        for gate in self.chain:
            used, made = self.prices.get(gate, (0.0, 0.0) if gate in self.unpriced else dearest)
            output = self.outputs.get(gate, OutputBound())
            found[gate] = f"{used:f} {made:f} {output.most} {' '.join(map(str, output.thoughts))}"
        return found
