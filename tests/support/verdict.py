"""The end of a run from a terminal."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 50
"""Problems that are printed one by one."""


def verdict(problems: Sequence[str], held: str) -> int:
    """Print what broke, or that all `held`; the exit status of the run."""
    for problem in problems[:SHOWN]:
        print(f"BROKEN {problem}")
    print(f"{len(problems)} breaches" if problems else held)
    return 1 if problems else 0
