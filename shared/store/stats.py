"""Reads the counts that `stats.lua` and INFO answer. Read only, pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shared.chain import split
from shared.store.keys import LANES
from shared.store.replies import GateState, MemoryUse, QueueStats

_GATE_REASONS: Final = {1: "rate_limited", 2: "unavailable"}


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


def parse_gates(reply: Sequence[bytes], now_ms: int) -> list[GateState]:
    """The hash that `lua/include/gates.lua` keeps; what cannot be read counts as open."""
    found = []
    for name, state in zip(reply[::2], reply[1::2], strict=True):
        if name.startswith(b"@"):  # a lane in which jobs wait
            continue
        numbers = [int(part) if part.isdigit() else 0 for part in state.split()] + [0, 0]
        provider, model = split(name.decode())
        reason = _GATE_REASONS.get(numbers[1], "")
        closed_ms = max(numbers[0] - now_ms, 0)
        found.append(GateState(provider=provider, model=model, closed_ms=closed_ms, reason=reason))
    return found


def parse_memory(info: bytes) -> MemoryUse:
    """The reply of INFO memory; what is not in it counts as 0."""
    values = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    return MemoryUse(used=int(values.get("used_memory", 0)), limit=int(values.get("maxmemory", 0)))
