"""Servers of which another one may become the master, and a store on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import pytest

from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from tests.support.topologies import Servers, running_cluster, running_sentinels

RUNNING: Final[dict[str, Callable[..., AbstractAsyncContextManager[Servers]]]] = {
    "cluster": running_cluster,
    "sentinel": running_sentinels,
}


@pytest.fixture(params=RUNNING)
async def servers(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Servers]:
    """A cluster of three masters, and a set of three sentinels; the master that has the jobs has one replica."""
    async with RUNNING[request.param](tmp_path / "servers") as running:
        yield running


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
