"""Every store test runs on Valkey and, where it is installed, on Debian's Redis 7.0."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.settings import StoreSettings
from shared.store.embedded import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from tests.conftest import flush
from tests.support.checks import RawRedis

REDIS = shutil.which("redis-server")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer | None]:
    """Debian's redis-server, None where it is not installed."""
    if REDIS is None:
        yield None
        return
    with EmbeddedServer(Path(tmp_path_factory.mktemp("redis")), aof=False, binary=Path(REDIS)) as running:
        yield running


@pytest.fixture(params=["valkey", "redis"])
async def url(request: pytest.FixtureRequest, server: EmbeddedServer, redis_server: EmbeddedServer | None) -> str:
    """Address of an empty server of either kind."""
    chosen = server if request.param == "valkey" else redis_server
    if chosen is None:
        pytest.skip("redis-server is not installed on this machine")
    await flush(chosen.url)
    return chosen.url


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """A store on an empty server, with a lease of 2 s."""
    async with open_store(StoreSettings(redis_url=url, lease_seconds=2.0), client_name="test") as opened:
        yield opened


@pytest.fixture
async def raw(url: str) -> AsyncIterator[RawRedis]:
    """A plain connection to the same server."""
    async with RawRedis(url) as connection:
        yield connection
