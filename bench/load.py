"""The job every queue gets: 300 bytes of JSON in, 600 bytes of text out."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import msgspec

from shared.job import JobSpec
from shared.job_ids import new_job_id
from shared.store.transitions import Submit

RESULT: Final = "r" * 600
PAYLOAD_BYTES: Final = 300

START: Final = struct.Struct("=d30s")
"""A job's line at its start: seconds since the epoch by this machine's clock, and its id (peers: nothing)."""


def _spec(prompt: str) -> JobSpec:
    return JobSpec(
        project_id="project-123",
        user_id="user-456",
        organization_id="org-789",
        prompt=prompt,
        parameters={"tone": "professional", "length": "short", "platform": "linkedin"},
    )


SPEC: Final = _spec("p" * (PAYLOAD_BYTES - len(msgspec.json.encode(_spec("")))))
PAYLOAD: Final = msgspec.json.encode(SPEC).decode()
"""The same as JSON: the argument of a peer, and the body for a gateway."""


def new_job(*, delay_ms: int = 0) -> Submit:
    """A job of this load."""
    return Submit(id=new_job_id(), spec=SPEC, delay_ms=delay_ms)


class Records:
    """A file in which running jobs leave one record each, read from the outside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def __len__(self) -> int:
        return self.path.stat().st_size // START.size

    def times(self) -> list[float]:
        """Times in s, in the order they were written."""
        return [stamp for stamp, _ in START.iter_unpack(self.path.read_bytes())]

    def by_job(self) -> dict[str, float]:
        """Time in s by job id; of several records of one job the first."""
        found: dict[str, float] = {}
        for stamp, job in START.iter_unpack(self.path.read_bytes()):
            found.setdefault(job.decode(), stamp)
        return found
