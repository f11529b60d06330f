"""(b) Submits over HTTP to the real gateway process, beside FastAPI + saq under uvicorn. Load: wrk, one thread."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.load import PAYLOAD
from bench.machine import CpuMeter, wait_for_quiet
from bench.processes import PEER_PYTHON, ROOT, free_port, running, wait_for_http
from bench.report import Report, Spread
from bench.server import fresh_server
from bench.sizes import Sizes

PATH = "/api/ai/generate-content"


class Service(msgspec.Struct, frozen=True):
    """A web service that takes submits. `environment` has its port as a setting, or the command has it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    port: int


class Call(msgspec.Struct, frozen=True):
    """The body to post, with `jobs` jobs in it."""

    name: str
    path: str
    body: str
    jobs: int
    connections: int


class Run(msgspec.Struct, frozen=True):
    """One measurement. `rate` in jobs/s, `p50` and `p99` of a request in ms, CPU in cores."""

    rate: float
    p50: float
    p99: float
    errors: int
    service_cores: float
    server_cores: float


def services() -> list[Service]:
    """Ours, and the peer when its environment is there."""
    port = free_port()
    settings = {"GATEWAY_PORT": str(port), "MAX_QUEUED_JOBS": "100000000", "LOG_LEVEL": "WARNING"}
    ours = Service("presswork gateway", [sys.executable, "-m", "services.gateway"], settings, port)
    if not PEER_PYTHON.exists():
        return [ours]
    port = free_port()
    options = ["--loop", "uvloop", "--http", "httptools", "--log-level", "warning", "--no-access-log"]
    command = [str(PEER_PYTHON), "-m", "uvicorn", "bench.peers.saq_http:app", "--port", str(port), *options]
    return [ours, Service("FastAPI + saq", command, {}, port)]


def calls(sizes: Sizes) -> list[Call]:
    """A single submit and a batch."""
    batch = '{"jobs":[' + ",".join([PAYLOAD] * sizes.http_batch) + "]}"
    return [
        Call("single", PATH, PAYLOAD, 1, sizes.http_connections),
        Call(f"batch of {sizes.http_batch}", f"{PATH}/batch", batch, sizes.http_batch, sizes.http_batch_connections),
    ]


def _wrk(service: Service, call: Call, seconds: float, body: Path) -> dict[str, float]:
    # wrk takes whole seconds only.
    load = ["-t1", f"-c{call.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    script = ["-s", str(ROOT / "bench" / "post.lua")]
    command = ["wrk", *load, *script, f"http://127.0.0.1:{service.port}{call.path}", "--", str(body)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=seconds + 60)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(service: Service, call: Call, sizes: Sizes) -> Run:
    """One load of one kind on a fresh server and a fresh process, after a second of warm-up."""
    with tempfile.TemporaryDirectory(prefix="presswork-bench-") as folder, fresh_server() as probe:
        body = Path(folder) / "body.json"
        body.write_text(call.body)
        environment = {**service.environment, "REDIS_URL": probe.url, "BENCH_REDIS_URL": probe.url}
        with running(service.command, environment) as process:
            wait_for_http(f"http://127.0.0.1:{service.port}/health/ready", process)
            # On a busy machine a second may pass without an answer: nothing is measured before the first.
            while not _wrk(service, call, min(sizes.http_seconds, 1.0), body)["requests"]:
                pass
            wait_for_quiet(sizes.quiet_wait)
            meter = CpuMeter([process.pid, probe.pid])
            while not (answer := _wrk(service, call, sizes.http_seconds, body))["requests"]:
                pass
            (service_cores, server_cores), _ = meter.cores()
    return Run(
        rate=answer["requests"] / answer["seconds"] * call.jobs,
        p50=answer["p50"],
        p99=answer["p99"],
        errors=round(answer["errors"]),
        service_cores=service_cores,
        server_cores=server_cores,
    )


def run(sizes: Sizes) -> Report:
    """Both services in turns, single calls and batches."""
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is not installed")
    report = Report(name="http", title=f"submits over HTTP, one process, wrk -t1, {sizes.http_seconds:g} s each")
    found = services()
    for call in calls(sizes):
        runs: dict[str, list[Run]] = {service.name: [] for service in found}
        for _ in range(sizes.repetitions):
            for service in found:
                runs[service.name].append(measure(service, call, sizes))
        _tabulate(report, call, runs)
    if len(found) == 1:
        report.notes.append("no peer: `make bench` makes its environment .venv-bench")
    return report


_SPREADS: Final = {"jobs/s": "rate", "p50 ms": "p50", "p99 ms": "p99"}


def _tabulate(report: Report, call: Call, runs: Mapping[str, Sequence[Run]]) -> None:
    first = next(iter(runs.values()))
    rows = []
    for name, found in runs.items():
        spreads = {what: Spread.of(getattr(run, field) for run in found) for what, field in _SPREADS.items()}
        report.figures |= {f"{call.name}, {name}: {what}": spread for what, spread in spreads.items()}

        ratio = Spread.of(ours.rate / theirs.rate for ours, theirs in zip(first, found, strict=True))
        if found is not first:
            report.figures[f"{call.name}: x {name}"] = ratio
        cores = [Spread.of(getattr(run, what) for run in found).median for what in ("service_cores", "server_cores")]
        errors = sum(run.errors for run in found)
        rows.append([name, *spreads.values(), " / ".join(f"{value:.2f}" for value in cores), errors, ratio])
    columns = [f"{call.name}, {call.connections} connections", "jobs/s", "p50 ms", "p99 ms", "cores service / server",
               "errors", "presswork is times"]  # fmt: skip
    report.add_table(columns, rows)
