"""Needs of each service: commands, keys and channels of its Redis. Pure.

The commands inside scripts are read from the scripts, so that none can be forgotten here; `PROBES` has a harmless form
of each. An ACL checks a command's name, keys and channels before anything else, so a form that the server answers with
an error of syntax or of type has still passed it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from shared.store.engine import scripts
from shared.store.keys import FIXED, GROUP, PREFIXES, Keys

Value = str | int
Call = tuple[Value, ...]


class Role(enum.Enum):
    """A service as a user of Redis."""

    GATEWAY = "gateway"
    WORKER = "worker"
    NOTIFIER = "notifier"

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self is not Role.NOTIFIER


SCRIPTS: Final = {
    Role.GATEWAY: (
        "failover", "submit", "cancel", "delete", "stats", "oldest", "durations", "list", "usage", "organization",
        "waiting", "throttled", "pause", "limit_gate", "workers", "order_worker", "change_organization", "block_user",
        "create_key", "revoke_key", "note_key_use", "note_refusals", "create_task", "vet",
    ),
    Role.WORKER: (
        "failover", "claim", "renew", "append", "finish", "requeue", "reroute", "report", "recover", "promote",
        "audit_entries", "audit_organizations", "audit_records", "audit_budgets", "count_entries",
        "count_throttled", "count_reserved", "correct_counts", "watch_budgets", "oldest", "leave",
        "vet", "submit", "discard", "take_task", "advance_task", "cancel", "delete", "erase_keys", "erase_organization",
        "note_calls",
    ),
    Role.NOTIFIER: (),
}  # fmt: skip
"""Scripts that each service calls. Names of the lists that a release does not have are skipped."""

_READS: Final = ("HMGET", "HGETALL", "XRANGE", "XREVRANGE", "XLEN")
DIRECT: Final = {
    Role.GATEWAY: (*_READS, "TIME", "HSCAN", "LLEN", "LPOS", "LRANGE", "MGET", "XGROUP CREATE", "XINFO STREAM", "SET",
        "SMEMBERS", "ZRANGE", "ZRANGEBYSCORE",
    ),
    Role.WORKER: (
        *_READS, "TIME", "XREAD", "EXISTS", "ZRANGE", "GET", "SET", "SCAN", "HSCAN", "ZADD", "ZSCORE", "PEXPIRE",
        "XGROUP CREATE",
    ),
    Role.NOTIFIER: (*_READS, "GET"),
}  # fmt: skip
"""Commands that each service sends outside of scripts, and that can be tried inside of one."""

CONNECTION: Final = ("CLIENT SETNAME", "INFO", "PING", "SUBSCRIBE", "UNSUBSCRIBE")
SCRIPTING: Final = ("EVAL", "EVALSHA", "SCRIPT LOAD")
BLOCKING: Final = {Role.WORKER: ("BZPOPMIN",)}
"""Commands that no script may call: tried on a connection of their own."""

SUBSCRIBES: Final = {
    Role.GATEWAY: ("job_channel", "key_channel"),
    Role.WORKER: ("control",),
    Role.NOTIFIER: ("job_channel", "organization_channel", "key_channel"),
}
PUBLISHES: Final = {
    Role.GATEWAY: ("job_channel", "organization_channel", "control", "key_channel"),
    Role.WORKER: ("job_channel", "organization_channel"),
    Role.NOTIFIER: (),
}
"""Channels by the part before the id: those that each service subscribes to, and those that it publishes to."""

READ: Final = ("job", "log", "org", "key", "settings")
"""Kinds of keys that a service without writes reads."""

READ_FIXED: Final = ("ticket_secrets",)
"""Single keys that it reads."""

PROBED: Final = "vet"
"""Last part of the names that are tried. No key has it."""

_K: Final = "\0key"
PROBES: Final[dict[str, Call]] = {
    "DEL": (_K,), "UNLINK": (_K,), "EXISTS": (_K,), "GET": (_K,), "GETDEL": (_K,), "MGET": (_K,), "SET": (_K, "", "XX"),
    "INCR": (_K, "", ""), "INCRBY": (_K, "x"), "EXPIRE": (_K, 1), "PEXPIRE": (_K, 1), "PEXPIREAT": (_K, 1),
    "PERSIST": (_K,), "PTTL": (_K,),
    "TTL": (_K,), "TYPE": (_K,), "HDEL": (_K, "x"), "HEXISTS": (_K, "x"), "HGET": (_K, "x"), "HGETALL": (_K,),
    "HINCRBY": (_K, "x", "x"), "HINCRBYFLOAT": (_K, "x", "x"), "HKEYS": (_K,), "HLEN": (_K,), "HMGET": (_K, "x"),
    "HSCAN": (_K, 0), "HSET": (_K, "x", "x", "x"), "HSTRLEN": (_K, "x"), "HVALS": (_K,), "LINDEX": (_K, 0),
    "LLEN": (_K,), "LPOP": (_K,), "LPOS": (_K, "x"), "LRANGE": (_K, 0, 0), "LREM": (_K, 0, "x"), "LTRIM": (_K, 0, -1),
    "RPOP": (_K,), "SCARD": (_K,), "SISMEMBER": (_K, "x"), "SMEMBERS": (_K,), "SPOP": (_K,), "SREM": (_K, "x"),
    "XACK": (_K, GROUP, "0-0"), "XADD": (_K, "NOMKSTREAM", "*", "x", "x"), "XAUTOCLAIM": (_K, GROUP, "x", 0, "0-0"),
    "XCLAIM": (_K, GROUP, "x", 0, "0-0", "JUSTID"), "XDEL": (_K, "0-0"), "XGROUP CREATE": (_K, GROUP, "0"),
    "XGROUP DELCONSUMER": (_K, GROUP, "x"), "XGROUP CREATECONSUMER": (_K, GROUP, "x"), "XINFO CONSUMERS": (_K, GROUP),
    "XINFO GROUPS": (_K,), "XINFO STREAM": (_K,), "XLEN": (_K,), "XPENDING": (_K, GROUP),
    "XRANGE": (_K, "-", "+", "COUNT", 1), "XREAD": ("COUNT", 1, "STREAMS", _K, "0"),
    "XREADGROUP": ("GROUP", GROUP, "x", "COUNT", 1, "STREAMS", _K, ">"), "XREVRANGE": (_K, "+", "-", "COUNT", 1),
    "XTRIM": (_K, "MAXLEN", 0), "ZADD": (_K, "XX", 0, "x"), "ZCARD": (_K,), "ZCOUNT": (_K, 0, 0),
    "ZINCRBY": (_K, "x", "x"), "ZMSCORE": (_K, "x"), "ZPOPMAX": (_K,), "ZPOPMIN": (_K,), "ZRANGE": (_K, 0, 0),
    "ZRANGEBYSCORE": (_K, 0, 0), "ZRANK": (_K, "x"), "ZREM": (_K, "x"), "ZREMRANGEBYRANK": (_K, 0, 0),
    "ZREMRANGEBYSCORE": (_K, 0, 0), "ZREVRANGE": (_K, 0, 0), "ZREVRANGEBYSCORE": (_K, 0, 0), "ZSCAN": (_K, 0),
    "ZSCORE": (_K, "x"), "SCAN": (0, "MATCH", _K, "COUNT", 1), "TIME": (), "PUBLISH": ("\0channel", ""),
    # These create a key where there was none: a value that cannot be added to, or one that the next command removes.
    "HSETNX": (_K, "x", ""), "RPUSH": (_K, ""), "LPUSH": (_K, ""), "SADD": (_K, ""),
}  # fmt: skip
_UNDONE: Final = {"HSETNX": ("HDEL", "x"), "RPUSH": ("LPOP",), "LPUSH": ("LPOP",), "SADD": ("SREM", "")}
"""Commands that undo a probe at once, in the same script."""

_CONTAINERS: Final = re.compile(r"'(XGROUP|XINFO|OBJECT)', '([A-Z]+)'")
_WORD: Final = re.compile(r"'([A-Z]{2,})'")


@lru_cache(maxsize=64)
def in_script(name: str) -> frozenset[str]:
    """The commands that a script's text, fragments included, may call; () when there is no such script."""
    try:
        source = scripts.load(name).source
    except FileNotFoundError:
        return frozenset()
    pairs = {f"{first} {second}" for first, second in _CONTAINERS.findall(source)}
    return frozenset(pairs | set(_WORD.findall(source)).intersection(PROBES))


