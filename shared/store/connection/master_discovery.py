"""Finds the present master: asks the nodes of a cluster or the sentinels again before every connection.

All keys of a shard share one hash tag (`keys.py`), so of a whole cluster one server matters: the master of one slot.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from shared.store.connection.url import Address, Topology, slot
from shared.store.keys import Keys

ASKED_AT_ONCE: Final = 5
"""Number of servers asked at once: enough when some are down, and not too many requests from many clients."""

GRACE_S: Final = 0.03
"""Seconds to wait for further replies after the first: a sentinel that missed a fail-over may be the fastest."""

ASK_S: Final = 0.7
"""Seconds one server may take: connecting to the master must still fit into the time for a connection."""

Answer = tuple[int, Address]
"""Epoch of the configuration it comes from (the higher is the newer), and the master's address."""


class Locator:
    """Knows the servers to ask. `open_one` makes a bare connection to an address, with the right credentials.

    The nodes that a cluster names are remembered: the seeds of the URL may all be gone one day.
    """

    def __init__(self, topology: Topology, open_one: Callable[[Address], Connection]) -> None:
        self._topology = topology
        self._open_one = open_one
        self._slot = slot(Keys().tag)
        self._known: tuple[Address, ...] = ()
        self._failure: Exception | None = None

    async def locate(self) -> Address:
        """Find the present master's address. RedisConnectionError when no server that replies knows one."""
        servers = list(dict.fromkeys((*self._known, *self._topology.seeds)))
        random.shuffle(servers)
        for first in range(0, len(servers), ASKED_AT_ONCE):
            if found := await self._newest(servers[first : first + ASKED_AT_ONCE]):
                return max(found)[1]
        raise RedisConnectionError("no server that answers knows a master") from self._failure

    async def _newest(self, servers: Sequence[Address]) -> list[Answer]:
        tasks = {asyncio.create_task(self._ask(server)) for server in servers}
        waiting, found = tasks, list[Answer]()

        try:
            while waiting:
                timeout = GRACE_S if found else None
                done, waiting = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                found += [answer for task in done if (answer := task.result()) is not None]
                if found and self._topology.kind == "cluster":
                    break
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return found

    async def _ask(self, server: Address) -> Answer | None:
        connection = self._open_one(server)
        try:
            async with asyncio.timeout(ASK_S):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
                if self._topology.kind == "cluster":
                    return self._from_slots(server, await _call(connection, "CLUSTER", "SLOTS"))
                return _from_sentinel(await _call(connection, "SENTINEL", "MASTER", self._topology.master_name))
        except (RedisError, OSError, TimeoutError, ValueError, IndexError, KeyError) as error:
            self._failure = error
            return None
        finally:
            await connection.disconnect(nowait=True)

    def _from_slots(self, asked: Address, ranges: Sequence[Sequence[Any]]) -> Answer | None:
        """The master of our slot; a host that is not announced is the one that was asked (CLUSTER SLOTS)."""
        nodes = {_node(asked, node) for row in ranges for node in row[2:]}
        self._known = tuple(node for node in nodes if node is not None)
        for first, last, master, *_ in ranges:
            if first <= self._slot <= last and (found := _node(asked, master)) is not None:
                return 0, found
        return None


async def _call(connection: Connection, *command: str) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()


def _node(asked: Address, node: Sequence[Any]) -> Address | None:
    host = (node[0] or b"").decode()
    # "?": the node is configured to announce a name and has none.
    return None if host == "?" else Address(host or asked.host, int(node[1]))


def _from_sentinel(flat: Sequence[bytes]) -> Answer:
    fields = {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
    return int(fields["config-epoch"]), Address(fields["ip"], int(fields["port"]))
