"""The one builder of Redis connections, with defaults that never repeat a write.

redis-py's own defaults retry on time-outs and connection errors: one XADD through a slow link wrote 11 entries. Here a
call is sent once; who wants it again repeats a transition that is safe to repeat.
"""

from __future__ import annotations

import socket
from typing import Any, Final

import msgspec
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from shared.errors import SettingsInvalid

CONNECT_TIMEOUT_S: Final = 1.5
AnyConnection = Connection | SSLConnection | UnixDomainSocketConnection


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Redis is: `redis://`, `rediss://` or `unix://`. `client_name` shows in CLIENT LIST."""

    url: str
    client_name: str = "presswork"


def _keepalive() -> dict[int, int]:
    """TCP keepalive after 30 s of silence: finds half-open connections without a PING that a host would bill."""
    wanted = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


def new_connection(settings: RedisSettings) -> AnyConnection:
    """A connection that is not open yet: RESP2, bytes, no retry, no health check, no read time-out of its own.

    Every caller bounds its waits itself; a block on the server can then never outlive a hidden time-out.
    SettingsInvalid when the URL cannot be read (its text is never repeated: it may hold a password).
    """
    try:
        options: dict[str, Any] = dict(parse_url(settings.url))
    except ValueError as error:
        raise SettingsInvalid("REDIS_URL is not a redis://, rediss:// or unix:// URL") from error
    kind = options.pop("connection_class", Connection)
    if not issubclass(kind, UnixDomainSocketConnection):
        options |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive()}
    options |= {
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "client_name": settings.client_name,
        "driver_info": None,
    }
    connection: AnyConnection = kind(**options)
    return connection


def error_code(error: ResponseError | str) -> str:
    """The first word of a server's error, such as NOGROUP or OOM."""
    words = str(error).split(maxsplit=1)
    return words[0].rstrip(":") if words else ""
