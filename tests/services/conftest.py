"""Servers and gateways for the tests of services: of each kind, for an operator, for all bad input."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import openai
import pytest
import pytest_asyncio

from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from tests.conftest import flush
from tests.support.callers import OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.collector import Collector, running_collector
from tests.support.gateway import running_gateway
from tests.support.openai_sdk import Heard, open_sdk
from tests.support.store import KEYS
from tests.support.worker import Scripted, running_worker

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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict_gateway(server: EmbeddedServer) -> AsyncIterator[httpx.AsyncClient]:
    """One gateway for all bad input: its answer to one request may not depend on those before."""
    async with running_gateway(server.url) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def strict(strict_gateway: httpx.AsyncClient, server: EmbeddedServer) -> AsyncIterator[httpx.AsyncClient]:
    """The gateway before an empty server, which must still be empty after the test."""
    async with RawRedis(server.url) as raw:
        await raw("FLUSHALL")
        yield strict_gateway
        # A new connection may have greeted the server (`failover_fence.py`).
        assert set(await raw("KEYS", "*")) <= {KEYS.fixed("failover").encode()}


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with one operator, who is its caller."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as running:
        await make_key(running, "carol")  # until a busy machine answers
        running.headers.update(bearer(OPERATOR))
        yield running


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that asks for no key, with little patience."""
    settings = {"FOREGROUND_SECONDS": "20", "NOTIFIER_HEARTBEAT_SECONDS": "0.2"}
    async with running_gateway(redis_url, **settings) as running:
        yield running


@pytest.fixture
async def sdk(gateway: httpx.AsyncClient) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's SDK before it."""
    async with open_sdk(str(gateway.base_url)) as client:
        yield client


@pytest.fixture
async def heard(redis_url: str) -> AsyncIterator[Heard]:
    """A worker behind it."""
    provider = Heard()
    settings = StoreSettings(redis_url=redis_url, lease_seconds=2.0)
    async with running_worker(settings, {"demo": Scripted(provider)}):
        yield provider


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector of traces that gets spans soon after they end."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with running_collector() as running:
        yield running
