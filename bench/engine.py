"""(a) Enqueue and drain of no-op jobs in one worker process, beside taskiq, dramatiq and BullMQ, and round trips.

A drain ends when the last result is stored, and begins when the first job starts. Every measurement has a fresh server
of the same binary without a file on disk.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.load import PAYLOAD, Records
from bench.machine import CpuMeter, wait_for_quiet
from bench.processes import PEER_MODULES, PEER_PYTHON, answer_of, free_port, running, wait_until
from bench.report import Report, Spread
from bench.server import Probe, fresh_server, sent_by_us
from bench.services import WORKER, settings_of
from bench.sizes import Sizes

DRAIN_SECONDS: Final = 180.0


class Contestant(msgspec.Struct, frozen=True):
    """A queue: how jobs are enqueued, how its worker is started, how many results it has stored."""

    name: str
    producer: Sequence[str]
    worker: Sequence[str]
    environment: Mapping[str, str]
    ended: Callable[[Probe], int]
    ours: bool = False


class Run(msgspec.Struct, frozen=True):
    """One measurement. Rates in jobs/s, CPU in cores, the rest per job."""

    enqueue: float
    drain: float
    worker_cores: float
    server_cores: float
    others_cores: float
    sent: float | None
    commands: float


def _ours(name: str, sizes: Sizes, *, organization_events: bool) -> Contestant:
    producer = [sys.executable, "-m", "bench.producer", str(sizes.jobs), str(sizes.concurrency)]
    settings = {"WORKER_CONCURRENCY": str(sizes.concurrency), "ORGANIZATION_EVENTS": str(int(organization_events))}
    return Contestant(
        name, producer, WORKER, settings_of("worker", "", free_port(), settings), Probe.completed, ours=True
    )


def _python_peers(sizes: Sizes) -> list[Contestant]:
    python, number = str(PEER_PYTHON), str(sizes.jobs)
    taskiq = Contestant(
        "taskiq + taskiq-redis",
        [python, "-m", "bench.peers.taskiq_peer", number, str(sizes.concurrency)],
        [python, "-m", "taskiq", "worker", "bench.peers.taskiq_peer:broker", "--workers", "1", "--max-async-tasks",
         str(sizes.concurrency), "--log-level", "WARNING"],
        {},
        lambda probe: probe.keys() - 1,
    )  # fmt: skip
    dramatiq = Contestant(
        "dramatiq",
        [python, "-m", "bench.peers.dramatiq_peer", number],
        [python, "-m", "dramatiq", "bench.peers.dramatiq_peer", "--processes", "1"],
        {},
        lambda probe: probe.keys() - 1,
    )
    return [taskiq, dramatiq]


def _bullmq(sizes: Sizes) -> Contestant:
    script, slots = "bench/peers/bullmq/queue.cjs", str(sizes.concurrency)
    return Contestant(
        "BullMQ",
        ["node", script, "enqueue", str(sizes.jobs), slots],
        ["node", script, "work", slots],
        {"NODE_PATH": str(PEER_MODULES)},
        lambda probe: probe.members("bull:bench:completed"),
    )


def contestants(sizes: Sizes) -> list[Contestant]:
    """Ours, and the peers whose environments are there."""
    return [
        _ours("presswork", sizes, organization_events=False),
        _ours("presswork + organisation events", sizes, organization_events=True),
        *(_python_peers(sizes) if PEER_PYTHON.exists() else ()),
        *([_bullmq(sizes)] if PEER_MODULES.exists() else ()),
    ]


def measure(contestant: Contestant, sizes: Sizes) -> Run:
    """One enqueue and one drain on a fresh server."""
    with tempfile.TemporaryDirectory(prefix="presswork-bench-") as folder, fresh_server() as probe:
        starts = Records(Path(folder) / "starts")
        environment = {
            **contestant.environment, "REDIS_URL": probe.url, "BENCH_REDIS_URL": probe.url,
            "BENCH_PAYLOAD": PAYLOAD, "BENCH_STARTS": str(starts.path),
        }  # fmt: skip
        wait_for_quiet(sizes.quiet_wait)
        enqueue_s = answer_of(contestant.producer, environment)["seconds"]
        wait_for_quiet(sizes.quiet_wait)
        before = probe.commands()
        with running(contestant.worker, environment) as process:
            wait_until(lambda: len(starts) > 0, f"{contestant.name} starts", pause=0.001)
            meter = CpuMeter([process.pid, probe.pid])
            wait_until(lambda: len(starts) > sizes.jobs, f"{contestant.name} drains", DRAIN_SECONDS)
            wait_until(lambda: contestant.ended(probe) > sizes.jobs, f"{contestant.name} stores", pause=0.002)
            ended = time.time()
            (worker, server), others = meter.cores()
            commands = probe.commands() - before
        jobs = sizes.jobs + 1
        return Run(
            enqueue=sizes.jobs / enqueue_s,
            drain=jobs / (ended - starts.times()[0]),
            worker_cores=worker,
            server_cores=server,
            others_cores=others,
            sent=sent_by_us(commands).total() / jobs if contestant.ours else None,
            commands=commands.total() / jobs,
        )


def run(sizes: Sizes) -> Report:
    """Measure everybody in turns."""
    queues = contestants(sizes)
    runs: dict[str, list[Run]] = {queue.name: [] for queue in queues}
    for _ in range(sizes.repetitions):
        for queue in queues:
            runs[queue.name].append(measure(queue, sizes))
    report = Report(name="engine", title=f"{sizes.jobs:,} no-op jobs, one worker process, {sizes.concurrency} slots")
    columns = ["queue", "enqueue/s", "drain/s", "cores worker / server / others", "round trips a job",
               "commands a job, inside scripts too"]  # fmt: skip
    report.add_table(columns, [_row(report, name, found) for name, found in runs.items()])
    ours, *others = runs
    report.add_table(
        [f"{ours} in the same round, times", "enqueue", "drain"],
        [_ratios(report, name, runs[ours], runs[name]) for name in others],
    )
    if len(queues) == 2:
        report.notes.append("no peers: `make bench` makes their environment .venv-bench")
    return report


def _row(report: Report, name: str, found: Sequence[Run]) -> list[object]:
    enqueue, drain = (Spread.of(getattr(run, what) for run in found) for what in ("enqueue", "drain"))
    report.figures |= {f"{name}: enqueue/s": enqueue, f"{name}: drain/s": drain}
    sent: Spread | str = "not counted"
    if trips := [run.sent for run in found if run.sent is not None]:
        sent = report.figures[f"{name}: round trips a job"] = Spread.of(trips)
    cores = [Spread.of(getattr(run, f"{who}_cores") for run in found).median for who in ("worker", "server", "others")]
    commands = Spread.of(run.commands for run in found)
    return [name, enqueue, drain, " / ".join(f"{value:.2f}" for value in cores), sent, commands]


def _ratios(report: Report, name: str, ours: Sequence[Run], theirs: Sequence[Run]) -> list[object]:
    """Our speed as a multiple of the peer's, round by round."""
    enqueue = Spread.of(a.enqueue / b.enqueue for a, b in zip(ours, theirs, strict=True))
    drain = Spread.of(a.drain / b.drain for a, b in zip(ours, theirs, strict=True))
    report.figures |= {f"enqueue x {name}": enqueue, f"drain x {name}": drain}
    return [name, enqueue, drain]
