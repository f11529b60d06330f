"""Events that readers saw of jobs, and breaches in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.sse import TERMINAL


@dataclass
class Reading:
    """Events that one reader saw of one job: (id, event, data) in order; `gaps` counts explicit gaps."""

    job_id: str
    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    gaps: int = 0

    @property
    def kinds(self) -> list[str]:
        """The kinds of its events, in order."""
        return [kind for _, kind, _ in self.events]

    def problems(self) -> list[str]:
        """Breaches of I2 and I10 in the seen events; [] is right."""
        found = []
        ids = [event_id for event_id, _, _ in self.events]
        if len(set(ids)) != len(ids):
            found.append(f"{self.job_id}: an event came twice: {ids}")
        kinds = self.kinds
        if kinds[:1] != ["queued"] and not self.gaps:
            found.append(f"{self.job_id}: began with {kinds[:1]}")
        if sum(kind in TERMINAL for kind in kinds) != 1 or kinds[-1] not in TERMINAL:
            found.append(f"{self.job_id}: not exactly one end: {kinds}")
        if kinds[-1:] == ["completed"] and not self.gaps:
            last = max((i for i, kind in enumerate(kinds) if kind == "processing"), default=0)
            text = "".join(data["text"] for _, kind, data in self.events[last:] if kind == "delta")
            if text != self.events[-1][2]["result"]:
                found.append(f"{self.job_id}: the deltas do not add up to the result")
        return found


def contradictions(readings: Sequence[Reading], ends: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Breaches in the read events, and ends that differ from the job's status in `ends`; [] is right."""
    found = []
    for reading in readings:
        found += reading.problems()
        status = ends.get(reading.job_id)
        if status is None or not reading.events:
            continue
        _, kind, data = reading.events[-1]
        if kind != status["status"]:
            found.append(f"{reading.job_id}: the stream says {kind}, the status {status['status']}")
        if kind == "completed" and data["result"] != status["result"]:
            found.append(f"{reading.job_id}: stream and status have another text")
    return found
