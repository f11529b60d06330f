"""Starts servers that fail over: a cluster, or a master with a replica and three sentinels. All on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from redis.exceptions import RedisError

from shared.store.connection.url import SLOTS, slot
from shared.store.embedded.server import EmbeddedServer
from shared.store.keys import Keys
from tests.support.checks import RawRedis
from tests.support.fail_over import Servers, ask
from tests.support.processes import free_port
from tests.support.sentinel import DOWN_MS, MASTER_NAME, Sentinel
from tests.support.tls import Authority

_REPLICATION: Final = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


def _server(folder: Path, binary: Path | None, *options: str, tls: Authority | None = None) -> EmbeddedServer:
    port = free_port()
    secure = tls.options(port) if tls else ()
    return EmbeddedServer(folder, port=port, binary=binary, options=(*_REPLICATION, *options, *secure))


def _url(kind: str, tls: Authority | None, rest: str) -> str:
    return f"redis{'s' if tls else ''}+{kind}://{rest}{tls.query if tls else ''}"


class Pair(NamedTuple):
    """A master and its replica, without a process that would let the replica take over."""

    master: EmbeddedServer
    replica: EmbeddedServer


@asynccontextmanager
async def running_pair(folder: Path, *, binary: Path | None = None) -> AsyncIterator[Pair]:
    """Both, once the replica is in sync."""
    master = _server(folder / "master", binary)
    replica = _server(folder / "replica", binary, "--replicaof", f"127.0.0.1 {master.port}")
    with master, replica:
        await Servers(master.url, [master, replica]).in_sync()
        yield Pair(master, replica)


@asynccontextmanager
async def running_cluster(
    folder: Path, *, masters: int = 3, replicas: int = 1, binary: Path | None = None, tls: Authority | None = None
) -> AsyncIterator[Servers]:
    """A cluster with the slots shared out among `masters`; `replicas` of the master that has the jobs. `tls`: it speaks
    nothing else, also within."""
    with ExitStack() as running:
        nodes = []
        for number in range(masters + replicas):
            bus = free_port()
            options = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", str(DOWN_MS))
            options += ("--cluster-allow-replica-migration", "no", *(("--tls-cluster", "yes") if tls else ()))
            node = _server(folder / f"node-{number}", binary, *options, tls=tls)
            nodes.append((running.enter_context(node), bus))
        hosts = ",".join(f"127.0.0.1:{node.port}" for node, _ in nodes)
        servers = Servers(_url("cluster", tls, hosts), [node for node, _ in nodes], replicas=replicas)
        await _make_cluster(nodes, masters)
        await servers.in_sync(replicas)
        yield servers


async def _make_cluster(nodes: list[tuple[EmbeddedServer, int]], masters: int) -> None:
    share = -(-SLOTS // masters)
    for number, (node, _) in enumerate(nodes):
        await ask(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        if number < masters:
            first = number * share
            await ask(node, "CLUSTER", "ADDSLOTSRANGE", first, min(first + share, SLOTS) - 1)
        if number:
            await ask(nodes[0][0], "CLUSTER", "MEET", "127.0.0.1", node.port, nodes[number][1])
    owner = nodes[slot(Keys().tag) // share][0]
    owner_id = (await ask(owner, "CLUSTER", "MYID")).decode()
    async with asyncio.timeout(30):
        for replica, _ in nodes[masters:]:
            while True:
                try:
                    await ask(replica, "CLUSTER", "REPLICATE", owner_id)
                    break
                except RedisError:  # it does not know the owner yet
                    await asyncio.sleep(0.05)
        for node, _ in nodes:
            while (await _cluster_info(node)) != ("ok", str(len(nodes))):
                await asyncio.sleep(0.05)


async def _cluster_info(node: EmbeddedServer) -> tuple[str, str]:
    lines = (await ask(node, "CLUSTER", "INFO")).decode().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return fields["cluster_state"], fields["cluster_known_nodes"]


@asynccontextmanager
async def running_sentinels(
    folder: Path,
    *,
    replicas: int = 1,
    binary: Path | None = None,
    password: str = "",
    tls: Authority | None = None,
) -> AsyncIterator[Servers]:
    """A master, its replicas and three sentinels; with a password servers and sentinels ask for it. `tls`: they speak
    nothing else, also among themselves."""
    with ExitStack() as running:
        master = running.enter_context(_server(folder / "server-0", binary, tls=tls))
        followers = [
            running.enter_context(
                _server(folder / f"server-{i + 1}", binary, "--replicaof", f"127.0.0.1 {master.port}", tls=tls)
            )
            for i in range(replicas)
        ]
        if password:
            for server in (master, *followers):
                async with RawRedis(server.url) as raw:
                    for setting in ("masterauth", "requirepass"):
                        await raw("CONFIG", "SET", setting, password)
        sentinels = [
            running.enter_context(Sentinel(folder / f"sentinel-{i}", master.port, binary, password, tls))
            for i in range(3)
        ]
        user = f":{quote(password, safe='')}@" if password else ""
        async with asyncio.timeout(40):
            for sentinel in sentinels:
                while not await sentinel.knows_all(replicas):
                    await asyncio.sleep(0.05)
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        url = _url("sentinel", tls, f"{user}{hosts}/{MASTER_NAME}")
        servers = Servers(url, [master, *followers], sentinels, replicas)
        if not password:
            await servers.in_sync(replicas)
        yield servers
