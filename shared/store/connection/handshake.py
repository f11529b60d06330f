"""Connections that greet their server: it reports a lack of room, whether it is a master, and of which term."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.store.connection.master_discovery import Locator

LAST_WORDS_S: Final = 0.3
"""Seconds to wait for an error that the server sent before it closed the connection."""

Greeting = Callable[[Connection, str], Awaitable[None]]
"""Sends the first commands on a new connection to a master. Called with its replication id, which no other term of any
master has, nor the same one after a restart."""


if TYPE_CHECKING:
    _Tcp = Connection
else:
    _Tcp = object


class Greets(_Tcp):
    """A connection that greets its server, where that is a master and says which."""

    greet: Greeting | None

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Greet the server after redis-py's own greeting."""
        reader = self._reader
        try:
            await super().on_connect_check_health(check_health)
        except RedisConnectionError as error:
            # A server that has no room for a client reports that at once and closes: often before our first command is
            # sent.
            if not isinstance(error, AuthenticationError) and (said := await self._said(reader)):
                raise RedisConnectionError(said) from error
            raise
        await self._greet_master()

    async def _said(self, reader: asyncio.StreamReader | None) -> str:
        return await _last_words(reader)

    async def _greet_master(self) -> None:
        if self.greet is None:
            return
        try:
            fields = await self._replication()
        except ResponseError:
            return  # a user without INFO is not fenced, and not served: see `preflight/checks.py`
        if fields.get("role") == "master" and "master_replid" in fields:
            await self.greet(self, fields["master_replid"])

    async def _replication(self) -> dict[str, str]:
        await self.send_command("INFO", "replication")
        info = (await self.read_response()).decode()
        return dict(line.split(":", 1) for line in info.splitlines() if ":" in line)


async def _last_words(reader: asyncio.StreamReader | None) -> str:
    """The error that the server sent before it closed the connection; empty when it sent none."""
    if reader is None:
        return ""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(LAST_WORDS_S):
            line = (await reader.readline()).decode(errors="replace")
            return line[1:].strip() if line.startswith("-") else ""
    return ""


class Moves(Greets):
    """A connection that finds the master each time it is opened, and is cut when another connection finds it
    elsewhere."""

    locator: Locator
    siblings: weakref.WeakSet[Moves]

    async def _connect(self) -> None:
        self.host, self.port = await self.locator.locate()
        await super()._connect()  # type: ignore[no-untyped-call]  # redis-py has no types here

    async def _greet_master(self) -> None:
        fields = await self._replication()
        if fields["role"] != "master":
            raise RedisConnectionError("this server is not the master any more")
        if self.greet is not None:
            await self.greet(self, fields["master_replid"])
        for sibling in list(self.siblings):
            sibling.leave(self.host, self.port)

    def leave(self, host: str, port: int) -> None:
        """Break a connection to a server other than this one: its reader sees the end and opens it again."""
        if self.is_connected and (self.host, self.port) != (host, port) and self._writer is not None:
            self._writer.transport.abort()


class _GreetingConnection(Greets, Connection):
    """Plain TCP."""


class _GreetingSSLConnection(Greets, SSLConnection):
    """TLS."""


class _GreetingUnixConnection(Greets, UnixDomainSocketConnection):
    """A socket in the file system."""

    async def _said(self, reader: asyncio.StreamReader | None) -> str:
        """The error that such a socket sends. A failed write discards it there, so a second connection that writes
        nothing reads it."""
        if said := await super()._said(reader):
            return said
        with contextlib.suppress(OSError):
            silent, writer = await asyncio.open_unix_connection(self.path)
            try:
                return await _last_words(silent)
            finally:
                writer.close()
        return ""


class _MovingConnection(Moves, Connection):
    """Plain TCP."""


class _MovingSSLConnection(Moves, SSLConnection):
    """TLS: the certificate is checked against the host that the cluster or the sentinels name."""


FIXED_PLACE: Final[dict[type, type[Greets]]] = {
    Connection: _GreetingConnection,
    SSLConnection: _GreetingSSLConnection,
    UnixDomainSocketConnection: _GreetingUnixConnection,
}
MOVING: Final[dict[type, type[Moves]]] = {Connection: _MovingConnection, SSLConnection: _MovingSSLConnection}
