"""One server and the services on it, kept running from test to test, because a start costs more than most tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import httpx

from shared.store.embedded.server import EmbeddedServer
from tests.conftest import flush
from tests.support.plain import NO_TLS
from tests.support.processes import ServiceProcess
from tests.support.stack import Stack, open_stack

OF_WORKERS: Final = (
    "DEMO_", "WORKER_", "DRAIN_", "PRICES", "PROVIDER_", "OPENAI_BASE", "OPENAI_PRICED", "ANTHROPIC_BASE",
    "ANTHROPIC_PRICED",
)  # fmt: skip
"""Prefixes of settings that workers alone read: the others go on as they are when one of them changes."""


def settings_of(name: str, settings: Mapping[str, str]) -> dict[str, str]:
    """The part of a fleet's settings that may concern a service."""
    return {
        setting: value for setting, value in settings.items() if name == "worker" or not setting.startswith(OF_WORKERS)
    }


class Fleet:
    """A gateway, a notifier and workers. A service is started again when it gets other settings, was sent a signal,
    ended, or still holds a job of the test before; and when a test failed."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedServer(folder / "data")
        self._services: list[ServiceProcess] = []
        self._pid = 0

    @asynccontextmanager
    async def running(self, folder: Path, workers: int, settings: Mapping[str, str]) -> AsyncIterator[Stack]:
        """All services, ready, on an empty server. `folder`: for the logs of those that are started."""
        self._restore_server()
        environment = {"REDIS_URL": self._server.url, "LOG_LEVEL": "INFO", "DEMO_FIRST_TOKEN_MS": "50", **settings}
        names = ["gateway", "notifier", *["worker"] * workers]
        try:
            await self._prepare(folder, names, environment)
            async with open_stack(self._server, self._services, environment) as stack:
                yield stack
        except BaseException:
            self._end(self._services)
            self._services = []
            raise

    def _restore_server(self) -> None:
        if self._server.running and self._server.pid == self._pid:
            self._server.resume()
            return
        # It ends with the thread that started it: one that a test started in a thread is as good as gone.
        self._server.stop()
        self._server.start()
        self._pid = self._server.pid

    async def _prepare(self, folder: Path, names: list[str], environment: dict[str, str]) -> None:
        found, kept = list[ServiceProcess](), [one for one in self._services if await _undisturbed(one)]
        for number, name in enumerate(names):
            own = settings_of(name, environment)
            same = next((one for one in kept if one.name == name and one.settings == own), None)
            if same is not None:
                kept.remove(same)
            found.append(same or ServiceProcess(name, own, folder / f"{name}-{number}.log"))

        old, self._services = self._services, found
        self._end([one for one in old if one not in found])
        await flush(self._server.url)
        for one in found:
            if one not in old:
                one.start()
        for one in found:
            await one.ready()

    @staticmethod
    def _end(services: list[ServiceProcess]) -> None:
        for service in services:
            if service.started and service.process.poll() is None:
                service.process.kill()
        for service in services:
            if service.started:
                service.process.wait()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(self._services)
        self._server.stop()


async def _undisturbed(service: ServiceProcess) -> bool:
    if service.signalled or service.process.poll() is not None:
        return False
    async with httpx.AsyncClient(verify=NO_TLS, timeout=5.0) as client:
        try:
            metrics = (await client.get(f"{service.url}/metrics")).text
        except httpx.HTTPError:
            return False
    return service.name != "worker" or "\npresswork_worker_slots_busy 0.0\n" in metrics
