"""The state of an attempt so far: its place in the chain of providers, its text, and the cost of its calls."""

from __future__ import annotations

import time

import msgspec

from services.worker.execution.attempt_cost import AttemptCost
from services.worker.execution.delta_writer import DeltaWriter
from services.worker.providers import Completion
from shared.chain import split
from shared.job import Claim, PassedOver


class Throttled(msgspec.Struct, frozen=True):
    """The job waits for a provider, which may have room in `wait_ms`. The store has written that already."""

    wait_ms: int


class Stopped(msgspec.Struct, frozen=True):
    """The calls were stopped; the stop signal says why."""


CallResult = Completion | Throttled | Stopped | Exception
"""Results of an attempt's calls."""


class Fallback:
    """The place of a job in its chain: the gate it calls, its reservation there, and the providers passed over."""

    def __init__(self, claim: Claim, default: str) -> None:
        self.gate = claim.gate or default
        self.reserved = claim.reserved
        self.passed_over = list(claim.passed_over)
        self.tried = {self.gate}

    def advance(self, gate: str, reserved: int, reason: str) -> None:
        """Go on with another gate that took the job."""
        provider, model = split(self.gate)
        self.passed_over.append(PassedOver(provider=provider, model=model, reason=reason))
        self.gate, self.reserved = gate, reserved
        self.tried.add(gate)


class Progress:
    """Progress of one attempt, changed by its runner alone. `ends_at`: when its time is over (monotonic, s)."""

    __slots__ = ("cost", "deltas", "ends_at", "fallback")

    def __init__(self, claim: Claim, cost: AttemptCost, deltas: DeltaWriter, fallback: Fallback) -> None:
        self.cost = cost
        self.deltas = deltas
        self.fallback = fallback
        to_deadline_s = (claim.deadline_ms - claim.started_ms) / 1000
        self.ends_at = time.monotonic() + min(claim.spec.timeout_seconds, to_deadline_s)
