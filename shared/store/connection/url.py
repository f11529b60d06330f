"""The servers that REDIS_URL names: one address, or nodes that know the present master. Pure."""

from __future__ import annotations

import binascii
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec
from redis.asyncio.connection import parse_url

from shared.errors import SettingsInvalid
from shared.store.connection import url_errors

SLOTS: Final = 16_384
DEFAULT_PORT: Final = 6379
DEFAULT_SENTINEL_PORT: Final = 26_379

_FORMS: Final = "a redis://, rediss://, unix://, redis+cluster:// or redis+sentinel:// URL"


class Address(NamedTuple):
    """Address of one server."""

    host: str
    port: int


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """The way to the master. `options` are those of redis-py's connection to it, credentials and TLS among them.

    `seeds`: the nodes or sentinels that are asked for its address; none for a single server. `master_name` is the name
    under which the sentinels know it.
    """

    kind: Literal["single", "cluster", "sentinel"]
    options: dict[str, Any]
    seeds: tuple[Address, ...] = ()
    master_name: str = ""

    def __repr__(self) -> str:
        return f"Topology({self.kind})"  # the options hold a password

    @property
    def moves(self) -> bool:
        """Whether another server may become the master."""
        return self.kind != "single"


def parse(url: str) -> Topology:
    """Read REDIS_URL: `redis[s]://`, `unix://`, `redis[s]+cluster://host:port,…`, or
    `redis[s]+sentinel://host:port,…/<master name>[/<db>]`, each with `[user:password@]` and redis-py's query options.

    SettingsInvalid with one line that never repeats the text: it may hold a password.
    """
    url_errors.check(url)
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.lower().partition("+")
    try:
        if base in ("redis", "rediss") and kind == "cluster":
            return _cluster(base, rest)
        if base in ("redis", "rediss") and kind == "sentinel":
            return _sentinel(base, rest)
        return Topology(kind="single", options=dict(parse_url(url)))
    except ValueError:
        raise SettingsInvalid(f"REDIS_URL is not {_FORMS}") from None


def slot(tag: str) -> int:
    """The hash slot of a key or of its hash tag's content (Redis Cluster specification, "Key distribution model")."""
    return binascii.crc_hqx(tag.encode(), 0) % SLOTS


def _cluster(base: str, rest: str) -> Topology:
    user, hosts, path, query = _split(rest)
    options = _options(base, user, "", query)
    if path or options.pop("db", 0):
        raise SettingsInvalid("REDIS_URL: a cluster has no database numbers and no path")
    return Topology(kind="cluster", options=options, seeds=_addresses(hosts, DEFAULT_PORT))


def _sentinel(base: str, rest: str) -> Topology:
    user, hosts, path, query = _split(rest)
    name, _, database = path.partition("/")
    if not name:
        raise SettingsInvalid("REDIS_URL: redis+sentinel://host:port,…/<master name> lacks the name of the master")
    if database and not database.isdigit():
        raise SettingsInvalid("REDIS_URL: the part after the name of the master is not a database number")
    options = _options(base, user, database, query)
    return Topology(kind="sentinel", options=options, seeds=_addresses(hosts, DEFAULT_SENTINEL_PORT), master_name=name)


def _split(rest: str) -> tuple[str, str, str, str]:
    """User and password, hosts, path without its slash, query."""
    rest, _, query = rest.partition("?")
    netloc, _, path = rest.partition("/")
    user, _, hosts = netloc.rpartition("@")
    return user, hosts, path, query


def _options(base: str, user: str, database: str, query: str) -> dict[str, Any]:
    # redis-py reads the user, the password and the options; the host it gets here is replaced at every connection.
    text = f"{base}://{user + '@' if user else ''}master/{database}"
    pairs = parse_qsl(query, strict_parsing=bool(query))
    return dict(parse_url(f"{text}?{urlencode(pairs)}" if pairs else text))


def _addresses(hosts: str, default_port: int) -> tuple[Address, ...]:
    found = []
    for text in hosts.split(","):
        host, colon, port = text.strip().rpartition(":")
        if not colon or port.endswith("]"):
            host, port = text.strip(), str(default_port)
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdigit() or not 0 < int(port) < 65_536:
            raise SettingsInvalid("REDIS_URL: the servers are host:port entries, separated by commas")
        found.append(Address(host, int(port)))
    return tuple(found)
