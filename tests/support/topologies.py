"""Starts servers that fail over: a cluster, or a master with a replica and three sentinels. All on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from redis.exceptions import RedisError

from shared.errors import StoreUnavailable
from shared.job import Claim
from shared.store.connection.url import SLOTS, slot
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore
from shared.store.keys import Keys
from tests.support.checks import RawRedis
from tests.support.processes import free_port
from tests.support.sentinel import DOWN_MS, MASTER_NAME, Sentinel
from tests.support.tls import Authority

_REPLICATION: Final = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


async def claimed_anew(store: JobStore, consumer: str, limit: int = 1, seconds: float = 40.0) -> list[Claim]:
    """The next jobs after a server came back or another took over, as a worker gets them: a lost answer is asked for
    again, and the first claims may only give entries from before new names."""
    known: list[str] | None = None
    async with asyncio.timeout(seconds):
        while True:
            try:
                claimed = await store.claim(consumer, limit, poll=True, suspect=True, known=known)
            except StoreUnavailable:
                known = []
                await asyncio.sleep(0.05)
                continue
            if claimed.claims:
                return claimed.claims
            assert claimed.more


async def ask(server: EmbeddedServer, *command: str | int) -> Any:
    """One command to one server over its own socket, in any role."""
    async with RawRedis(server.url) as raw:
        return await raw(*command)


async def info(server: EmbeddedServer, section: str) -> dict[str, str]:
    """One section of INFO; {} while the server is away."""
    try:
        async with asyncio.timeout(5):
            text = (await ask(server, "INFO", section)).decode()
    except (RedisError, OSError, TimeoutError):
        return {}
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _online(replication: dict[str, str], offset: str = "") -> int:
    """Number of a master's replicas; `offset`: of those that have got so far."""
    lines = [line for name, line in replication.items() if name.startswith("slave")]
    return sum(f"state=online{offset}" in line for line in lines)


class Servers:
    """Servers of which one is the master of all jobs, with so many `replicas`. `url` is what REDIS_URL must be."""

    def __init__(
        self, url: str, servers: list[EmbeddedServer], sentinels: list[Sentinel] | None = None, replicas: int = 0
    ) -> None:
        self.url = url
        self.servers = servers
        self.sentinels = sentinels or []
        self._count = replicas
        self._cut_from: EmbeddedServer | None = None

    async def master(self, *, other_than: EmbeddedServer | None = None, seconds: float = 80.0) -> EmbeddedServer:
        """The server that serves the jobs, once it does. TimeoutError when none does."""
        async with asyncio.timeout(seconds):
            while True:
                for server in self.servers:
                    if server is not other_than and server.running and await self._serves(server):
                        return server
                await asyncio.sleep(0.05)

    async def _serves(self, server: EmbeddedServer) -> bool:
        if (await info(server, "replication")).get("role") != "master":
            return False
        try:
            async with asyncio.timeout(1.0):
                await ask(server, "EXISTS", Keys().fixed("round_robin"))  # another slot's master answers MOVED
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def replicas(self) -> list[EmbeddedServer]:
        """The master's replicas."""
        return await self._replicas_of(await self.master())

    async def _replicas_of(self, master: EmbeddedServer) -> list[EmbeddedServer]:
        found = []
        for server in self.servers:
            if server is not master and (await info(server, "replication")).get("master_port") == str(master.port):
                found.append(server)
        return found

    async def in_sync(self, count: int = 1, seconds: float = 40.0) -> None:
        """Wait until so many replicas have all that the master has."""
        master = await self.master()
        async with asyncio.timeout(seconds):
            while True:
                replication = await info(master, "replication")
                offset = replication.get("master_repl_offset", "")
                if _online(replication, f",offset={offset},") >= count:
                    return
                await asyncio.sleep(0.05)

    async def attached(self, count: int, seconds: float = 40.0) -> None:
        """Wait until so many replicas follow the master."""
        master = await self.master()
        async with asyncio.timeout(seconds):
            while _online(await info(master, "replication")) < count:
                await asyncio.sleep(0.05)

    async def cut_off(self) -> None:
        """From now on the master's writes reach no replica, although everybody lives. `kill_master` ends that."""
        self._cut_from = master = await self.master()
        for replica in await self._replicas_of(master):
            replica.pause()
        # What is sent to a stopped process is still read later; a link that is gone is not.
        await ask(master, "CLIENT", "KILL", "TYPE", "replica")

    async def kill_master(self, *, detected: bool = False) -> EmbeddedServer:
        """Kill it, let the replicas go on, and answer the new master once it serves.

        It is named at once, or by those who watch the master, within seconds: `detected`.
        """
        old, self._cut_from = self._cut_from or await self.master(), None  # paused servers answer nobody
        old.kill()
        for server in self.servers:
            if server.running:
                server.resume()
        if not detected:
            await self._name_another((await self._replicas_of(old))[0])
        return await self.master(other_than=old)

    async def restore(self) -> None:
        """All servers run again, one as the master of the others; all are empty."""
        master = await self._named_master() if self.sentinels else await self.master()
        for server in self.servers:
            if server.running:
                server.resume()
            else:
                server.start()
            if self.sentinels and server is not master:
                await ask(server, "REPLICAOF", "127.0.0.1", master.port)  # the sentinels would wait for a while

        await ask(await self.master(), "FLUSHALL")
        await self.attached(self._count)
        async with asyncio.timeout(40):
            for sentinel in self.sentinels:
                while not await sentinel.knows_all(self._count):
                    await asyncio.sleep(0.05)

    async def _named_master(self) -> EmbeddedServer:
        """The server that the sentinels agreed on last."""
        named = [await sentinel.master() for sentinel in self.sentinels]
        _, port = max(named)
        return next(server for server in self.servers if server.port == port)

    async def _name_another(self, replica: EmbeddedServer) -> None:
        async with asyncio.timeout(40):
            while True:
                try:
                    if self.sentinels:
                        await self.sentinels[0].ask("SENTINEL", "FAILOVER", MASTER_NAME)
                    else:
                        await ask(replica, "CLUSTER", "FAILOVER", "FORCE")
                    return
                except RedisError as error:
                    if "INPROG" in str(error) or "replica" in str(error):  # it was detected meanwhile
                        return
                    await asyncio.sleep(0.05)  # the replica was paused, and is not trusted yet

    async def hand_over(self) -> EmbeddedServer:
        """Make a replica the master while the old one lives on as its replica; answers the old one."""
        old = await self.master()
        if self.sentinels:
            await self.sentinels[0].ask("SENTINEL", "FAILOVER", MASTER_NAME)
            new = await self.master(other_than=old)
            await ask(old, "REPLICAOF", "127.0.0.1", new.port)  # the sentinels would wait for a while
        else:
            await ask((await self.replicas())[0], "CLUSTER", "FAILOVER")
            await self.master(other_than=old)
        async with asyncio.timeout(40):
            while (await info(old, "replication")).get("role") != "slave":
                await asyncio.sleep(0.05)
        return old


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
