"""(h) Drain rate with ever more jobs waiting, and scripts with ever more throttled ones.

All depths stay filled on servers of their own and take turns.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import uvloop

from bench.engine import DRAIN_SECONDS
from bench.load import Records
from bench.machine import wait_for_quiet
from bench.processes import answer_of, free_port, running, wait_until
from bench.report import Report, Spread
from bench.server import Probe, fresh_server
from bench.services import WORKER, settings_of
from bench.sizes import Sizes
from bench.throttled import durations
from shared.store.keys import QUEUES, Keys

FILL_SECONDS: Final = 600.0


def _fill(probe: Probe, waiting: int) -> None:
    """Enqueue until so many jobs wait."""
    missing = waiting - sum(probe.length(Keys().fixed(queue)) for queue in QUEUES.values())
    missing -= probe.members(f"{Keys().prefix('backlog')}*")
    if missing > 0:
        command = [sys.executable, "-m", "bench.producer", str(missing - 1), "200"]
        answer_of(command, {"REDIS_URL": probe.url}, FILL_SECONDS)


def _drain(probe: Probe, sizes: Sizes, depth: int) -> float:
    """Jobs a second, from start to start, of the first `jobs` of a worker with `depth` more waiting behind them."""
    _fill(probe, depth + sizes.jobs)
    with tempfile.TemporaryDirectory(prefix="presswork-bench-") as folder:
        starts = Records(Path(folder) / "starts")
        settings = {"BENCH_STARTS": str(starts.path), "WORKER_CONCURRENCY": str(sizes.concurrency)}
        wait_for_quiet(sizes.quiet_wait)
        with running(WORKER, settings_of("worker", probe.url, free_port(), settings)):
            wait_until(lambda: len(starts) >= sizes.jobs, f"{sizes.jobs} jobs start", DRAIN_SECONDS)
        times = sorted(starts.times())[: sizes.jobs]
    return (len(times) - 1) / (times[-1] - times[0])


def _add_scripts(report: Report, sizes: Sizes) -> None:
    """Times of scripts that meet throttled jobs, in ms."""
    times = uvloop.run(durations(sizes.throttled, sizes.script_calls))
    columns = [f"{count:,} throttled, ms" for count in times]
    report.add_table(
        ["longest script of", *columns],
        [[name, *(found[name] for found in times.values())] for name in times[sizes.throttled[0]]],
    )
    for count, found in times.items():
        report.figures[f"{count:,} throttled: ms"] = max(spread.median for spread in found.values())


def run(sizes: Sizes) -> Report:
    """Every depth in turns; the first once more at the end of each round, to see the machine's own drift."""
    turns = [*sizes.depths, sizes.depths[0]]
    names = [f"{depth:,}" for depth in sizes.depths] + [f"{sizes.depths[0]:,} again"]
    rates: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        probes = {depth: stack.enter_context(fresh_server()) for depth in sizes.depths}
        for depth, probe in probes.items():
            _fill(probe, depth + sizes.jobs)
        for _ in range(sizes.repetitions):
            for name, depth in zip(names, turns, strict=True):
                rates[name].append(_drain(probes[depth], sizes, depth))
        memory = {f"{depth:,}": probe.used_memory() / 2**20 for depth, probe in probes.items()}
    report = Report(name="growth", title=f"drain rate of {sizes.jobs:,} jobs with more waiting behind them")
    rows = []
    for name, found in rates.items():
        ratio = Spread.of(rate / shallow for rate, shallow in zip(found, rates[names[0]], strict=True))
        rows.append([name, Spread.of(found), ratio, memory.get(name, "")])
        report.figures |= {f"{name}: jobs/s": Spread.of(found), f"{name}: x {names[0]}": ratio}
    report.add_table(["waiting behind", "jobs/s", f"x {names[0]} in the same round", "used_memory MB"], rows)
    _add_scripts(report, sizes)
    return report
