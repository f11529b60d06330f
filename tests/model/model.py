"""The model: what every job should be at after each operation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from shared.job import Claim, JobStatus


@dataclass
class Model:
    """The model: the state of every job, and the claim that may still write."""

    states: dict[str, JobStatus] = field(default_factory=dict)
    holders: dict[str, Claim] = field(default_factory=dict)
    former: list[Claim] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)

    def release(self, held: Claim, state: JobStatus) -> None:
        """A lease ended."""
        self.states[held.job_id] = state
        self.former.append(self.holders.pop(held.job_id))
