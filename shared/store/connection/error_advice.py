"""Advice on refusals of the server: their meaning and how an operator mends them, one line each, without user, URL or
password."""

from __future__ import annotations

import re
from typing import Final

from redis.exceptions import RedisError

OPEN: Final = "the server has no password: take it out of REDIS_URL"
NO_DATABASE: Final = "the server has no database of that number"
MORE: Final = "docs/redis-requirements.md"
"""The page on the rights of a Redis user, and on servers and plans."""

WORDS: Final = {
    "WRONGPASS": "user or password are refused",
    "NOAUTH": "the server needs a password: add it to REDIS_URL",
    "NOPERM": "the Redis user lacks a permission",
    "READONLY": "this server is a read-only replica: REDIS_URL must name the master",
    "MISCONF": "the server cannot save its data and refuses writes: see its log and its disk",
    "OOM": "the server is out of memory: raise its maxmemory, or keep results for less time (RESULT_TTL_SECONDS)",
    "LOADING": "the server is still loading its data",
    "MASTERDOWN": "this server is a replica that lost its master: REDIS_URL must name the master",
    "CLUSTERDOWN": "the cluster does not serve all slots: see CLUSTER INFO on its nodes",
    "NOREPLICAS": "the master has fewer replicas than its min-replicas-to-write: bring them back, or lower it",
    "MOVED": "this server is a node of a cluster: REDIS_URL must begin with redis+cluster:// or rediss+cluster://",
    "DENIED": "the server is in protected mode: give it a password, or let it listen elsewhere",
    "BUSY": "the server is busy with a script of another client",
}
"""Advice by the code at the beginning of the refusal."""

_TEXTS: Final = {
    "max number of clients reached": "the server has as many clients as its maxclients allows: raise it, or end some",
    "without any password configured": OPEN,
    "no password is set": OPEN,
    "db index is out of range": NO_DATABASE,
    "invalid db index": NO_DATABASE,
    "select is not allowed in cluster mode": WORDS["MOVED"],
    "running in protected mode": WORDS["DENIED"],
}
"""Advice by a part of a refusal that has no code of its own."""

_IN_SCRIPT: Final = ("acl failure in script", "the user executing the script can't")
_UNKNOWN: Final = ("unknown command", "unknown redis command", "unknown subcommand")
_NAMED: Final = re.compile(r"to run the '([a-z|]{2,40})' command")


def words(error: RedisError | str) -> str | None:
    """The advice on a refusal; None for an unknown one."""
    text = str(error).lower()
    found = next((line for part, line in _TEXTS.items() if part in text), None)
    if found is not None:
        return found
    if is_permission(error):
        if named := _NAMED.search(text):
            return f"the Redis user may not run {upper(named.group(1))}"
        return WORDS["NOPERM"]
    return WORDS.get(code(error))


def code(error: RedisError | str) -> str:
    """The refusal's code, such as MISCONF; a server puts it first, redis-py takes it off those that it knows."""
    if isinstance(error, RedisError) and getattr(error, "status_code", None):
        return str(error.status_code)
    first = str(error).split(maxsplit=1)
    return first[0].rstrip(":") if first else ""


def is_permission(error: RedisError | str) -> bool:
    """Whether the Redis user lacks a permission: for a command, or for one inside a script, whose error has no code."""
    return code(error) == "NOPERM" or any(part in str(error).lower() for part in _IN_SCRIPT)


def is_unknown(error: RedisError | str) -> bool:
    """Whether the server does not have the command."""
    return any(part in str(error).lower() for part in _UNKNOWN)


def upper(command: str) -> str:
    """A command's name as documentation writes it: `script|load` is SCRIPT LOAD."""
    return command.upper().replace("|", " ")
