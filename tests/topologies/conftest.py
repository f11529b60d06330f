"""Servers of which another one may become the master, and a store on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Final

import pytest

from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from tests.support.fail_over import Servers
from tests.support.topologies import running_cluster, running_sentinels

RUNNING: Final[dict[str, Callable[..., AbstractAsyncContextManager[Servers]]]] = {
    "cluster": running_cluster,
    "sentinel": running_sentinels,
}


def kept_running(running: AbstractAsyncContextManager[Servers]) -> Iterator[Servers]:
    """Servers for more than one test, of which each has an event loop of its own."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        servers = runner.run(running.__aenter__())
        runner.run(asyncio.sleep(0.1))  # what was closed last is gone when its loop rests
        yield servers
        runner.run(running.__aexit__(None, None, None))


@pytest.fixture(scope="session", params=RUNNING)
def running_servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A cluster of three masters, and a set of three sentinels; the master that has the jobs has one replica."""
    yield from kept_running(RUNNING[request.param](tmp_path_factory.mktemp(request.param) / "servers"))


@pytest.fixture
async def servers(running_servers: Servers) -> Servers:
    """They as if just started, but for the roles of each."""
    await running_servers.restore()
    return running_servers


@pytest.fixture
async def store(servers: Servers) -> AsyncIterator[JobStore]:
    """A store on them, with a lease of 30 s: no fail-over may last so long that its jobs are recovered."""
    async with open_store(StoreSettings(redis_url=servers.url, lease_seconds=30.0), client_name="test") as opened:
        yield opened


@pytest.fixture
async def store_of_one(redis_url: str) -> AsyncIterator[JobStore]:
    """A store on a single server, the embedded one."""
    async with open_store(StoreSettings(redis_url=redis_url, lease_seconds=30.0), client_name="test") as opened:
        yield opened
