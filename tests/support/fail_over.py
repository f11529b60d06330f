"""Servers of which another one may become the master, and how it comes to that."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import RedisError

from shared.errors import StoreUnavailable
from shared.job import Claim
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore
from shared.store.keys import Keys
from tests.support.checks import RawRedis
from tests.support.sentinel import MASTER_NAME, Sentinel


async def claimed_again(store: JobStore, consumer: str, limit: int = 1, seconds: float = 40.0) -> list[Claim]:
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
    """One command to one server over its own socket, whatever its role."""
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
