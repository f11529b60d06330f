"""Two replicas of every service under load; each is told to stop, must end well, and is started again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from shared.store.embedded import EmbeddedServer
from tests.chaos.clients import Reading
from tests.rolling.clients import Balanced, Seen
from tests.support.checks import ended_by_outcome, leaks
from tests.support.processes import ServiceProcess

REPLICAS = ("gateway", "gateway", "notifier", "notifier", "worker", "worker")


@dataclass(frozen=True)
class Plan:
    """`readers` streams are open at once as long as jobs run; `calm_seconds` lie before, between and after restarts."""

    jobs_per_second: float = 50.0
    readers: int = 200
    calm_seconds: float = 3.0
    rounds: int = 1
    settle_seconds: float = 120.0


@dataclass
class Report:
    """What happened. `problems` is empty when nobody outside could tell that there was a release."""

    seen: Seen
    jobs: int = 0
    watched: int = 0
    restarts: int = 0
    handed_back: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    jobs_per_second: float = 0.0
    seconds: float = 0.0


class Release:
    """One run of a plan in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], object] = print) -> None:
        self._plan = plan
        self._say = say
        self._server = EmbeddedServer(folder / "data")
        # A job takes about 4 s, a drain 1 s: workers must hand back what they run, not only wait for it.
        environment = {
            "REDIS_URL": self._server.url,
            "DRAIN_SECONDS": "1",
            "WORKER_CONCURRENCY": "300",
            "DEMO_FIRST_TOKEN_MS": "3000",
            "DEMO_TOKENS_PER_SECOND": "40",
            "LOG_LEVEL": "WARNING",
        }
        self._services = [
            ServiceProcess(name, environment, folder / f"{name}-{number}.log") for number, name in enumerate(REPLICAS)
        ]
        self._statuses: dict[str, dict[str, Any]] = {}
        self._readings: list[Reading] = []
        self._unwatched: list[str] = []

    def _urls(self, name: str) -> list[str]:
        return [service.url for service in self._services if service.name == name]

    async def run(self) -> Report:
        """Start, load, restart each replica, wait for the ends, check."""
        began = time.monotonic()
        self._server.start()
        try:
            async with AsyncExitStack() as stack:
                for service in self._services:
                    await stack.enter_async_context(service)
                # The pool looks at each of its connections at every call, so it gets few.
                limits = httpx.Limits(max_connections=200, max_keepalive_connections=8)
                client = await stack.enter_async_context(httpx.AsyncClient(timeout=15.0, limits=limits))
                front = Balanced(client, self._urls("gateway"), self._urls("notifier"))
                report = Report(front.seen)
                await self._load(front, report)
                await self._read_rest(front)
                await self._judge(report)
        finally:
            self._server.stop()
        report.seconds = time.monotonic() - began
        return report

    async def _load(self, front: Balanced, report: Report) -> None:
        over = asyncio.Event()
        readers = asyncio.Semaphore(self._plan.readers)
        async with asyncio.timeout(self._plan.settle_seconds + 60.0 * self._plan.rounds), asyncio.TaskGroup() as group:
            restarting = group.create_task(self._restart_all(report, over))
            due = began = asyncio.get_running_loop().time()
            while not over.is_set():
                group.create_task(self._customer(front, report.jobs, readers))
                report.jobs += 1
                due += 1 / self._plan.jobs_per_second
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            report.jobs_per_second = report.jobs / (asyncio.get_running_loop().time() - began)
            await restarting
        report.watched = len(self._readings)

    async def _customer(self, front: Balanced, number: int, readers: asyncio.Semaphore) -> None:
        body = {
            "projectId": "project-123",
            "userId": "user-456",
            "organizationId": f"org-{number % 3}",
            "prompt": f"Write about product {number}",
            "parameters": {"length": "short", "platform": "linkedin"},
            "priority": ("high", "normal", "low")[number % 3],
        }
        job_id = await front.submit(number, body)
        if readers.locked():
            self._unwatched.append(job_id)
            return
        async with readers:
            self._readings.append(await front.follow(job_id))
        self._statuses[job_id] = await front.ended(job_id)

    async def _read_rest(self, front: Balanced) -> None:
        async with asyncio.timeout(self._plan.settle_seconds):
            for job_id in self._unwatched:
                self._statuses[job_id] = await front.ended(job_id)

    async def _restart_all(self, report: Report, over: asyncio.Event) -> None:
        await asyncio.sleep(self._plan.calm_seconds)
        for _ in range(self._plan.rounds):
            for service in self._services:
                began = time.monotonic()
                if (status := await service.stop()) != 0:
                    report.problems.append(f"{service.name} ended with status {status}")
                service.start()
                await service.ready()
                report.restarts += 1
                self._say(f"{service.name} restarted in {time.monotonic() - began:.1f} s")
                await asyncio.sleep(self._plan.calm_seconds)
        over.set()

    async def _judge(self, report: Report) -> None:
        report.outcomes.update(status["status"] for status in self._statuses.values())
        if len(self._statuses) != report.jobs:
            report.problems.append(f"{report.jobs} submits made {len(self._statuses)} jobs")
        report.problems += [f"{what}: {count} times" for what, count in report.seen.failures.items()]
        for reading in self._readings:
            report.problems += reading.problems()
            kinds = [kind for _, kind, _ in reading.events]
            report.handed_back += kinds.count("retrying")
            if reading.gaps:
                report.problems.append(f"{reading.job_id}: {reading.gaps} gaps")
            if reading.events and reading.events[-1][2].get("result") != self._statuses[reading.job_id]["result"]:
                report.problems.append(f"{reading.job_id}: stream and status have another text")
        counted = await ended_by_outcome(self._server.url)
        expected = {"queued": 0, "processing": 0, "completed": report.jobs, "failed": 0, "cancelled": 0}
        if counted != expected:
            report.problems.append(f"stats say {counted}, expected {expected}")
        attempts = Counter(status["attempt"] for status in self._statuses.values())
        if set(attempts) != {1}:
            report.problems.append(f"a release used up attempts: {dict(attempts)}")
        report.problems += await leaks(self._server.url)
