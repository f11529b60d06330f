"""The whole system as processes on a server that runs already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from shared.store.embedded.server import EmbeddedServer
from tests.support.front_end import FrontEnd
from tests.support.gateway import body
from tests.support.plain import NO_TLS
from tests.support.processes import ServiceProcess
from tests.support.readings import Reading


@dataclass
class Stack:
    """A running system. `environment` is that of every service; `front` calls all gateways and notifiers in turn."""

    server: EmbeddedServer
    services: list[ServiceProcess]
    client: httpx.AsyncClient
    front: FrontEnd
    environment: dict[str, str]

    def named(self, name: str) -> list[ServiceProcess]:
        """The replicas of a service."""
        return [service for service in self.services if service.name == name]

    @property
    def gateway(self) -> ServiceProcess:
        """The first gateway."""
        return self.named("gateway")[0]

    @property
    def notifier(self) -> ServiceProcess:
        """The first notifier."""
        return self.named("notifier")[0]

    @property
    def workers(self) -> list[ServiceProcess]:
        """All workers."""
        return self.named("worker")

    async def submit(self, number: int, **more: Any) -> str:
        """Submit one job; answers its id."""
        parameters = {"tone": "professional", "length": "long", "platform": "linkedin"}
        prompt = f"Create a social media post about product {number}"
        return await self.front.submit(number, body(**{"prompt": prompt, "parameters": parameters, **more}))

    async def follow(self, job_id: str) -> Reading:
        """Everything a browser sees of a job."""
        return await self.front.follow(job_id)

    async def end(self, job_id: str) -> dict[str, Any]:
        """The status once the job has ended."""
        return await self.front.end(job_id)

    async def stats(self) -> dict[str, int]:
        """The queue's statistics over HTTP."""
        answer = await self.client.get(f"{self.gateway.url}/api/ai/queue-stats")
        return dict(answer.raise_for_status().json()["stats"])

    async def metric(self, service: ServiceProcess, name: str) -> float:
        """The value of one sample, from a service's /metrics; `name` with its labels, as it stands there. 0: none."""
        text = (await self.client.get(f"{service.url}/metrics")).text
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)

    async def until_processing(self, jobs: int, seconds: float = 20.0) -> None:
        """Wait until so many jobs run at once; TimeoutError when they never do."""
        async with asyncio.timeout(seconds):
            while (await self.stats())["processing"] < jobs:
                await asyncio.sleep(0.05)

    async def busy_worker(self, seconds: float = 20.0) -> ServiceProcess:
        """Wait for a worker that runs a job; TimeoutError when none does."""
        async with asyncio.timeout(seconds):
            while True:
                for worker in self.workers:
                    if await self.metric(worker, "presswork_worker_slots_busy") > 0:
                        return worker
                await asyncio.sleep(0.02)


@asynccontextmanager
async def open_stack(
    server: EmbeddedServer, services: list[ServiceProcess], environment: dict[str, str], *, pause_s: float | None = 0.1
) -> AsyncIterator[Stack]:
    """Services that run already. `pause_s`: see `FrontEnd`."""
    # The pool looks at each connection it keeps at every call, so it keeps few.
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=20)
    async with httpx.AsyncClient(verify=NO_TLS, timeout=15.0, limits=limits) as client:
        urls = [[service.url for service in services if service.name == name] for name in ("gateway", "notifier")]
        yield Stack(server, services, client, FrontEnd(client, *urls, pause_s=pause_s), environment)


@asynccontextmanager
async def running_stack(
    server: EmbeddedServer,
    folder: Path,
    settings: Mapping[str, str],
    *,
    gateways: int = 1,
    notifiers: int = 1,
    workers: int = 1,
    pause_s: float | None = 0.1,
) -> AsyncIterator[Stack]:
    """All services, ready; `settings` are their environment, their logs lie in `folder`. `pause_s`: see `FrontEnd`."""
    environment = {"REDIS_URL": server.url, "LOG_LEVEL": "INFO", "DEMO_FIRST_TOKEN_MS": "50", **settings}
    names = ["gateway"] * gateways + ["notifier"] * notifiers + ["worker"] * workers
    services = [ServiceProcess(name, environment, folder / f"{name}-{i}.log") for i, name in enumerate(names)]
    async with AsyncExitStack() as exits:
        for service in services:
            service.start()
            exits.push_async_exit(service)
        for service in services:
            await service.ready()
        yield await exits.enter_async_context(open_stack(server, services, environment, pause_s=pause_s))
