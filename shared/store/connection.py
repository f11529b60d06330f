"""The one builder of Redis connections, with defaults that never repeat a write.

redis-py's own defaults retry on time-outs and connection errors: one XADD through a slow link wrote 11 entries. Here a
call is sent once; who wants it again repeats a transition that is safe to repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from redis.asyncio.connection import Connection, RedisSSLContext, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.errors import SettingsInvalid
from shared.store import topology
from shared.store.locator import Locator
from shared.store.topology import Address

CONNECT_TIMEOUT_S: Final = 1.5

TLS_FRESH_S: Final = 60.0
"""After so long the certificates are read again: they may have been renewed. If they cannot, those known go on."""

LAST_WORDS_S: Final = 0.05
"""How long is waited for what a server said before it closed the connection."""

WATCH_S: Final = 3.0
"""Where the master may move, no connection trusts a silence for longer: the old master's host may be gone without a
word. Such servers are one's own and bill no commands."""

AnyConnection = Connection | SSLConnection | UnixDomainSocketConnection
Connect = Callable[[], AnyConnection]

Greeting = Callable[[Connection, str], Awaitable[None]]
"""Says the first words on a new connection to a master: told of its replication id, which no other term of any master
has, nor the same one after a restart."""


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Redis is: the forms of `topology.parse`. `client_name` shows in CLIENT LIST.

    `sentinel_username`, `sentinel_password`: what the sentinels ask for, when they do.
    """

    url: str
    client_name: str = "presswork"
    sentinel_username: str = ""
    sentinel_password: str = ""


def _keepalive() -> dict[int, int]:
    """TCP keepalive after 30 s of silence: finds half-open connections without a PING that a host would bill."""
    wanted = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


if TYPE_CHECKING:
    _Tcp = Connection
else:
    _Tcp = object


class _Greeting(_Tcp):
    """A connection that greets its server, where that is a master and says which."""

    greet: Greeting | None

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """After redis-py's own greeting, ours."""
        reader = self._reader
        try:
            await super().on_connect_check_health(check_health)
        except RedisConnectionError as error:
            # A server that has no room for a client says so at once and closes: often before our first word is sent.
            if not isinstance(error, AuthenticationError) and (said := await self._told(reader)):
                raise RedisConnectionError(said) from error
            raise
        await self._greet_master()

    async def _told(self, reader: asyncio.StreamReader | None) -> str:
        return await _last_words(reader)

    async def _greet_master(self) -> None:
        if self.greet is None:
            return
        try:
            fields = await self._replication()
        except ResponseError:
            return  # a user without INFO is not fenced, and not served: see `vetting.py`
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


class _Moving(_Greeting):
    """A connection that looks for the master each time it is opened, and is cut when another one finds it elsewhere."""

    locator: Locator
    siblings: weakref.WeakSet[_Moving]

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
        """Break a connection to another server than this: its reader sees the end and opens it anew."""
        if self.is_connected and (self.host, self.port) != (host, port) and self._writer is not None:
            self._writer.transport.abort()


class _GreetingConnection(_Greeting, Connection):
    """Plain TCP."""


class _GreetingSSLConnection(_Greeting, SSLConnection):
    """TLS."""


class _GreetingUnixConnection(_Greeting, UnixDomainSocketConnection):
    """A socket in the file system."""

    async def _told(self, reader: asyncio.StreamReader | None) -> str:
        """What cannot be written to such a socket takes away what could be read: a silent one hears it."""
        if said := await super()._told(reader):
            return said
        with contextlib.suppress(OSError):
            silent, writer = await asyncio.open_unix_connection(self.path)
            try:
                return await _last_words(silent)
            finally:
                writer.close()
        return ""


class _MovingConnection(_Moving, Connection):
    """Plain TCP."""


class _MovingSSLConnection(_Moving, SSLConnection):
    """TLS: the certificate is checked against the host that the cluster or the sentinels name."""


