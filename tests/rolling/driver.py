"""Two replicas of every service under load; each gets SIGTERM, must end well, and is started again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shared.store.embedded.server import EmbeddedServer
from tests.support.checks import unsettled
from tests.support.front_end import Seen
from tests.support.gateway import body
from tests.support.pace import beats
from tests.support.readings import Reading, contradictions
from tests.support.stack import Stack, running_stack

REPLICAS: Final = 2
"""Of each service."""

SETTINGS: Final = {
    # A job takes about 4 s, a drain 1 s: workers must release their jobs, not only wait for them.
    "DRAIN_SECONDS": "1",
    "WORKER_CONCURRENCY": "300",
    "DEMO_FIRST_TOKEN_MS": "3000",
    "DEMO_TOKENS_PER_SECOND": "40",
    "LOG_LEVEL": "WARNING",
}


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
    """Results of a run. `problems` is empty when no client noticed the release."""

    seen: Seen
    jobs: int = 0
    watched: int = 0
    restarts: int = 0
    released: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    jobs_per_second: float = 0.0
    seconds: float = 0.0


class Release:
    """One run of a plan in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], object] = print) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._ends: dict[str, dict[str, Any]] = {}
        self._readings: list[Reading] = []
        self._unwatched: list[str] = []

    async def run(self) -> Report:
        """Start, load, restart each replica, wait for the ends, check. AssertionError for answers that a release may
        not cause."""
        began = time.monotonic()
        fleet = {"gateways": REPLICAS, "notifiers": REPLICAS, "workers": REPLICAS}
        with EmbeddedServer(self._folder / "data") as server:
            async with running_stack(server, self._folder, SETTINGS, **fleet, pause_s=None) as stack:
                report = Report(stack.front.seen)
                await self._load(stack, report)
                async with asyncio.timeout(self._plan.settle_seconds):
                    self._ends |= await stack.front.ends(self._unwatched)
                self._judge(report)
                report.problems += await unsettled(server.url, report.outcomes)
        report.seconds = time.monotonic() - began
        return report

    async def _load(self, stack: Stack, report: Report) -> None:
        readers = asyncio.Semaphore(self._plan.readers)
        longest_s = self._plan.settle_seconds + 60.0 * self._plan.rounds
        async with asyncio.timeout(longest_s), asyncio.TaskGroup() as group:
            restarting = group.create_task(self._restart_all(stack, report))
            began = time.monotonic()
            async for number in beats(self._plan.jobs_per_second):
                if restarting.done():
                    break
                group.create_task(self._customer(stack, number, readers))
                report.jobs += 1
            report.jobs_per_second = report.jobs / (time.monotonic() - began)
        report.watched = len(self._readings)

    async def _customer(self, stack: Stack, number: int, readers: asyncio.Semaphore) -> None:
        job = body(
            organizationId=f"org-{number % 3}",
            prompt=f"Write about product {number}",
            parameters={"length": "short", "platform": "linkedin"},
            priority=("high", "normal", "low")[number % 3],
        )
        job_id = await stack.front.submit(number, job)
        if readers.locked():
            self._unwatched.append(job_id)
            return
        async with readers:
            self._readings.append(await stack.follow(job_id))
        self._ends[job_id] = await stack.end(job_id)

    async def _restart_all(self, stack: Stack, report: Report) -> None:
        await asyncio.sleep(self._plan.calm_seconds)
        for _ in range(self._plan.rounds):
            for service in stack.services:
                began = time.monotonic()
                if (status := await service.stop()) != 0:
                    report.problems.append(f"{service.name} ended with status {status}")
                service.start()
                await service.ready()
                report.restarts += 1
                self._say(f"{service.name} restarted in {time.monotonic() - began:.1f} s")
                await asyncio.sleep(self._plan.calm_seconds)

    def _judge(self, report: Report) -> None:
        report.outcomes.update(end["status"] for end in self._ends.values())
        report.released = sum(reading.kinds.count("retrying") for reading in self._readings)
        if len(self._ends) != report.jobs:
            report.problems.append(f"{report.jobs} submits made {len(self._ends)} jobs")
        if set(report.outcomes) != {"completed"}:
            report.problems.append(f"not all jobs completed: {dict(report.outcomes)}")
        attempts = Counter(end["attempt"] for end in self._ends.values())
        if set(attempts) != {1}:
            report.problems.append(f"a release used up attempts: {dict(attempts)}")
        for why, count in report.seen.repeated.items():
            if why == "429" or "Timeout" in why:
                report.problems.append(f"{count} calls were sent again because of {why}")
        report.problems += [f"{reading.job_id}: {reading.gaps} gaps" for reading in self._readings if reading.gaps]
        report.problems += contradictions(self._readings, self._ends)
