"""Every store test runs on Valkey, on a cluster's node and, where it is installed, on Debian's Redis 7.0."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.settings import StoreSettings
from shared.store.connection.url import SLOTS
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from tests.conftest import flush
from tests.support.checks import RawRedis
from tests.support.gates import A, B, routing
from tests.support.processes import free_port

REDIS = shutil.which("redis-server")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer | None]:
    """Debian's redis-server, None where it is not installed."""
    if REDIS is None:
        yield None
        return
    with EmbeddedServer(Path(tmp_path_factory.mktemp("redis")), aof=False, binary=Path(REDIS)) as running:
        yield running


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of one node: its refusals (keys of another slot, database numbers) are those of a larger one."""
    port, bus = free_port(), free_port()
    options = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
    with EmbeddedServer(Path(tmp_path_factory.mktemp("cluster")), port=port, aof=False, options=options) as running:
        asyncio.run(_take_all_slots(running.url))
        yield f"redis+cluster://127.0.0.1:{port}"


async def _take_all_slots(url: str) -> None:
    async with RawRedis(url) as raw:
        await raw("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        async with asyncio.timeout(30):
            while b"cluster_state:ok" not in await raw("CLUSTER", "INFO"):
                await asyncio.sleep(0.02)


@pytest.fixture(params=["valkey", "redis", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """Address of an empty server of each kind; one that no test asks for is not started."""
    address: str | None
    if request.param == "cluster":
        address = request.getfixturevalue("cluster_url")
    else:
        chosen = request.getfixturevalue("server" if request.param == "valkey" else "redis_server")
        address = chosen.url if chosen is not None else None
    if address is None:
        pytest.skip("redis-server is not installed on this machine")
    asyncio.run(flush(address))
    return address


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


@pytest.fixture
async def one(url: str) -> AsyncIterator[JobStore]:
    """A fleet with one gate without limits of our own."""
    async with open_store(
        StoreSettings(redis_url=url, lease_seconds=2.0), client_name="t", routing=routing(A)
    ) as opened:
        yield opened


@pytest.fixture
async def two(url: str) -> AsyncIterator[JobStore]:
    """A fleet that prefers A and falls back to B."""
    paths = routing(A, B)
    async with open_store(StoreSettings(redis_url=url, lease_seconds=2.0), client_name="t", routing=paths) as opened:
        yield opened
