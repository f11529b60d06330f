"""One private server per test worker; every test finds it empty."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from shared.settings import StoreSettings
from shared.store.connection.connector import RedisSettings, new_connection
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from tests.support.llm import LlmServer, llm_server_at, llm_server_process
from tests.support.upstash import Upstash, running_upstash

hypothesis.settings.register_profile("presswork", deadline=None)  # a busy machine is no finding
hypothesis.settings.load_profile("presswork")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take long, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: (item.get_closest_marker("timeout") is None, item.get_closest_marker("slow") is None))


async def flush(url: str) -> None:
    """Empty a server and lift its memory limit."""
    connection = new_connection(RedisSettings(url=url))
    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
    for command in (("FLUSHALL",), ("CONFIG", "SET", "maxmemory", "0")):
        await connection.send_command(*command)
        await connection.read_response()
    await connection.disconnect()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The embedded server of this test worker, without a file on disk."""
    with EmbeddedServer(Path(tmp_path_factory.mktemp("valkey")), aof=False) as running:
        yield running


@pytest.fixture
def redis_url(server: EmbeddedServer) -> str:
    """Address of an empty server."""
    asyncio.run(flush(server.url))
    return server.url


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    """A store on an empty server, with a lease of 2 s."""
    async with open_store(StoreSettings(redis_url=redis_url, lease_seconds=2.0), client_name="test") as opened:
        yield opened


@pytest.fixture(scope="session")
def llm_port() -> Iterator[int]:
    """Our stand-in for language models, one for all tests of this test worker."""
    with llm_server_process() as port:
        yield port


@pytest.fixture
async def llm(llm_port: int) -> AsyncIterator[LlmServer]:
    """Our own stand-in as if just started."""
    async with llm_server_at(llm_port) as server:
        yield server


@pytest.fixture
async def upstash(redis_url: str) -> AsyncIterator[Upstash]:
    """An endpoint of Redis over REST, before an empty server."""
    async with running_upstash(redis_url) as running:
        yield running
