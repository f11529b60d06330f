"""The real services on servers that fail over in the middle of a load, and the outcome of every job."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.checks import counts, leaks
from tests.support.fail_over import Servers
from tests.support.gateway import body
from tests.support.pace import beats
from tests.support.readings import Reading, contradictions
from tests.support.sse import TERMINAL
from tests.support.stack import Stack, running_stack

SETTINGS = {"LEASE_SECONDS": "3", "DEMO_TOKENS_PER_SECOND": "100"}


def services_on(servers: Servers, folder: Path, *, workers: int, **settings: str) -> AbstractAsyncContextManager[Stack]:
    """Gateway, notifier and workers as processes, which find the master by themselves."""
    more = {**SETTINGS, "REDIS_URL": servers.url, **settings}
    return running_stack(servers.servers[0], folder, more, workers=workers)


@dataclass
class Report:
    """Results of a run. `lost`: jobs answered with 202 that are unknown now; `again`: further starts of watched
    jobs; `away_s`: longest time without a 202."""

    outcomes: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    again: int = 0
    gaps: int = 0
    away_s: float = 0.0
    problems: list[str] = field(default_factory=list)


class Load:
    """`jobs` submitted evenly over `seconds`; a third of the way in the master is killed, with it a worker.

    For `cut_off_s` before that its replicas receive nothing. `watched` jobs are followed to their end.
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
            async for number in beats(self._jobs / self._seconds):
                if number == self._jobs:
                    break
                group.create_task(self._submit(number))
        async with asyncio.timeout(60):
            ends = await asyncio.gather(*map(self._running.front.end_or_loss, self._accepted))
            readings = await asyncio.gather(*self._readers)
        self._judge({job_id: end for job_id, end in zip(self._accepted, ends, strict=True) if end}, readings)
        await self._check_keys()
        return self._report

    async def _submit(self, number: int) -> None:
        job = body(
            organizationId=f"org-{number % 3}",
            prompt=f"product {number}",
            parameters={"length": "short"},
            priority=("high", "normal", "low")[number % 3],
        )
        job_id = await self._running.front.submit(number, job)
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
        await self._servers.kill_master(detected=True)
        worker.start()

    def _judge(self, ends: dict[str, dict[str, Any]], readings: list[Reading]) -> None:
        report = self._report
        report.outcomes.update(end["status"] for end in ends.values())
        report.lost = len(self._accepted) - len(ends)
        report.away_s = max(b - a for a, b in zip(self._accepted_at, self._accepted_at[1:], strict=False))
        if len(set(self._accepted)) != self._jobs:
            report.problems.append(f"{self._jobs} submits were answered with {len(set(self._accepted))} jobs")
        for reading in readings:
            if reading.kinds in [[kind] for kind in TERMINAL]:
                reading.gaps += (
                    1  # its log has a hole, and it came when the job had ended: the end alone, with the text
                )
            report.gaps += reading.gaps
            report.again += max(reading.kinds.count("processing") - 1, 0)
        report.problems += contradictions(readings, ends)
        report.problems += [
            f"{job_id}: {end['attempt']} attempts" for job_id, end in ends.items() if end.get("attempt", 0) > 3
        ]

    async def _check_keys(self) -> None:
        counted = await counts(self._servers.url)
        known = sum(self._report.outcomes.values())
        # A submit that was refused, or whose answer was lost, may have made a job under an id that no client has.
        if counted["queued"] + counted["processing"] or counted["completed"] < known:
            self._report.problems.append(f"stats say {counted}, the jobs say {self._report.outcomes}")
        self._report.problems += await leaks(self._servers.url)
