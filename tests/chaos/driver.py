"""Runs the real system under load and limits while faults hit it at random, and checks the invariants afterwards."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shared.store.embedded.server import EmbeddedServer, bundled_binary
from tests.chaos.faults import Faults
from tests.chaos.server_clock import ServerClock, find_library
from tests.chaos.tenants import BUDGETED, KEPT, Tenants
from tests.support.callers import OPERATOR, TOKENS, bearer
from tests.support.checks import unsettled
from tests.support.gateway import body
from tests.support.llm import LlmServer, llm_server_at, llm_server_process
from tests.support.llm_behaviour import Behaviour
from tests.support.pace import beats
from tests.support.readings import Reading, contradictions
from tests.support.stack import Stack, running_stack

PRICED: Final = "openai:gpt-6-luna"

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"headline": {"type": "string"}},
    "required": ["headline"],
}
"""Schema of a tenth of the jobs, which the demo's first answer to each does not fit: their repairs meet faults too."""


@dataclass(frozen=True)
class Plan:
    """Size of a run. Durations in s; `watched` jobs are followed over SSE, every `cancel_every`th is cancelled."""

    jobs: int = 2000
    seconds: float = 60.0
    workers: int = 3
    seed: int = 1
    lease_seconds: float = 3.0
    watched: int = 100
    cancel_every: int = 40
    settle_seconds: float = 120.0

    @property
    def starts_per_minute(self) -> int:
        """A limit of each provider that throttles the bursts after each fault, and lets all jobs end in time."""
        return round(self.jobs / self.seconds * 60 * 0.75)


