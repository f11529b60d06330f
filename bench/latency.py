"""(c) Start latency at an even rate: from the submit to the moment the job's function starts in the worker process.

Both ends read the same machine's clock. The server writes its file, as it does in production.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench import pace
from bench.load import Records
from bench.processes import wait_until
from bench.report import Report, Spread, percentile
from bench.server import Probe, fresh_server
from bench.services import service
from bench.sizes import Sizes

WARM_UP: Final = 10
Submit = Callable[[int], dict[str, float]]


def _latencies(submit: Submit, starts: Records, jobs: int) -> list[float]:
    """Latencies in ms of `jobs` jobs, after a few that only warm up."""
    before = len(starts)
    submit(WARM_UP)
    sent = submit(jobs)
    wait_until(lambda: len(starts) == before + WARM_UP + jobs, "all jobs start")
    started = starts.by_job()
    return [(started[job] - at) * 1000 for job, at in sent.items()]


def _round(probe: Probe, sizes: Sizes, folder: Path) -> dict[str, list[float]]:
    starts = Records(folder / "starts")
    with (
        service("gateway", probe.url) as gateway,
        service("worker", probe.url, BENCH_STARTS=str(starts.path)),
    ):
        ways: dict[str, Submit] = {
            "store call": lambda jobs: pace.over_store(probe.url, jobs, sizes.rate),
            "HTTP request": lambda jobs: pace.over_http(gateway.port, jobs, sizes.rate),
        }
        return {way: _latencies(submit, starts, sizes.paced_jobs) for way, submit in ways.items()}


def run(sizes: Sizes) -> Report:
    """Both ways to submit in turns."""
    found: dict[str, list[list[float]]] = {}
    for _ in range(sizes.repetitions):
        with tempfile.TemporaryDirectory(prefix="presswork-bench-") as folder, fresh_server(aof=True) as probe:
            for way, latencies in _round(probe, sizes, Path(folder)).items():
                found.setdefault(way, []).append(latencies)
    report = Report(name="latency", title=f"submit to start, {sizes.paced_jobs} jobs at {sizes.rate:g}/s, AOF on")
    rows = []
    for way, rounds in found.items():
        spreads = [Spread.of(percentile(values, share) for values in rounds) for share in (0.5, 0.99, 1.0)]
        rows.append([way, *spreads])
        report.figures |= {f"{way}: p50 ms": spreads[0], f"{way}: p99 ms": spreads[1]}
    report.add_table(["from", "p50 ms", "p99 ms", "max ms"], rows)
    return report
