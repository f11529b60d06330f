"""Shortcomings of a Redis, as text: those of its own report, and those of calls that it refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from redis.exceptions import RedisError

from shared.store.connection import error_advice
from shared.store.keys import Keys
from shared.store.preflight import requirements
from shared.store.preflight.requirements import PROBED, Call

OLDEST: Final = (7, 0)
"""First release of Redis with everything that scripts need. Other servers name the one they are compatible with."""


class Refused:
    """Refused calls among those that were tried."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._commands: dict[str, None] = {}
        self._unknown: dict[str, None] = {}
        self._of_keys: dict[str, None] = {}
        self._of_channels: dict[str, None] = {}

    def add(self, call: Call, error: RedisError | str) -> bool:
        """Note one reply, if it is about permission or an unknown command; return whether it is."""
        name = _name(call)
        _, refused, named = (error_advice.words(error) or "").rpartition("may not run ")
        if error_advice.is_unknown(error):
            self._unknown[name] = None
        elif not error_advice.is_permission(error):
            return False
        elif refused:  # before the others: HKEYS has the word key in its name
            self._commands[named] = None
        elif "channel" in str(error):
            self._of_channels[_pattern(str(call[1]))] = None
        elif "key" in str(error):
            self._of_keys[_pattern(next((str(part) for part in call[1:] if self._is_key(part)), str(call[1])))] = None
        else:
            self._commands[name] = None
        return True

    def _is_key(self, part: Any) -> bool:
        return str(part).startswith(self._keys.pattern[:-1])

    def _all(self) -> tuple[dict[str, None], ...]:
        return self._commands, self._unknown, self._of_keys, self._of_channels

    def _shorten(self, names: dict[str, None]) -> None:
        if len(names) > 3:
            names.clear()
            names[self._keys.pattern] = None

    @property
    def lines(self) -> list[str]:
        """Everything missing, by name."""
        beginnings = (
            "the Redis user may not run ", "the server does not have ", "the Redis user may not use the keys ",
            "the Redis user may not use the channels ",
        )  # fmt: skip
        self._shorten(self._of_keys)
        return [start + ", ".join(found) for start, found in zip(beginnings, self._all(), strict=True) if found]


def _name(call: Call) -> str:
    two = " ".join(str(part) for part in call[:2])
    return two if two in requirements.PROBES or two in requirements.SCRIPTING else str(call[0])


def _pattern(name: str) -> str:
    return name.removesuffix(PROBED) + "*" if name.endswith(f":{PROBED}") else name


def _release(fields: Mapping[str, str]) -> tuple[int, int] | None:
    """The release of Redis that a server reports; None where that says nothing."""
    numbers = fields.get("redis_version", "").split(".")[:2]
    if len(numbers) != 2 or not all(map(str.isdigit, numbers)) or "upstash_version" in fields:
        return None
    return int(numbers[0]), int(numbers[1])


def server_faults(info: str, *, moves: bool) -> list[str]:
    """Faults that a server's own report (INFO) shows; a hosted one may report little. `moves`: REDIS_URL says that it
    is one of a cluster's nodes or watched by sentinels."""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    found = []
    release = _release(fields)
    if release is not None and release < OLDEST:
        found.append("the server is too old (Redis {}.{}): 7.0 or newer is needed, or Valkey".format(*release))
    if fields.get("role") == "slave":
        found.append(error_advice.WORDS["READONLY"])
    if fields.get("cluster_enabled") == "1" and not moves:
        found.append(error_advice.WORDS["MOVED"])
    policy = fields.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(f"the server may throw jobs and results away (maxmemory-policy {policy}): set noeviction")
    return found
