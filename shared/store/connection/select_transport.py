"""Selection of a service's transport to Redis, made here alone, once, at the start.

A URL that was set is taken as it is. One that was derived from the REST pair is tried first, because whether the REST
token is also the password depends on the database.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.settings import StoreSettings
from shared.store.connection import error_advice
from shared.store.connection.connector import CONNECT_TIMEOUT_S, RedisSettings, new_connection

COPY_THE_URL: Final = "copy the Redis URL (rediss://…) from the console into REDIS_URL"
_PROBED: Final = ("redis", "rediss")
_log: Final = structlog.get_logger(__name__)


class Probe(Enum):
    """Result of one attempt to connect."""

    WORKS = "works"
    REFUSED = "refused the password"
    LOCKED = "needs a password, and the URL has none"
    OPEN = "has no password: take it out of the URL"
    NO_DATABASE = "has no database of that number"
    AWAY = "cannot be reached"


_OF_SETTING: Final = {
    error_advice.WORDS["WRONGPASS"]: Probe.REFUSED,
    error_advice.WORDS["NOAUTH"]: Probe.LOCKED,
    error_advice.OPEN: Probe.OPEN,
    error_advice.NO_DATABASE: Probe.NO_DATABASE,
}
"""Faults that only another setting can mend: they stop the start."""


async def probe_tcp(url: str) -> Probe:
    """Connect once over TCP, as every connection does, with AUTH where the URL holds a password."""
    connection = new_connection(RedisSettings(url=url, client_name="presswork-probe"))
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
            await connection.send_command("PING")
            await connection.read_response()
    except (AuthenticationError, ResponseError) as error:
        # After any other error the server is there: `preflight/checks.py` names faults that can be mended, and waits.
        return _OF_SETTING.get(error_advice.words(error) or "", Probe.WORKS)
    except (RedisError, OSError, TimeoutError):
        return Probe.AWAY
    finally:
        await connection.disconnect(nowait=True)
    return Probe.WORKS


async def _rest_works(settings: StoreSettings) -> bool:
    from shared.store.connection.rest import RestTransport  # noqa: PLC0415 - only REST needs its HTTP client

    if settings.rest is None:
        return False
    transport = RestTransport(settings.rest, timeout=settings.timeout_seconds)
    try:
        await transport.execute("PING")
    except (StoreUnavailable, ResponseError):
        return False
    finally:
        await transport.aclose()
    return True


async def select(settings: StoreSettings, *, may_use_rest: bool) -> StoreSettings:
    """The settings with `redis_transport` decided: tcp or rest.

    SettingsInvalid with one line when there is no way: REST for a service that needs blocking reads, a password that is
    refused, a derived URL that leads nowhere. A Redis that is away for now does not keep a service from starting when
    its URL was set by hand.
    """
    if settings.redis_transport == "rest":
        _check_rest(settings, may_use_rest=may_use_rest)
        return settings

    found = await _probe(settings.redis_url)
    if found is Probe.WORKS or (found is Probe.AWAY and not settings.redis_url_derived):
        return msgspec.structs.replace(settings, redis_transport="tcp")
    if not settings.redis_url_derived:
        raise SettingsInvalid(f"REDIS_URL: the server {found.value}{_hint(settings.redis_url, found)}")
    if not may_use_rest or settings.redis_transport == "tcp":
        raise SettingsInvalid(f"Redis {found.value} over TCP with the REST token: {COPY_THE_URL}")
    if not await _rest_works(settings):
        raise SettingsInvalid(f"Redis {found.value} over TCP and does not answer over REST: check the REST pair")

    _log.warning("redis_over_rest", tcp=found.value, hint=COPY_THE_URL)
    return msgspec.structs.replace(settings, redis_transport="rest")


def _check_rest(settings: StoreSettings, *, may_use_rest: bool) -> None:
    if settings.rest is None:
        raise SettingsInvalid("REDIS_TRANSPORT is rest, but UPSTASH_REDIS_REST_URL and its token are not set")
    if not may_use_rest:
        raise SettingsInvalid(f"REDIS_TRANSPORT is rest, but this service needs blocking reads: {COPY_THE_URL}")


def _hint(url: str, found: Probe) -> str:
    """A password with a % in it is read as an encoded one."""
    user = url.partition("://")[2].rpartition("@")[0]
    return " (is a % in it percent-encoded, as %25?)" if found is Probe.REFUSED and "%" in user else ""


async def _probe(url: str) -> Probe:
    # A Unix socket is this machine's own; clusters and sentinels are asked by the client that knows them.
    return await probe_tcp(url) if urlsplit(url).scheme in _PROBED else Probe.WORKS
