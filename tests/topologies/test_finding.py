"""Finding the master: passwords, names, seeds that are gone, and servers that know nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from shared.errors import StoreUnavailable
from shared.setting_values import read
from shared.settings import StoreSettings
from shared.store.connection.connector import Connector, RedisSettings
from shared.store.connection.url import Address
from shared.store.job_store import open_store
from tests.support.fail_over import ask
from tests.support.processes import free_port
from tests.support.sentinel import MASTER_NAME
from tests.support.store import new_job, repeated, submit
from tests.support.topologies import running_cluster, running_pair, running_sentinels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PASSWORD = "pass-w0rd/with@signs"


class _Stale:
    """A guide that does not know of the last fail-over."""

    def __init__(self, port: int) -> None:
        self._place = Address("127.0.0.1", port)

    async def locate(self) -> Address:
        return self._place


async def test_a_server_that_is_no_master_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentinel or node that is behind the others names the replica: no connection to it is kept."""
    async with running_pair(tmp_path) as pair:
        connector = Connector(RedisSettings(url=f"redis+sentinel://127.0.0.1/{MASTER_NAME}"))
        monkeypatch.setattr(connector, "_locator", _Stale(pair.replica.port))
        with pytest.raises(RedisConnectionError, match="not the master"):
            await connector().connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
        monkeypatch.setattr(connector, "_locator", _Stale(pair.master.port))
        connection = connector()
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
        await connection.disconnect()


async def test_servers_and_sentinels_have_passwords_of_their_own(tmp_path: Path) -> None:
    """The password of the URL is the master's; the sentinels get SENTINEL_PASSWORD, and nothing without it:
    one line says so."""
    async with running_sentinels(tmp_path, password=PASSWORD) as servers:
        mapping = {"SENTINEL_PASSWORD": PASSWORD}
        async with open_store(read(mapping, StoreSettings, redis_url=servers.url), client_name="test") as store:
            await submit(store, 1)
        with capture_logs() as lines:
            async with open_store(StoreSettings(redis_url=servers.url), client_name="test") as store:
                with pytest.raises(StoreUnavailable) as refused:
                    await store.submit(new_job())
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("redis_not_reached", "the server needs a password: add it to REDIS_URL")
    ]
    assert PASSWORD not in str(refused.value)


async def test_an_unknown_name_is_no_hang(tmp_path: Path) -> None:
    """Sentinels that know no such master make a call fail within its time."""
    async with running_sentinels(tmp_path) as servers:
        wrong = servers.url.replace(MASTER_NAME, "nobody")
        async with open_store(StoreSettings(redis_url=wrong), client_name="test") as store:
            async with asyncio.timeout(30):
                with pytest.raises(StoreUnavailable):
                    await store.submit(new_job())


async def test_a_cluster_is_known_beyond_its_seeds(tmp_path: Path) -> None:
    """One seed that does not own the slot is enough, and may die afterwards: its answers named the others."""
    async with running_cluster(tmp_path, replicas=0) as servers:
        seed = servers.servers[0]
        assert await servers.master() is not seed
        url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{seed.port}"
        async with open_store(StoreSettings(redis_url=url), client_name="test") as store:
            await submit(store, 1)
            seed.kill()
            master = await servers.master()
            await ask(master, "CONFIG", "SET", "cluster-require-full-coverage", "no")
            await ask(master, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await repeated(lambda: store.submit(new_job()))
            assert (await store.queries.stats()).queued == 2


async def test_a_host_name_that_a_node_announces_is_used(tmp_path: Path) -> None:
    """Nodes behind names (containers, TLS certificates) are reached by the name they announce."""
    async with running_cluster(tmp_path, replicas=0) as servers:
        for server in servers.servers:
            await ask(server, "CONFIG", "SET", "cluster-announce-hostname", "localhost")
            await ask(server, "CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
        seed = servers.servers[0]
        async with asyncio.timeout(30):
            while {row[2][0] for row in await ask(seed, "CLUSTER", "SLOTS")} != {b"localhost"}:
                await asyncio.sleep(0.05)
        url = f"redis+cluster://127.0.0.1:{seed.port}"
        async with open_store(StoreSettings(redis_url=url), client_name="test") as store:
            await submit(store, 1)
