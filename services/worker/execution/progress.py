"""What came of a run so far: where it stands in its chain, its text, and what its calls cost."""

from __future__ import annotations

import time

from services.worker.execution.attempt import Parked
from services.worker.execution.attempt_cost import Account
from services.worker.execution.delta_writer import Deltas
from services.worker.execution.provider_call import Call
from services.worker.providers import Completion
from shared.chain import split
from shared.job import Claim, PassedOver

Made = Completion | Parked | Exception | None
"""What the calls of a run came to; None: they were stopped."""


class Turn:
    """Where the job stands in its chain: the gate it calls, its reservation there, and who did not answer before."""

    def __init__(self, claim: Claim, default: str) -> None:
        self.gate = claim.gate or default
        self.reserved = claim.reserved
        self.passed_over = list(claim.passed_over)
        self.tried = {self.gate}

    def go_on(self, gate: str, reserved: int, why: str) -> None:
        """Another gate took the job."""
        provider, model = split(self.gate)
        self.passed_over.append(PassedOver(provider=provider, model=model, reason=why))
        self.gate, self.reserved = gate, reserved
        self.tried.add(gate)


class Work:
    """Of one run, changed by its runner alone. `ends_at`: when its time is over (monotonic clock, s). `call`: the one
    under way."""

    def __init__(self, claim: Claim, account: Account, deltas: Deltas, turn: Turn) -> None:
        self.account = account
        self.deltas = deltas
        self.turn = turn
        self.call: Call | None = None
        self.to_deadline_s = (claim.deadline_ms - claim.started_ms) / 1000
        self.ends_at = time.monotonic() + min(claim.spec.timeout_seconds, self.to_deadline_s)
