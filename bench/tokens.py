"""(h) One worker process that streams from a thousand calls at once: the cost and the delay of a token.

The calls go over HTTP to a stand-in for the vendor, whose text is the moment each token was written. A token's delay is
from there to where it leaves the adapter in the worker, and to where its event is read by a client of a real notifier:
the window in which deltas are merged is in the second.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench import plain_streams
from bench.load import SPEC
from bench.machine import CpuMeter, proportional_set_size, wait_for_quiet
from bench.processes import PEER_PYTHON
from bench.report import Report, Spread, percentile
from bench.server import Probe, fresh_server
from bench.services import Service, service
from bench.sizes import Sizes
from bench.stamps import Arrival, arrivals, read_arrivals
from bench.stand_in import OPEN_SECONDS, endless, stand_in, until, until_open, written
from shared.job import JobSnapshot, JobStatus
from shared.job_ids import new_job_id
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.transitions import Submit
from tests.support.llm import LlmServer, llm_server_at
from tests.support.llm_behaviour import Behaviour, Call
from tests.support.llm_dialects import STAMP
from tests.support.sse import Stream

WARM_UP: Final = 8
"""Jobs before the first reading of memory: memory that is allocated once belongs to the process, not to a stream."""

LISTENERS: Final = 20
"""Jobs that a client listens to."""

END_SECONDS: Final = 60.0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement at one rate: `tokens` a second in all; CPU in cores; memory in bytes; delays in s."""

    tokens: float
    worker: float
    redis: float
    stand_in: float
    others: float
    commands: float
    memory_before: int
    memory_open: int
    in_worker: list[float]
    at_client: list[float]
    lost: float
    repeated: int

    def bytes_a_stream(self, streams: int) -> float:
        """Memory that each open stream added to the worker."""
        return (self.memory_open - self.memory_before) / streams


class Bench(msgspec.Struct, frozen=True):
    """The processes of one measurement."""

    probe: Probe
    worker: Service
    notifier: Service
    stand_in: Service


async def _submit(store: JobStore, jobs: int) -> list[str]:
    submitted = await asyncio.gather(*(store.submit(Submit(id=new_job_id(), spec=SPEC)) for _ in range(jobs)))
    return [one.job_id for one in submitted]


async def _ended(store: JobStore, jobs: Sequence[str], seconds: float) -> list[JobSnapshot]:
    """All of them as they ended."""
    ended = []
    for job in jobs:

        async def over(job_id: str = job) -> bool:
            snapshot = await store.status(job_id)
            if snapshot is not None and snapshot.status.terminal:
                ended.append(snapshot)
                return True
            return False

        await until(over, "all jobs end", seconds)
    return ended


async def _listen(notifier: Service, job_id: str, received: list[Arrival]) -> None:
    """Read a job's events to its end, and note when each token of its deltas arrived."""
    async with Stream(f"{notifier.url}/api/ai/job-events?jobId={job_id}") as stream:
        while (event := await stream.next()) is not None:
            if event.kind == "delta":
                received.extend(arrivals(event.data["text"], time.time()))


def _lost(worker: Service) -> float:
    """Leases that the worker lost, by its own metrics: its runs that were cut for it, and jobs taken back."""
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=10) as answer:  # noqa: S310 - an address of loopback
        lines = answer.read().decode().splitlines()
    named = [line for line in lines if line.startswith("presswork_recoveries_total ") or 'outcome="lost"' in line]
    return sum(float(line.split()[-1]) for line in named)


async def _window(bench: Bench, llm: LlmServer, sizes: Sizes) -> tuple[float, float, dict[str, float]]:
    """Measure while all calls are open: when it began and ended, and everything that is counted."""
    await until_open(llm, sizes.token_streams)
    began, before, commands = time.time(), await written(llm), bench.probe.commands().total()
    meter = CpuMeter(
        [bench.worker.process.pid, bench.probe.pid, bench.stand_in.process.pid, bench.notifier.process.pid]
    )
    await asyncio.sleep(sizes.token_window)
    (worker, redis, stand_in, _), others = meter.cores()
    ended = time.time()
    if (await llm.stats()).open != sizes.token_streams:
        raise RuntimeError("calls ended while they were measured")
    seconds = ended - began
    return began, ended, {
        "tokens": (await written(llm) - before) / seconds,
        "commands": (bench.probe.commands().total() - commands) / seconds,
        "worker": worker, "redis": redis, "stand_in": stand_in, "others": others,
    }  # fmt: skip


def _text_length(job: JobSnapshot) -> int:
    return len((job.outcome.result if job.outcome else None) or "")


def _repeated(snapshots: Sequence[JobSnapshot], calls: Sequence[Call]) -> int:
    """Number of jobs that were attempted again. RuntimeError when their texts are not those of the complete calls."""
    if unfinished := [one.status.value for one in snapshots if one.status is not JobStatus.COMPLETED]:
        raise RuntimeError(f"jobs ended as {', '.join(sorted(set(unfinished)))}")
    texts = sorted(map(_text_length, snapshots))
    if texts != sorted(call.tokens * len(STAMP) for call in calls if call.end == "complete"):
        raise RuntimeError("texts are not as long as what the calls wrote")
    return sum(snapshot.attempt > 1 for snapshot in snapshots)


