"""Parts of a brief, for tests."""

from __future__ import annotations

from services.worker.prompting import Brief


def requirements_of(made: Brief) -> list[str]:
    """The lines under `Requirements`."""
    _, found, tail = made.system.partition("\nRequirements:\n")
    return tail.splitlines() if found else []
