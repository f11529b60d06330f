"""Reads the counts that `stats.lua` and INFO answer. Read only, pure."""

from __future__ import annotations

from collections.abc import Sequence

from shared.store.keys import LANES
from shared.store.replies import MemoryUse, QueueStats


def parse(reply: Sequence[int]) -> QueueStats:
    """The reply of stats.lua: one number per stream in the order of LANES, then processing, delayed, parked, ended."""
    waiting, (processing, delayed, parked, completed, failed, cancelled) = reply[: len(LANES)], reply[len(LANES) :]
    return QueueStats(
        queued=sum(waiting) + delayed + parked,
        processing=processing,
        completed=completed,
        failed=failed,
        cancelled=cancelled,
        delayed=delayed,
        parked=parked,
        by_lane=dict(zip(LANES.values(), waiting, strict=True)),
    )


def parse_memory(info: bytes) -> MemoryUse:
    """The reply of INFO memory; what is not in it counts as 0."""
    values = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    return MemoryUse(used=int(values.get("used_memory", 0)), limit=int(values.get("maxmemory", 0)))
