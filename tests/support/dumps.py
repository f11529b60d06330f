"""Keys of another release, as a file: read from a server of its own time, and written to one of today.

Times in ms stand there as `<+123>`, relative to the moment of the dump, and the day as `<day>`, so that what was young
then is young now.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from shared.store.keys import GROUP
from tests.support.checks import RawRedis

_TIME: Final = re.compile(r"<([+-]\d+)>")
_RANK: Final = 3 * 10**15
"""Of a priority in the score of a throttle set, before the time in thousandths of a ms."""


class Dump:
    """The keys in a file; `jobs`: ids by what they are."""

    def __init__(self, path: Path, now_ms: int) -> None:
        self._now_ms = now_ms
        held = json.loads(path.read_text(encoding="utf-8"))
        self.jobs: dict[str, list[str]] = {kind: [self._now(one) for one in ids] for kind, ids in held["jobs"].items()}
        self._keys: dict[str, dict[str, Any]] = held["keys"]

    async def load(self, raw: RawRedis) -> None:
        """Write all keys to an empty server."""
        for name, held in self._keys.items():
            key = self._now(name)
            await getattr(self, f"_{held['type']}")(raw, key, held["value"])
            if held["ttl"] > 0:
                await raw("PEXPIRE", key, held["ttl"])

    def _now(self, text: str) -> str:
        text = text.replace("<day>", str(self._now_ms // 86_400_000))
        return _TIME.sub(lambda found: str(self._now_ms + int(found[1])), text)

    async def _hash(self, raw: RawRedis, key: str, value: dict[str, str]) -> None:
        await raw("HSET", key, *(self._now(part) for pair in value.items() for part in pair))

    async def _zset(self, raw: RawRedis, key: str, value: dict[str, str]) -> None:
        for member, score in value.items():
            await raw("ZADD", key, self._now(score), self._now(member))

    async def _throttled(self, raw: RawRedis, key: str, value: dict[str, tuple[int, str, int]]) -> None:
        for member, (rank, created, number) in value.items():
            await raw("ZADD", key, rank * _RANK + int(self._now(created)) * 1000 + number, self._now(member))

    async def _list(self, raw: RawRedis, key: str, value: list[str]) -> None:
        await raw("RPUSH", key, *map(self._now, value))

    async def _string(self, raw: RawRedis, key: str, value: str) -> None:
        await raw("SET", key, self._now(value))

    async def _stream(self, raw: RawRedis, key: str, value: dict[str, Any]) -> None:
        if value["group"]:
            await raw("XGROUP", "CREATE", key, GROUP, "0", "MKSTREAM")
        for entry_id, fields in value["entries"]:
            await raw("XADD", key, self._now(entry_id), *map(self._now, fields))
        for entry_id, consumer in value["pending"]:
            ((_, ((found, _),)),) = await raw("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", 1, "STREAMS", key, ">")
            assert found.decode() == self._now(entry_id)
