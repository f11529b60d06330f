"""Runs the real system under load while its processes are killed at random, and checks the invariants afterwards."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from shared.store.embedded import EmbeddedServer
from tests.chaos.clients import Reading, final_status, follow, submit
from tests.support.checks import ended_by_outcome, leaks
from tests.support.processes import ServiceProcess


@dataclass(frozen=True)
class Plan:
    """What a run does. Durations in s; `watched` jobs are followed over SSE, every `cancel_every`th is cancelled."""

    jobs: int = 2000
    seconds: float = 60.0
    workers: int = 3
    seed: int = 1
    lease_seconds: float = 3.0
    watched: int = 100
    cancel_every: int = 40
    settle_seconds: float = 120.0


@dataclass
class Report:
    """What happened. `problems` is empty when every invariant held."""

    outcomes: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    gaps: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class Chaos:
    """One run of a plan in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], object] = print) -> None:
        self._plan = plan
        self._say = say
        self._random = random.Random(plan.seed)
        self._server = EmbeddedServer(folder / "data")
        self._report = Report()
        environment = {
            "REDIS_URL": self._server.url,
            "LEASE_SECONDS": str(plan.lease_seconds),
            "DRAIN_SECONDS": "1",
            "DEMO_FIRST_TOKEN_MS": "50",
            "DEMO_TOKENS_PER_SECOND": "100",
            "DEMO_FAILURE_RATE": "0.05",
            "LOG_LEVEL": "WARNING",
        }
        names = ["gateway", "notifier", *["worker"] * plan.workers]
        self._services = [ServiceProcess(name, environment, folder / f"{name}-{i}.log") for i, name in enumerate(names)]
        self._gateway, self._notifier = self._services[0].url, self._services[1].url

    async def run(self) -> Report:
        """Start, load, kill, wait for the end, check. AssertionError only for answers that must never come."""
        began = time.monotonic()
        self._server.start()
        try:
            async with AsyncExitStack() as stack:
                for service in self._services:
                    await stack.enter_async_context(service)
                client = await stack.enter_async_context(
                    httpx.AsyncClient(timeout=httpx.Timeout(15.0), limits=httpx.Limits(max_connections=400))
                )
                await self._load(client)
                await self._check_keys()
        finally:
            self._server.stop()
        self._report.seconds = time.monotonic() - began
        return self._report

    async def _load(self, client: httpx.AsyncClient) -> None:
        plan = self._plan
        ids: list[str] = []
        readings: list[asyncio.Task[Reading]] = []
        calm = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            killer = group.create_task(self._kill(calm))
            gate = asyncio.Semaphore(20)

            async def one(number: int) -> None:
                async with gate:
                    job_id = await submit(client, self._gateway, number, self._body(number))
                ids.append(job_id)
                if number % max(plan.jobs // plan.watched, 1) == 0:
                    readings.append(asyncio.create_task(follow(client, self._notifier, job_id)))
                if number % plan.cancel_every == 0:
                    await self._cancel(client, job_id)

            pace = plan.seconds * 0.8 / plan.jobs
            tasks = []
            for number in range(plan.jobs):
                tasks.append(group.create_task(one(number)))
                await asyncio.sleep(pace)
            await asyncio.wait(tasks)
            await killer
        self._say(f"all {len(ids)} submitted, {sum(self._report.kills.values())} kills; waiting for the ends")
        async with asyncio.timeout(plan.settle_seconds):
            statuses = await self._statuses(client, ids)
            read = await asyncio.gather(*readings)
        self._judge(ids, statuses, read)

    async def _statuses(self, client: httpx.AsyncClient, ids: list[str]) -> list[dict[str, Any]]:
        gate = asyncio.Semaphore(50)

        async def one(job_id: str) -> dict[str, Any]:
            async with gate:
                return await final_status(client, self._gateway, job_id)

        return await asyncio.gather(*(one(job_id) for job_id in ids))

    def _body(self, number: int) -> dict[str, Any]:
        chance = random.Random(self._plan.seed * 1_000_003 + number)
        body: dict[str, Any] = {
            "projectId": f"project-{number % 7}",
            "userId": f"user-{number % 11}",
            "organizationId": f"org-{number % 3}",
            "prompt": f"Write about product {number}",
            "parameters": {"length": chance.choice(["short", "short", "medium"]), "platform": "linkedin"},
            "priority": chance.choice(["high", "normal", "low"]),
            "maxAttempts": 5,
        }
        if chance.random() < 0.05:
            body["delaySeconds"] = round(chance.uniform(0.1, 5.0), 2)
        return body

    async def _cancel(self, client: httpx.AsyncClient, job_id: str) -> None:
        while True:
            try:
                answer = await client.post(f"{self._gateway}/api/ai/jobs/{job_id}/cancel")
            except httpx.TransportError:
                await asyncio.sleep(0.2)
                continue
            if answer.status_code != 503:
                assert answer.status_code in (200, 202, 409), (answer.status_code, answer.text)
                return
            await asyncio.sleep(0.2)

    async def _kill(self, calm: asyncio.Event) -> None:
        """Kill workers and the gateway at random over the run, and the server once in its middle."""
        plan, chance = self._plan, self._random
        end = time.monotonic() + plan.seconds
        server_at = time.monotonic() + plan.seconds / 2
        while time.monotonic() < end:
            await asyncio.sleep(chance.uniform(0.5, 1.0) * max(plan.seconds / 20, 0.5))
            if server_at and time.monotonic() > server_at:
                server_at = 0.0
                self._report.kills["server"] += 1
                await asyncio.to_thread(self._server.kill)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(self._server.start)
                continue
            victim = chance.choice([service for service in self._services if service.name != "notifier"])
            self._report.kills[victim.name] += 1
            await victim.kill()
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            victim.start()
        calm.set()

    def _judge(self, ids: list[str], statuses: list[dict[str, Any]], read: list[Reading]) -> None:
        report = self._report
        report.outcomes.update(status["status"] for status in statuses)
        report.errors.update(status["error"]["type"] for status in statuses if status["status"] == "failed")
        if len(set(ids)) != self._plan.jobs:
            report.problems.append(f"{self._plan.jobs} submits made {len(set(ids))} jobs")
        by_id = {status["jobId"]: status for status in statuses}
        for reading in read:
            report.gaps += reading.gaps
            report.problems += reading.problems()
            end = reading.events[-1]
            if end[1] != by_id[reading.job_id]["status"]:
                report.problems.append(f"{reading.job_id}: stream says {end[1]}, status another")
            if end[1] == "completed" and end[2]["result"] != by_id[reading.job_id]["result"]:
                report.problems.append(f"{reading.job_id}: stream and status have another text")
        report.problems += [
            f"{status['jobId']}: {status['attempt']} attempts" for status in statuses if status.get("attempt", 0) > 5
        ]

    async def _check_keys(self) -> None:
        counted = await ended_by_outcome(self._server.url)
        expected = {"queued": 0, "processing": 0, "completed": 0, "failed": 0, "cancelled": 0, **self._report.outcomes}
        if counted != expected:
            self._report.problems.append(f"stats say {counted}, the jobs say {expected}")
        self._report.problems += await leaks(self._server.url)