async def _measure(bench: Bench, noted: Path, sizes: Sizes, rate: float) -> Run:
    async with (
        open_store(StoreSettings(redis_url=bench.probe.url), client_name="bench-tokens") as store,
        llm_server_at(bench.stand_in.port) as llm,
    ):
        await llm.behave(Behaviour(tokens=WARM_UP, stamped=True))
        await _ended(store, await _submit(store, WARM_UP), OPEN_SECONDS)
        await llm.reset()
        before = proportional_set_size(bench.worker.process.pid)
        await llm.behave(endless(rate))
        await asyncio.to_thread(wait_for_quiet, sizes.quiet_wait)
        jobs = await _submit(store, sizes.token_streams)
        received: list[Arrival] = []
        async with asyncio.TaskGroup() as group:
            for job in jobs[:: max(1, len(jobs) // LISTENERS)]:
                group.create_task(_listen(bench.notifier, job, received))
            began, ended, counted = await _window(bench, llm, sizes)
            memory = proportional_set_size(bench.worker.process.pid)
            await llm.release()
            snapshots = await _ended(store, jobs, END_SECONDS)
        calls = await llm.calls()
    lost = await asyncio.to_thread(_lost, bench.worker)
    return Run(
        **counted,
        memory_before=before,
        memory_open=memory,
        in_worker=[delay for at, delay in read_arrivals(noted) if began <= at <= ended],
        at_client=[delay for at, delay in received if began <= at <= ended],
        lost=lost,
        repeated=_repeated(snapshots, calls),
    )


def _run(sizes: Sizes, rate: float) -> Run:
    with tempfile.TemporaryDirectory(prefix="presswork-bench-") as folder, fresh_server() as probe, stand_in() as llm:
        noted = Path(folder) / "arrivals"
        worker = service(
            "worker", probe.url, WORKER_CONCURRENCY=str(sizes.token_streams), PROVIDERS="openai:gpt-6-luna",
            OPENAI_API_KEY="sk-bench", OPENAI_BASE_URL=f"http://127.0.0.1:{llm.port}/v1", OPENAI_PRICED="1",
            BENCH_ARRIVALS=str(noted),
        )  # fmt: skip
        with service("notifier", probe.url) as notifier, worker as worker_process:
            return uvloop.run(_measure(Bench(probe, worker_process, notifier, llm), noted, sizes, rate))


def _delays(runs: Sequence[Run], what: str) -> list[Spread]:
    return [Spread.of(percentile(getattr(run, what), share) * 1000 for run in runs) for share in (0.5, 0.99)]


def run(sizes: Sizes) -> Report:
    """A fresh server, worker, notifier and stand-in for each rate; rates, and the peer if it is there, in turns."""
    found: dict[float, list[Run]] = {rate: [] for rate in sizes.token_rates}
    plain: dict[float, list[plain_streams.PlainRun]] = {rate: [] for rate in sizes.token_rates}
    for _ in range(sizes.repetitions):
        for rate, runs in found.items():
            runs.append(_run(sizes, rate))
            if PEER_PYTHON.exists():
                plain[rate].append(plain_streams.measure(sizes, rate))

    report = Report(name="tokens", title=f"{sizes.token_streams:,} streams in one worker, {sizes.token_window:g} s")
    costs = [_costs(report, rate, runs) for rate, runs in found.items()]
    report.add_table(["each stream", "worker us a token", *_COSTS.values()], costs)
    delays = [_delays_and_memory(report, rate, runs, sizes.token_streams) for rate, runs in found.items()]
    columns = ["in worker p50 ms", "p99", "at client p50 ms", "p99", "KiB a stream", "worker MiB"]
    report.add_table(["each stream", *columns], delays)
    report.add_table(
        ["each stream", "leases lost", "jobs attempted twice"],
        [[f"{rate:g}/s", sum(r.lost for r in runs), sum(r.repeated for r in runs)] for rate, runs in found.items()],
    )
    if PEER_PYTHON.exists():
        plain_streams.add_to(report, plain)
    return report


def _costs(report: Report, rate: float, runs: Sequence[Run]) -> list[object]:
    token = Spread.of(run.worker / run.tokens * 1e6 for run in runs)
    report.figures[f"{rate:g}/s: worker us a token"] = token
    return [f"{rate:g}/s", token, *(Spread.of(getattr(run, name) for run in runs) for name in _COSTS)]


def _delays_and_memory(report: Report, rate: float, runs: Sequence[Run], streams: int) -> list[object]:
    in_worker, at_client = _delays(runs, "in_worker"), _delays(runs, "at_client")
    memory = Spread.of(run.bytes_a_stream(streams) / 1024 for run in runs)
    held = Spread.of(run.memory_open / 2**20 for run in runs)
    report.figures |= {
        f"{rate:g}/s: in worker p50 ms": in_worker[0],
        f"{rate:g}/s: at client p50 ms": at_client[0],
        "KiB a stream": memory,
    }
    return [f"{rate:g}/s", *in_worker, *at_client, memory, held]


_COSTS: Final = {
    "tokens": "tokens/s", "worker": "worker cores", "redis": "server cores", "commands": "commands/s",
    "stand_in": "stand-in cores", "others": "others' cores",
}  # fmt: skip
