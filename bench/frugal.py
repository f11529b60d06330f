"""(h) The pay-per-command profile: all Redis commands of one job and of a day without jobs, and the jobs a day.

The real services with FRUGAL=1 and jobs of half a second; commands inside scripts counted, as a host bills them.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from typing import Any, Final

from bench.commands import listing
from bench.report import Report
from bench.server import Probe, fresh_server
from bench.services import Service, service
from bench.sizes import Sizes

DAY_S: Final = 86_400
MONTH_DAYS: Final = 30
QUOTAS: Final = {"10,000 a day": 10_000.0, "500,000 a month": 500_000 / MONTH_DAYS}
BATCH: Final = 10
JOB: Final = {"projectId": "p", "userId": "u", "organizationId": "o", "prompt": "a", "parameters": {"length": "short"}}


def _call(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=40) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def _wait_for(gateway: Service, job_id: str) -> None:
    assert _call(f"{gateway.url}/api/ai/job-status?jobId={job_id}&wait=30")["status"] == "completed"


def by_wait(gateway: Service, _: Service) -> None:
    """Submit, then one status call that waits."""
    _wait_for(gateway, _call(f"{gateway.url}/api/ai/generate-content", JOB)["jobId"])


def by_stream(gateway: Service, notifier: Service) -> None:
    """Submit, then the event stream to its end, and the reconnect of a browser, which gets 204."""
    job_id = _call(f"{gateway.url}/api/ai/generate-content", JOB)["jobId"]
    url, last = f"{notifier.url}/api/ai/job-events?jobId={job_id}", ""
    with urllib.request.urlopen(url, timeout=40) as stream:  # noqa: S310 - loopback
        for line in stream:
            last = line.removeprefix(b"id: ").decode().strip() if line.startswith(b"id: ") else last
    again = urllib.request.Request(url, headers={"Last-Event-ID": last})  # noqa: S310 - loopback
    with urllib.request.urlopen(again, timeout=5) as answer:  # noqa: S310 - loopback
        assert answer.status == 204


def in_a_batch(gateway: Service, _: Service) -> None:
    """Ten jobs in one call, then a waiting status call for each."""
    jobs = _call(f"{gateway.url}/api/ai/generate-content/batch", {"jobs": [JOB] * BATCH})["jobs"]
    for job in jobs:
        _wait_for(gateway, job["jobId"])


WAYS: Final = {"one job, job-status with wait": (by_wait, 1), "one job, event stream": (by_stream, 1),
               "ten in a batch, each with wait": (in_a_batch, BATCH)}  # fmt: skip


def _settled(probe: Probe) -> Counter[str]:
    """Commands once the worker sleeps again."""
    before = probe.commands()
    while True:
        time.sleep(0.3)
        if (now := probe.commands()) == before:
            return now
        before = now


def run(sizes: Sizes) -> Report:
    """Each way `repetitions` times after a warm-up, then a window without jobs."""
    report = Report(name="frugal", title="Redis commands in the pay-per-command profile, inside scripts too")
    with (
        fresh_server() as probe,
        service("gateway", probe.url, FRUGAL="1") as gateway,
        service("notifier", probe.url, FRUGAL="1") as notifier,
        service("worker", probe.url, FRUGAL="1", BENCH_RUN_MS="500"),
    ):
        rows, costs = [], {}
        for title, (way, jobs) in WAYS.items():
            way(gateway, notifier)
            before = _settled(probe)
            for _ in range(sizes.repetitions):
                way(gateway, notifier)
            commands, share = _settled(probe) - before, sizes.repetitions * jobs
            costs[title] = commands.total() / share
            rows.append([title, costs[title], listing(commands, share)])
        report.add_table(["per job", "total", "what"], rows)
        before = _settled(probe)
        time.sleep(sizes.frugal_seconds)
        commands = probe.commands() - before
    a_day = commands.total() * DAY_S / sizes.frugal_seconds
    report.add_table(
        ["without jobs", "a day", "in the window"],
        [[f"gateway, notifier, worker, {sizes.frugal_seconds:g} s", a_day, listing(commands, 1)]],
    )
    report.add_table(
        ["jobs a day within", *WAYS],
        [[name, *(max(quota - a_day, 0) // cost for cost in costs.values())] for name, quota in QUOTAS.items()],
    )
    report.figures = {**costs, "idle commands a day": a_day}
    return report