def tried(role: Role) -> list[str]:
    """The commands of a role that can be tried inside a script, and need to be, in alphabetical order."""
    inside = set[str]().union(*(in_script(name) for name in SCRIPTS[role]))
    undoing = {_UNDONE[command][0] for command in inside if command in _UNDONE}
    return sorted(inside | undoing | set(DIRECT[role]))


def commands(role: Role, *, frugal: bool = False) -> list[str]:
    """Every command a role needs, in alphabetical order."""
    found = {*tried(role), *CONNECTION, *(SCRIPTING if role.writes else ()), *BLOCKING.get(role, ())}
    return sorted(found | ({"PSUBSCRIBE"} if frugal and "job_channel" in SUBSCRIBES[role] else set()))


def acl(role: Role, keys: Keys, *, frugal: bool = False) -> list[str]:
    """The rules of the smallest Redis user of a role, to follow `ACL SETUSER <name> on ><password>`."""
    allowed = (
        [f"~{keys.pattern}"]
        if role.writes
        else [*(f"%R~{keys.prefix(name)}*" for name in READ), *(f"%R~{keys.fixed(name)}" for name in READ_FIXED)]
    )
    channels = dict.fromkeys((*SUBSCRIBES[role], *PUBLISHES[role]))
    rules = [f"+{command.lower().replace(' ', '|')}" for command in commands(role, frugal=frugal)]
    return ["resetchannels", "-@all", *allowed, *(f"&{keys.prefix(name)}*" for name in channels), *rules]