_FIXED_PLACE: Final[dict[type, type[_Greeting]]] = {
    Connection: _GreetingConnection,
    SSLConnection: _GreetingSSLConnection,
    UnixDomainSocketConnection: _GreetingUnixConnection,
}
_MOVING: Final[dict[type, type[_Moving]]] = {Connection: _MovingConnection, SSLConnection: _MovingSSLConnection}


class Connector:
    """Makes the connections of one store: RESP2, bytes, no retry, no health check, no read time-out of their own.

    Every caller bounds its waits itself; a block on the server can then never outlive a hidden time-out. `greet` is
    called on each, when it is set. SettingsInvalid when the URL cannot be read.
    """

    _fixed: ClassVar[dict[str, Any]] = {
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "driver_info": None,
    }

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self.greet: Greeting | None = None
        self._topology = topology.parse(settings.url)
        self._options = {**self._topology.options, **self._fixed, "client_name": settings.client_name}
        self._kind: type[Any] = self._options.pop("connection_class", Connection)
        if not issubclass(self._kind, UnixDomainSocketConnection):
            self._options |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive()}
        self._siblings: weakref.WeakSet[_Moving] = weakref.WeakSet()
        self._locator = Locator(self._topology, self._open_guide)
        self._tls: RedisSSLContext | None = None
        self._tls_until = 0.0
        self()  # an option that redis-py does not know, or a file that is not there, must stop the start

    @property
    def moves(self) -> bool:
        """Whether another server may become the master."""
        return self._topology.moves

    def __call__(self) -> AnyConnection:
        """A connection that is not open yet."""
        kind: type[Any] = (_MOVING if self.moves else _FIXED_PLACE)[self._kind]
        try:
            connection: AnyConnection = kind(**self._options)
        except (TypeError, RedisError):
            raise SettingsInvalid("REDIS_URL has an option that is not known") from None
        self._secure(connection)
        if isinstance(connection, _Greeting):
            connection.greet = self.greet
        if isinstance(connection, _Moving):
            connection.locator, connection.siblings = self._locator, self._siblings
            self._siblings.add(connection)
        return connection

    def _open_guide(self, address: Address) -> Connection:
        """A bare connection to a node or a sentinel, to ask it one thing."""
        options = {**self._options, "host": address.host, "port": address.port}
        if self._topology.kind == "sentinel":
            options |= {
                "db": 0,
                "username": self._settings.sentinel_username or None,
                "password": self._settings.sentinel_password or None,
            }
        connection: Connection = self._kind(**options)
        self._secure(connection)
        return connection

    def _secure(self, connection: AnyConnection) -> None:
        """Give it the certificates. To read a system's takes 30 ms of CPU, and a fail-over opens many connections."""
        if not isinstance(connection, SSLConnection):
            return
        if self._tls is None or time.monotonic() >= self._tls_until:
            try:
                connection.ssl_context.get()
                self._tls = connection.ssl_context
            except OSError as error:
                if self._tls is None:
                    raise SettingsInvalid(f"REDIS_URL: its certificates cannot be read: {error.strerror}") from None
            self._tls_until = time.monotonic() + TLS_FRESH_S
        connection.ssl_context = self._tls


def new_connection(settings: RedisSettings) -> AnyConnection:
    """One connection that is not open yet. SettingsInvalid: see `Connector`."""
    return Connector(settings)()


def watch_s(connection: AnyConnection) -> float | None:
    """How long a silence on this connection may last before it must be looked at; None: as long as its user likes."""
    return WATCH_S if isinstance(connection, _Moving) else None


def error_code(error: ResponseError | str) -> str:
    """The first word of a server's error, such as NOGROUP or OOM; redis-py takes it off those that it knows."""
    if isinstance(error, ResponseError) and error.status_code:
        return error.status_code
    words = str(error).split(maxsplit=1)
    return words[0].rstrip(":") if words else ""
