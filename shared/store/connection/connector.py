"""The one builder of Redis connections, with defaults that never repeat a write.

redis-py's own defaults retry on time-outs and connection errors: one XADD through a slow link wrote 11 entries. Here a
call is sent once; callers repeat only transitions that are safe to repeat.
"""

from __future__ import annotations

import socket
import time
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec
from redis.asyncio.connection import Connection, RedisSSLContext, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from shared.errors import SettingsInvalid
from shared.store.connection import url
from shared.store.connection.handshake import FIXED_PLACE, MOVING, Greeting, Greets, Moves
from shared.store.connection.master_discovery import Locator
from shared.store.connection.url import Address

CONNECT_TIMEOUT_S: Final = 1.5

TLS_FRESH_S: Final = 60.0
"""Seconds after which the certificates are read again: they may have been renewed. If that fails, the known ones are
kept."""

WATCH_S: Final = 3.0
"""Seconds of silence after which a connection is checked where the master may move: the old master's host may be gone
without closing it. Such servers are self-hosted and bill no commands."""

AnyConnection = Connection | SSLConnection | UnixDomainSocketConnection
Connect = Callable[[], AnyConnection]


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Address of Redis, in the forms of `url.parse`. `client_name` shows in CLIENT LIST.

    `sentinel_username`, `sentinel_password`: credentials for the sentinels, when they need some.
    """

    url: str
    client_name: str = "presswork"
    sentinel_username: str = ""
    sentinel_password: str = ""


def _keepalive() -> dict[int, int]:
    """Options for TCP keepalive after 30 s of silence: it finds half-open connections without a PING that a host would
    bill."""
    wanted = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


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
        self._topology = url.parse(settings.url)
        self._options = {**self._topology.options, **self._fixed, "client_name": settings.client_name}
        self._kind: type[Any] = self._options.pop("connection_class", Connection)
        if not issubclass(self._kind, UnixDomainSocketConnection):
            self._options |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive()}
        self._siblings: weakref.WeakSet[Moves] = weakref.WeakSet()
        self._locator = Locator(self._topology, self._open_guide)
        self._tls: RedisSSLContext | None = None
        self._tls_until = 0.0
        self()  # an option that redis-py does not know, or a file that is not there, must stop the start

    @property
    def moves(self) -> bool:
        """Whether another server may become the master."""
        return self._topology.moves

    def __call__(self) -> AnyConnection:
        """Make a connection that is not open yet."""
        kind: type[Any] = (MOVING if self.moves else FIXED_PLACE)[self._kind]
        try:
            connection: AnyConnection = kind(**self._options)
        except (TypeError, RedisError):
            raise SettingsInvalid("REDIS_URL has an unknown option") from None

        self._secure(connection)
        if isinstance(connection, Greets):
            connection.greet = self.greet
        if isinstance(connection, Moves):
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
        """Set the certificates. Reading a system's takes 30 ms of CPU, and a fail-over opens many connections."""
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
    """Make one connection that is not open yet. SettingsInvalid: see `Connector`."""
    return Connector(settings)()


def watch_s(connection: AnyConnection) -> float | None:
    """Seconds of silence after which this connection must be checked; None: its user decides."""
    return WATCH_S if isinstance(connection, Moves) else None


def error_code(error: ResponseError | str) -> str:
    """The first word of a server's error, such as NOGROUP or OOM; redis-py takes it off those that it knows."""
    if isinstance(error, ResponseError) and error.status_code:
        return error.status_code
    words = str(error).split(maxsplit=1)
    return words[0].rstrip(":") if words else ""