def probes(role: Role, keys: Keys) -> list[Call]:
    """Calls to try inside a script: each command once, each kind of key, each channel it publishes to."""
    key = keys.probe if role.writes else keys.prefix(READ[0]) + PROBED
    channel = keys.prefix("job_channel") + PROBED
    found: list[Call] = []
    for command in tried(role):
        found.append(_call(command, PROBES[command], key, channel))
        if command in _UNDONE:
            found.append(_call(_UNDONE[command][0], (_K, *_UNDONE[command][1:]), key, channel))

    names = [*map(keys.fixed, FIXED), *(keys.prefix(name) + PROBED for name in PREFIXES)]
    if role.writes:
        # With GT: a TTL greater than the present one, or than none. It never is, and yet the command is a write.
        found += [("PEXPIRE", name, 1, "GT") for name in names]
    else:
        names = [*(keys.prefix(name) + PROBED for name in READ), *map(keys.fixed, READ_FIXED)]

    found += [("PING",), *(("HMGET", name, "x") for name in names)]
    return found + [("PUBLISH", keys.prefix(name) + PROBED, "") for name in PUBLISHES[role]]


def few_probes(role: Role, keys: Keys) -> list[Call]:
    """The most important calls, where every command is billed: may it read, or else write and publish."""
    if not role.writes:
        return [("HMGET", keys.prefix(READ[0]) + PROBED, "x")]
    return [("PEXPIRE", keys.fixed("wake"), 1, "GT"), ("PUBLISH", keys.prefix("job_channel") + PROBED, "")]


def _call(command: str, arguments: Sequence[Value], key: str, channel: str) -> Call:
    named = {_K: key, "\0channel": channel}
    return (*command.split(), *(named.get(str(value), value) for value in arguments))
