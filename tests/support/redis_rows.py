"""Rights and settings that a Redis user or server may lack: how a test takes each away, and the words that must name
it. One row of docs/redis-requirements.md each."""

from __future__ import annotations

from typing import Final, NamedTuple

from shared.store.preflight.requirements import Role

EVERY: Final = tuple(Role)
WRITERS: Final = (Role.GATEWAY, Role.WORKER)


class UserRow(NamedTuple):
    """A user who has all but `rules`; `said` names it, for `roles`."""

    lacks: str
    rules: tuple[str, ...]
    said: str
    roles: tuple[Role, ...] = EVERY


class ServerRow(NamedTuple):
    """A server whose setting `name` is `value`."""

    what: str
    name: str
    value: str
    said: str


USERS: Final = (
    UserRow("channels: the default of new users since Redis 7", ("resetchannels",), "may not use the channels pw:{0}:"),
    UserRow("keys: another pattern", ("resetkeys", "~other:*"), "may not use the keys pw:{0}:"),
    UserRow("writing: keys are read only", ("resetkeys", "%R~pw:{0}:*"), "may not use the keys pw:{0}:", WRITERS),
    UserRow("`EVAL`", ("-eval",), "may not run EVAL", WRITERS),
    UserRow("`EVALSHA`", ("-evalsha",), "may not run EVALSHA", WRITERS),
    UserRow("`SCRIPT LOAD`", ("-script|load",), "may not run SCRIPT LOAD", WRITERS),
    UserRow("all scripting", ("-@scripting",), "may not run EVAL, SCRIPT LOAD, EVALSHA", WRITERS),
    UserRow("`CLIENT`", ("-client",), "may not run CLIENT SETNAME"),
    UserRow("`INFO`", ("-info",), "may not run INFO"),
    UserRow("`SUBSCRIBE`", ("-subscribe",), "may not run SUBSCRIBE"),
    UserRow("`PUBLISH`", ("-publish",), "may not run PUBLISH", WRITERS),
    UserRow("blocking commands", ("-@blocking",), "BZPOPMIN", (Role.WORKER,)),
    UserRow("streams", ("-@stream",), "XRANGE"),
)

SERVERS: Final = (
    ServerRow("evicts any key", "maxmemory-policy", "allkeys-lru", "(maxmemory-policy allkeys-lru): set noeviction"),
    ServerRow("evicts keys with a TTL: results", "maxmemory-policy", "volatile-ttl", "(maxmemory-policy volatile-ttl)"),
    ServerRow("is a replica", "replicaof", "127.0.0.1 1", "read-only replica: REDIS_URL must name the master"),
)

REFUSALS: Final = {
    "MISCONF": "the server cannot save its data and refuses writes",
    "OOM": "the server is out of memory",
    "NOREPLICAS": "the master has fewer replicas than its min-replicas-to-write",
    "READONLY": "this server is a read-only replica",
    "max number of clients reached": "the server has as many clients as its maxclients allows",
}
"""Later refusals of a suitable server, and the line that reports each."""
