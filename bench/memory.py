"""(f) Memory of the server per queued and per finished job: growth of used_memory, nothing expired meanwhile."""

from __future__ import annotations

import sys

from bench.load import PAYLOAD, RESULT
from bench.processes import answer_of, wait_until
from bench.report import Report
from bench.server import Probe, fresh_server
from bench.services import service
from bench.sizes import Sizes


def _measure(probe: Probe, sizes: Sizes, delta: int) -> tuple[float, float]:
    """Bytes per queued and per finished job, in which `delta` characters of the result came as a delta."""
    producer = [sys.executable, "-m", "bench.producer"]
    environment = {"REDIS_URL": probe.url}

    def drain() -> None:
        with service("worker", probe.url, BENCH_DELTA=str(delta)):
            wait_until(lambda: probe.completed() == expected, "all jobs finish", 120)

    # A job before the first reading: scripts, groups, the day's index and the worker's own keys are there then.
    answer_of([*producer, "0", "1"], environment)
    expected = 1
    drain()
    empty = probe.used_memory()
    answer_of([*producer, str(sizes.memory_jobs), "50"], environment)
    queued = probe.used_memory()
    expected += sizes.memory_jobs + 1
    drain()
    ended = probe.used_memory()
    return (queued - empty) / sizes.memory_jobs, (ended - empty) / sizes.memory_jobs


def run(sizes: Sizes) -> Report:
    """Without and with a delta in the log of each job."""
    title = f"server memory, {sizes.memory_jobs:,} jobs, payload {len(PAYLOAD)} bytes, result {len(RESULT)} bytes"
    report = Report(name="memory", title=title)
    rows = []
    for name, delta in (("no delta", 0), ("one delta of 100 bytes", 100)):
        with fresh_server() as probe:
            queued, finished = _measure(probe, sizes, delta)
        rows.append([name, queued, finished])
        report.figures |= {f"{name}: bytes a queued job": queued, f"{name}: bytes a finished job": finished}
    report.add_table(["job", "bytes a queued job", "bytes a finished job"], rows)
    return report
