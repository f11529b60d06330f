"""The whole system as processes on one private server that keeps its data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.store.embedded import EmbeddedServer
from tests.chaos.clients import Reading, final_status, follow, submit
from tests.support.processes import ServiceProcess


@dataclass
class Stack:
    """A running system. `environment` is what every service got."""

    server: EmbeddedServer
    gateway: ServiceProcess
    notifier: ServiceProcess
    workers: list[ServiceProcess]
    client: httpx.AsyncClient
    environment: dict[str, str]

    async def submit(self, number: int, **more: Any) -> str:
        """Submit one job; answers its id."""
        body = {
            "projectId": "project-123",
            "userId": "user-456",
            "organizationId": "org-789",
            "prompt": f"Create a social media post about product {number}",
            "parameters": {"tone": "professional", "length": "long", "platform": "linkedin"},
            **more,
        }
        return await submit(self.client, self.gateway.url, number, body)

    async def follow(self, job_id: str) -> Reading:
        """Everything a browser sees of a job."""
        return await follow(self.client, self.notifier.url, job_id)

    async def end(self, job_id: str) -> dict[str, Any]:
        """The status once the job has ended."""
        return await final_status(self.client, self.gateway.url, job_id)

    async def stats(self) -> dict[str, int]:
        """The queue's statistics over HTTP."""
        answer = await self.client.get(f"{self.gateway.url}/api/ai/queue-stats")
        return dict(answer.raise_for_status().json()["stats"])

    async def metric(self, service: ServiceProcess, name: str) -> float:
        """The value of one sample, from a service's /metrics; `name` with its labels, as it stands there. 0: none."""
        text = (await self.client.get(f"{service.url}/metrics")).text
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


StackMaker = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture
def stack(tmp_path: Path) -> StackMaker:
    """`async with stack(workers=2, LEASE_SECONDS="2") as running`: settings are the services' environment."""

    @asynccontextmanager
    async def make(workers: int = 1, **settings: str) -> AsyncIterator[Stack]:
        server = EmbeddedServer(tmp_path / "data")
        server.start()
        environment = {"REDIS_URL": server.url, "LOG_LEVEL": "INFO", "DEMO_FIRST_TOKEN_MS": "50", **settings}
        names = ["gateway", "notifier", *["worker"] * workers]
        services = [ServiceProcess(name, environment, tmp_path / f"{name}-{i}.log") for i, name in enumerate(names)]
        try:
            async with AsyncExitStack() as exits:
                for service in services:
                    await exits.enter_async_context(service)
                client = await exits.enter_async_context(httpx.AsyncClient(timeout=httpx.Timeout(15.0)))
                yield Stack(server, services[0], services[1], services[2:], client, environment)
        finally:
            server.stop()

    return make
