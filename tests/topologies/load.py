"""The real services on servers that fail over in the middle of a load, and what became of every job."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.clients import TERMINAL, Reading, submit
from tests.e2e.conftest import Stack
from tests.support.checks import ended_by_outcome, leaks
from tests.support.processes import ServiceProcess
from tests.support.topologies import Servers

SETTINGS = {"LOG_LEVEL": "INFO", "LEASE_SECONDS": "3", "DEMO_FIRST_TOKEN_MS": "50", "DEMO_TOKENS_PER_SECOND": "100"}


@asynccontextmanager
async def services_on(servers: Servers, folder: Path, *, workers: int, **settings: str) -> AsyncIterator[Stack]:
    """Gateway, notifier and workers as processes, and a client for them."""
    environment = {**SETTINGS, "REDIS_URL": servers.url, **settings}
    names = ["gateway", "notifier", *["worker"] * workers]
    services = [ServiceProcess(name, environment, folder / f"{name}-{i}.log") for i, name in enumerate(names)]
    async with AsyncExitStack() as exits:
        for service in services:
            await exits.enter_async_context(service)
        limits = httpx.Limits(max_connections=200)
        client = await exits.enter_async_context(httpx.AsyncClient(timeout=httpx.Timeout(15.0), limits=limits))
        yield Stack(servers.servers[0], services[0], services[1], services[2:], client, environment)


@dataclass
class Report:
    """What happened. `lost`: jobs answered with 202 that nobody knows any more; `again`: further starts of watched
    jobs; `away_s`: longest time without a 202."""

    outcomes: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    again: int = 0
    gaps: int = 0
    away_s: float = 0.0
    problems: list[str] = field(default_factory=list)


class Load:
    """`jobs` submitted evenly over `seconds`; a third of the way in the master is killed, with it a worker.

    For `cut_off_s` before that its replicas hear nothing of what it does. `watched` jobs are followed to their end.
    """

    def __init__(
        self, servers: Servers, running: Stack, *, jobs: int, seconds: float, watched: int, cut_off_s: float
    ) -> None:
        self._servers = servers
        self._running = running
        self._jobs = jobs
        self._seconds = seconds
        self._cut_off_s = cut_off_s
        self._every = max(jobs // watched, 1) if watched else jobs + 1
        self._accepted: list[str] = []
        self._accepted_at: list[float] = []
        self._readers: list[asyncio.Task[Reading]] = []
        self._report = Report()

    async def run(self) -> Report:
        """Until every accepted job has ended or is known to be lost. TimeoutError when one does neither."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kill())
            for number in range(self._jobs):
                group.create_task(self._submit(number))
                await asyncio.sleep(self._seconds / self._jobs)
        async with asyncio.timeout(60):
            ends = await asyncio.gather(*(self._end(job_id) for job_id in self._accepted))
            readings = await asyncio.gather(*self._readers)
        self._judge({job_id: end for job_id, end in zip(self._accepted, ends, strict=True) if end}, readings)
        await self._check_keys()
        return self._report

    async def _submit(self, number: int) -> None:
        body = {
            "projectId": "p", "userId": "u", "organizationId": f"org-{number % 3}", "prompt": f"product {number}",
            "parameters": {"length": "short"}, "priority": ("high", "normal", "low")[number % 3],
        }  # fmt: skip
        job_id = await submit(self._running.client, self._running.gateway.url, number, body)
        self._accepted.append(job_id)
        self._accepted_at.append(time.monotonic())
        if (number + 1) % self._every == 0:
            self._readers.append(asyncio.create_task(self._running.follow(job_id)))

    async def _kill(self) -> None:
        await asyncio.sleep(self._seconds / 3)
        if self._cut_off_s:
            await self._servers.cut_off()
            await asyncio.sleep(self._cut_off_s)
        worker = self._running.workers[0]
        await worker.kill()
        await self._servers.kill_master()
        worker.start()

    async def _end(self, job_id: str) -> dict[str, Any] | None:
        """The status once it is terminal; None when there is no such job any more."""
        while True:
            try:
                answer = await self._running.client.get(
                    f"{self._running.gateway.url}/api/ai/job-status", params={"jobId": job_id, "wait": 10}
                )
                if answer.status_code == 404:
                    return None
                if answer.status_code == 200 and answer.json()["status"] in TERMINAL:
                    return dict(answer.json())
                assert answer.status_code in (200, 503), (answer.status_code, answer.text)
            except httpx.TransportError:
                pass
            await asyncio.sleep(random.uniform(0.05, 0.2))

    def _judge(self, ends: dict[str, dict[str, Any]], readings: list[Reading]) -> None:
        report = self._report
        report.outcomes.update(end["status"] for end in ends.values())
        report.lost = len(self._accepted) - len(ends)
        report.away_s = max(b - a for a, b in zip(self._accepted_at, self._accepted_at[1:], strict=False))
        if len(set(self._accepted)) != self._jobs:
            report.problems.append(f"{self._jobs} submits were answered with {len(set(self._accepted))} jobs")
        for reading in readings:
            report.gaps += reading.gaps
            report.again += max([kind for _, kind, _ in reading.events].count("processing") - 1, 0)
            if [kind for _, kind, _ in reading.events] in [[kind] for kind in TERMINAL]:
                report.gaps += 1  # its log has a hole, and it came when the job had ended: the end alone, with the text
            else:
                report.problems += reading.problems()
            end = ends.get(reading.job_id)
            if end and reading.events[-1][1] != end["status"]:
                report.problems.append(f"{reading.job_id}: stream says {reading.events[-1][1]}, status {end['status']}")
        report.problems += [
            f"{job_id}: {end['attempt']} attempts" for job_id, end in ends.items() if end.get("attempt", 0) > 3
        ]

    async def _check_keys(self) -> None:
        counted = await ended_by_outcome(self._servers.url)
        known = sum(self._report.outcomes.values())
        # A submit that was refused, or whose answer was lost, may have made a job under an id that nobody was told.
        if counted["queued"] + counted["processing"] or counted["completed"] < known:
            self._report.problems.append(f"stats say {counted}, the jobs say {self._report.outcomes}")
        self._report.problems += await leaks(self._servers.url)
