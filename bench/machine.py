"""Reads the cost of processes from /proc, and waits until no other process needs the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
QUIET_CORES: Final = 0.25
"""CPU others may use while we measure, in cores."""


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        try:
            text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        except OSError:
            continue
        found.extend(int(child) for child in text.split())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, its threads and its living descendants, in s."""
    total = 0.0
    for member in family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) * _TICK_S
    return total


def proportional_set_size(pid: int) -> int:
    """Memory of a process in bytes, shared pages divided by the number of their users."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Pss")


def _busy_seconds() -> float:
    # user, nice, system, idle, iowait, irq, softirq, steal: all but idle and iowait is work.
    fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) * _TICK_S


def wait_for_quiet(limit_s: float) -> None:
    """Return after a half second in which others used less than QUIET_CORES, at the latest after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        before = _busy_seconds()
        time.sleep(0.5)
        if (_busy_seconds() - before) / 0.5 < QUIET_CORES:
            return


class CpuMeter:
    """Cores that some processes used since the meter was made; `others` is the rest of the machine."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = (*pids, os.getpid())
        self._start = self._read()

    def _read(self) -> tuple[float, float, list[float]]:
        # This process's own children are counted where they are asked for, not a second time with it.
        own = time.process_time()
        return time.monotonic(), _busy_seconds(), [*(cpu_seconds(pid) for pid in self._pids[:-1]), own]

    def cores(self) -> tuple[list[float], float]:
        """Cores per process given, and of everybody else."""
        started, busy_before, before = self._start
        now, busy, after = self._read()
        elapsed = max(now - started, 1e-3)
        used = [(b - a) / elapsed for a, b in zip(before, after, strict=True)]
        return used[:-1], max(0.0, (busy - busy_before) / elapsed - sum(used))
