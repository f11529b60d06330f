"""(i) Large answers: their load on the gateway, and the wait of a neighbour's submits beside them."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import httpx
from redis import Redis

from bench.machine import cpu_seconds
from bench.report import Report, Spread, percentile
from bench.server import Probe, fresh_server
from bench.services import Service, service
from bench.sizes import Sizes
from shared.store.keys import Keys

FIRST_DAY: Final = 20_513
"""2026-03-01, in days since the epoch."""

MONTH: Final = "/api/ai/usage?organizationId=%s&from=2026-03-01&to=2026-03-31"
JOB: Final = {"projectId": "p", "userId": "u", "organizationId": "neighbour", "prompt": "x", "delaySeconds": 3600}


def _fill_usage(redis: Any, organization: str, days: int, fields: int) -> None:
    for day in range(FIRST_DAY, FIRST_DAY + days):
        for first in range(0, fields, 500):
            names = [f"project-{n} openai:gpt-6-luna" for n in range(first, min(first + 500, fields))]
            sums = dict.fromkeys(names, "12 3400 5600 0 123456789 0 0")
            redis.hset(Keys().usage(organization, day), mapping=sums)


def _fill_log(redis: Any, job_id: str, leases: int) -> None:
    past = ",".join(f"a{1000 + n}-0 rate_limited 1 1000 2" for n in range(leases))
    redis.hset(Keys().job(job_id), "past", past)
    events = {f"a{1000 + n}-0.2": 'r{"reason":"rate_limited","attempt":1}' for n in range(leases)}
    redis.hset(Keys().log(job_id), mapping=events)


class _Neighbour(threading.Thread):
    """Submits, ten milliseconds after each answer; how long each took, in ms."""

    def __init__(self, url: str) -> None:
        super().__init__(name="neighbour")
        self._url = url
        self.waits: list[float] = []
        self.stop = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self.stop.wait(0.01):
                began = time.perf_counter()
                client.post("/api/ai/generate-content", json=JOB).raise_for_status()
                self.waits.append((time.perf_counter() - began) * 1000)


def _during(gateway: Service, path: str, calls: int) -> tuple[int, list[float], float, list[float]]:
    """Bytes of the answer, s of each call, s of CPU a call, and the neighbour's wait (ms)."""
    neighbour = _Neighbour(gateway.url)
    neighbour.start()
    size, took, cpu = 0, [], cpu_seconds(gateway.process.pid)
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        for _ in range(calls):
            began = time.perf_counter()
            size = len(client.get(path).raise_for_status().content)
            took.append(time.perf_counter() - began)
    neighbour.stop.set()
    neighbour.join()
    return size, took, (cpu_seconds(gateway.process.pid) - cpu) / calls, neighbour.waits or [0.01]


def _asked(gateway: Service, probe: Probe, scale: int) -> dict[str, str]:
    """The calls to measure by name, after their data was stored; `scale`: hundredths of the full size."""
    redis: Any = Redis.from_url(probe.url)
    for name, days, fields in (("a", 31, 1000), ("b", 31, 5000), ("c", 1, 60_000)):
        _fill_usage(redis, name, days, max(1, fields * scale // 100))
    with httpx.Client(base_url=gateway.url) as client:
        job = client.post("/api/ai/generate-content", json=JOB | {"organizationId": "log"}).json()["jobId"]
    _fill_log(redis, job, 100 * scale)
    redis.close()
    return {
        "queue-stats": "/api/ai/queue-stats",
        "usage: 31 days of 1,000 projects and models": MONTH % "a",
        "usage: 31 days of 5,000, as older releases kept them": MONTH % "b",
        "usage: one day of 60,000, as older releases kept them": MONTH % "c",
        "job-status after 10,000 refusals": f"/api/ai/job-status?jobId={job}",
    }


def run(sizes: Sizes) -> Report:
    """Each answer some times in a row, beside a neighbour."""
    report = Report(name="answers", title="large answers beside a neighbour's submits")
    rows = []
    with fresh_server() as probe, service("gateway", probe.url, MAX_QUEUED_JOBS="10000000") as gateway:
        for name, path in _asked(gateway, probe, 100 if sizes.jobs >= 10_000 else 1).items():
            size, took, cpu, waits = _during(gateway, path, sizes.repetitions * 3)
            rows.append([name, size, Spread.of(took), cpu, percentile(waits, 0.5), percentile(waits, 0.95), max(waits)])
            report.figures |= {f"{name}: s": Spread.of(took), f"{name}: neighbour p95 ms": percentile(waits, 0.95)}
    columns = ["answer", "bytes", "s a call", "gateway CPU s a call", "neighbour p50 ms", "p95", "longest"]
    report.add_table(columns, rows)
    return report