@dataclass
class Report:
    """Results of a run. `problems` is empty when every invariant held."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    gaps: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    revoked: int = 0


class Chaos:
    """One run of a plan in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], object] = print) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._random = random.Random(plan.seed)
        library = find_library()
        self._clock = ServerClock(folder, library, bundled_binary()) if library else None
        self._report = Report()
        self._submitting = asyncio.Semaphore(20)
        self._ids: list[str] = []
        self._readers: list[asyncio.Task[Reading]] = []

    async def run(self) -> Report:
        """Start, load, kill, wait for the end, check. AssertionError only for answers that must never come."""
        began = time.monotonic()
        binary = self._clock.binary if self._clock else None
        with EmbeddedServer(self._folder / "data", binary=binary) as server, llm_server_process() as port:
            async with AsyncExitStack() as exits:
                llm = await exits.enter_async_context(llm_server_at(port))
                await llm.behave(Behaviour(tokens=60, gap_s=0.01))
                stack = await exits.enter_async_context(
                    running_stack(server, self._folder, self._settings(llm), workers=self._plan.workers)
                )
                await self._run_on(stack, server)
        self._report.seconds = time.monotonic() - began
        return self._report

    def _settings(self, llm: LlmServer) -> dict[str, str]:
        """Of all services: a free provider, and one that costs when that has no room."""
        limit = f"{self._plan.starts_per_minute}/0"
        return {
            "LEASE_SECONDS": str(self._plan.lease_seconds),
            "DRAIN_SECONDS": "1",
            "DEMO_TOKENS_PER_SECOND": "100",
            "DEMO_FAILURE_RATE": "0.05",
            "DEMO_MISMATCHES": "1",
            "LOG_LEVEL": "WARNING",
            "API_TOKENS": TOKENS,
            "PROVIDERS": f"demo:demo,{PRICED}",
            "PROVIDER_LIMITS": f"demo:demo={limit},{PRICED}={limit}",
            "OPENAI_API_KEY": "sk-chaos",
            "OPENAI_BASE_URL": llm.openai_url,
            "OPENAI_PRICED": "1",
        }

    async def _run_on(self, stack: Stack, server: EmbeddedServer) -> None:
        stack.client.headers.update(bearer(OPERATOR))
        tenants = Tenants(stack.front, self._random)
        await tenants.prepare()
        operators = [asyncio.create_task(work()) for work in (tenants.raise_budgets, tenants.replace_keys)]
        try:
            await self._load(stack, tenants)
            async with asyncio.timeout(self._plan.settle_seconds):
                await tenants.replace_key()
                ends = await stack.front.ends(self._ids)
                readings = await asyncio.gather(*self._readers)
        finally:
            for operator in operators:
                operator.cancel()
        self._judge(ends, readings)
        self._report.revoked = tenants.revoked
        self._report.problems += await tenants.problems(server.url, self._ids, ends)
        self._report.problems += await unsettled(server.url, self._report.outcomes, KEPT)

    async def _load(self, stack: Stack, tenants: Tenants) -> None:
        plan = self._plan
        faults = Faults(stack, seconds=plan.seconds, lease_s=plan.lease_seconds, chance=self._random, clock=self._clock)
        self._report.faults = faults.happened
        async with asyncio.TaskGroup() as group:
            group.create_task(faults.run())
            async for number in beats(plan.jobs / (plan.seconds * 0.8)):
                if number == plan.jobs:
                    break
                group.create_task(self._customer(stack, tenants, number))
        self._say(f"all {len(self._ids)} submitted, {sum(faults.happened.values())} faults; waiting for the ends")

    async def _customer(self, stack: Stack, tenants: Tenants, number: int) -> None:
        job = self._body(number)
        async with self._submitting:
            job_id = await stack.front.submit(number, job, caller=lambda: tenants.caller(job["organizationId"]))
        self._ids.append(job_id)
        if number % max(self._plan.jobs // self._plan.watched, 1) == 0:
            # The ticket in the answer ends with the key that submitted the job.
            await stack.front.take_ticket(job_id)
            self._readers.append(asyncio.create_task(stack.follow(job_id)))
        if number % self._plan.cancel_every == 0:
            await stack.front.cancel(job_id)

    def _body(self, number: int) -> dict[str, Any]:
        chance = random.Random(self._plan.seed * 1_000_003 + number)
        made = body(
            projectId=f"project-{number % 7}",
            userId=f"user-{number % 11}",
            organizationId=f"org-{number % 3}",
            prompt=f"Write about product {number}",
            parameters={"length": chance.choice(["short", "short", "medium"]), "platform": "linkedin"},
            priority=chance.choice(["high", "normal", "low"]),
            maxAttempts=5,
            maxTokens=100,
        )
        if made["organizationId"] == BUDGETED and number % 2:
            made["provider"], made["model"] = PRICED.split(":")
        elif chance.random() < 0.1:
            # The stand-in behind the other gate writes no JSON.
            made |= {"responseSchema": SCHEMA, "provider": "demo", "model": "demo"}
        if chance.random() < 0.05:
            made["delaySeconds"] = round(chance.uniform(0.1, 5.0), 2)
        return made

    def _judge(self, ends: dict[str, dict[str, Any]], readings: list[Reading]) -> None:
        report = self._report
        report.outcomes.update(end["status"] for end in ends.values())
        report.errors.update(end["error"]["type"] for end in ends.values() if end["status"] == "failed")
        report.gaps = sum(reading.gaps for reading in readings)
        if len(ends) != self._plan.jobs:
            report.problems.append(f"{self._plan.jobs} submits made {len(ends)} jobs")
        report.problems += contradictions(readings, ends)
        report.problems += [f"{one.job_id}: repaired twice" for one in readings if _repairs(one) > 1]
        if report.errors["SchemaMismatch"]:
            report.problems.append("a repair was taken for a first answer")
        report.problems += [
            f"{job_id}: {end['attempt']} attempts" for job_id, end in ends.items() if end.get("attempt", 0) > 5
        ]


def _repairs(reading: Reading) -> int:
    return sum(kind == "retrying" and data["reason"] == "schema_mismatch" for _, kind, data in reading.events)
