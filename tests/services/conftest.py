"""A server of each kind, for its operator."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.store.embedded.server import EmbeddedServer
from tests.conftest import flush
from tests.support.checks import RawRedis

REDIS = shutil.which("redis-server")


@pytest.fixture(scope="module", params=["valkey", "redis"])
def shared_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of each kind."""
    if request.param == "redis" and REDIS is None:
        pytest.skip("redis-server is not installed on this machine")
    binary = Path(REDIS) if request.param == "redis" and REDIS else None
    with EmbeddedServer(tmp_path_factory.mktemp("requirements"), aof=False, binary=binary) as running:
        yield running


@pytest.fixture
async def raw(shared_server: EmbeddedServer) -> AsyncIterator[RawRedis]:
    """A connection of the operator to an empty server."""
    await flush(shared_server.url)
    async with RawRedis(shared_server.url) as connection:
        yield connection
        await connection("CONFIG", "SET", "maxmemory-policy", "noeviction")
