"""The invariants (I1 to I10 in the README) from the inside: conditions on the keys when all jobs have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.connection.connector import RedisSettings, new_connection
from shared.store.job_store import open_store
from shared.store.keys import FIXED, GROUP, Keys


class RawRedis:
    """One plain connection for reading keys: `await raw("XLEN", key)`."""

    def __init__(self, url: str) -> None:
        self._connection = new_connection(RedisSettings(url=url, client_name="check"))

    async def __call__(self, *command: str | float | bytes) -> Any:
        """Send a command, answer its reply."""
        await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
        await self._connection.send_command(*command)
        async with asyncio.timeout(10):
            return await self._connection.read_response()

    async def __aenter__(self) -> RawRedis:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.disconnect()


async def leaks(url: str, kept: Collection[str] = ()) -> list[str]:
    """Keys left over although every job has ended (I5): [] is right.

    Pending or waiting entries, delayed members, and keys without a TTL that are not among the fixed ones. `kept`: kinds
    of keys that stay.
    """
    keys, found = Keys(), []
    async with RawRedis(url) as raw:
        for stream in keys.streams:
            if await raw("EXISTS", stream):
                pending = (await raw("XPENDING", stream, GROUP))[0]
                length = await raw("XLEN", stream)
                if pending or length:
                    found.append(f"{stream}: {length} entries, {pending} pending")
        for due in keys.due:
            if count := await raw("ZCARD", due):
                found.append(f"{due}: {count} delayed")
        if count := await raw("ZCARD", keys.fixed("throttled_deadlines")):
            found.append(f"{count} throttled")
        fixed, staying = {keys.fixed(name) for name in FIXED}, tuple(keys.prefix(kind) for kind in kept)
        cursor = b"0"
        while True:
            cursor, names = await raw("SCAN", cursor, "COUNT", 500)
            for name in names:
                known = name.decode() in fixed or name.decode().startswith(staying)
                if not known and await raw("PTTL", name) < 0:
                    found.append(f"{name.decode()}: no TTL")
            if cursor == b"0":
                return found


async def counts(url: str) -> dict[str, int]:
    """The jobs in each state by the store's own count, read past every service."""
    async with open_store(StoreSettings(redis_url=url), client_name="check") as store:
        stats = await store.queries.stats()
    return {str(status): getattr(stats, status) for status in JobStatus}


async def unsettled(url: str, outcomes: Mapping[str, int], kept: Collection[str] = ()) -> list[str]:
    """Faults of counts and keys although every job has ended, with these outcomes (I3, I5): [] is right. `kept`: see
    `leaks`."""
    counted = await counts(url)
    expected = dict.fromkeys(counted, 0) | dict(outcomes)
    wrong = [] if counted == expected else [f"stats say {counted}, the jobs say {expected}"]
    return wrong + await leaks(url, kept)
