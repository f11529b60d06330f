"""(d) All Redis commands of a job at an even rate, those inside scripts included, and round trips per job.

The real gateway and the real worker, jobs of one delta, job events on, without a listener.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import uvloop

from bench import pace
from bench.latency import WARM_UP
from bench.load import Records
from bench.processes import wait_until
from bench.report import Report, Spread
from bench.server import fresh_server, sent_by_us
from bench.services import service
from bench.sizes import Sizes
from bench.transitions import ROUNDS, commands_of_transitions


def listing(calls: Mapping[str, int], share: float) -> str:
    """`HSET 3, XADD 1`: calls divided by `share`, most frequent first."""
    ordered = sorted(calls.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name.upper()} {count / share:.3g}" for name, count in ordered if count)


def _paced(sizes: Sizes) -> tuple[Counter[str], Counter[str]]:
    """Commands of all jobs, and those that the services sent themselves."""
    with tempfile.TemporaryDirectory(prefix="presswork-bench-") as folder, fresh_server() as probe:
        ends = Records(Path(folder) / "ends")
        with (
            service("gateway", probe.url) as gateway,
            service("worker", probe.url, BENCH_ENDS=str(ends.path), BENCH_DELTA="100"),
        ):
            pace.over_http(gateway.port, WARM_UP, sizes.rate)
            wait_until(lambda: len(ends) == WARM_UP, "the warm-up ends")
            before = probe.commands()
            pace.over_http(gateway.port, sizes.paced_jobs, sizes.rate)
            wait_until(lambda: len(ends) == WARM_UP + sizes.paced_jobs, "all jobs end")
            commands = probe.commands() - before
            return commands, sent_by_us(commands)


def run(sizes: Sizes) -> Report:
    """The whole path at an even rate, then each transition alone."""
    rounds = [_paced(sizes) for _ in range(sizes.repetitions)]
    jobs = sizes.paced_jobs
    commands, sent = rounds[0]
    report = Report(name="commands", title=f"Redis commands per job, {jobs} jobs at {sizes.rate:g}/s, one delta each")
    totals = Spread.of(found.total() / jobs for found, _ in rounds)
    trips = Spread.of(found.total() / jobs for _, found in rounds)
    report.add_table(
        ["per job", "total", "what (first repetition)"],
        [
            ["commands, inside scripts too", totals, listing(commands, jobs)],
            ["round trips: sent by clients", trips, listing(sent, jobs)],
        ],
    )
    report.figures = {"commands a job": totals, "round trips a job": trips}
    with fresh_server() as probe:
        transitions = uvloop.run(commands_of_transitions(probe))
    report.add_table(
        ["transition alone", "commands", "what"],
        [[name, calls.total() / ROUNDS, listing(calls, ROUNDS)] for name, calls in transitions.items()],
    )
    return report
