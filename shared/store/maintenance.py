"""What keeps the queue going beside the jobs: lost leases, due times, damage. Any worker does it, without a leader."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Final

from shared.settings import StoreSettings
from shared.store.engine.script_calls import ScriptCalls
from shared.store.keys import QUEUES, Keys
from shared.store.reading.commands import Reads
from shared.store.results import Audited, Promoted, Recovered, TimedWork
from shared.store.routing import Routing

AUDIT_SLACK_S: Final = 100.0

AUDIT_PAGE: Final = 256
"""Entries that one call checks."""

BATCH: Final = 64
"""Jobs that one call takes back, or makes claimable, at most."""


class ServerClock:
    """What this process holds for the server's time."""

    def __init__(self) -> None:
        self._heard = (0, 0.0)

    def note(self, server_ms: bytes) -> int:
        """An answer named the time; it, in ms since the epoch."""
        self._heard = (int(server_ms), time.monotonic())
        return int(server_ms)

    @property
    def believed_ms(self) -> int:
        """The last answer's time, and what went by here since."""
        server_ms, heard_at = self._heard
        return server_ms + round((time.monotonic() - heard_at) * 1000)


class Maintenance:
    """Of one store; every method may raise StoreUnavailable."""

    def __init__(
        self, calls: ScriptCalls, reads: Reads, keys: Keys, settings: StoreSettings, clock: ServerClock
    ) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys
        self._settings = settings
        self._clock = clock
        self._polls = 0
        self._cursor = ""
        self._stale_at: float | None = None

    async def attribution_secret(self) -> str:
        """The key of the identifiers that vendors are told of end users: the first worker that asks makes it."""
        key = self._keys.fixed("attribution")
        await self._reads.execute("SET", key, secrets.token_hex(32), "NX")
        return str((await self._reads.execute("GET", key)).decode())

    def reprice(self, routing: Routing) -> None:
        """What jobs cost that end without a worker follows these prices from now on; the rest of `routing` stays."""
        self._calls.reprice(routing)

    async def recover(self, consumer: str, held: Sequence[str]) -> Recovered:
        """Requeue what was not renewed for a lease, except what this worker itself holds; one worker does it for all.

        Takes nothing when the server's clock is not where earlier answers put it (within 1 s): this call may have
        waited out a stall in which nobody could renew (I6). The first call of a process only learns the time. Every
        call includes a write: it is refused when a renewal is.
        """
        reply = await self._calls.run(
            "recover", [(token,) for token in held], consumer=consumer, believed_ms=self._clock.believed_ms,
            batch=BATCH, cursor=self._cursor,
        )  # fmt: skip
        requeued, failed, next_ms, pending = (int(part) for part in reply[:4])
        now_ms = self._clock.note(reply[4])
        unfinished, isolated = bool(reply[5]), int(reply[6])
        self._cursor = reply[7].decode()
        return Recovered(
            requeued, failed, self._next_ms(next_ms), pending, now_ms,
            unfinished=unfinished, isolated=None if isolated < 0 else isolated,
        )  # fmt: skip

    def _next_ms(self, found_ms: int) -> int | None:
        """When to call again, over all calls since the last that began anew: 0 while there is more to do now."""
        now = time.monotonic()
        if found_ms >= 0:
            at = now + found_ms / 1000
            self._stale_at = at if self._stale_at is None else min(self._stale_at, at)
        if self._cursor:
            return 0
        stale_at, self._stale_at = self._stale_at, None
        return None if stale_at is None else max(round((stale_at - now) * 1000), 0)

    async def promote(self, limit: int = BATCH, *, heads: bool = False) -> Promoted:
        """Make due jobs claimable and end overdue ones. `heads`: also new ones with the default deadline."""
        promoted, *waits = await self._calls.run("promote", limit=limit, heads=int(heads))
        return Promoted(promoted, *(None if wait < 0 else wait for wait in waits))

    async def timed_work(self) -> TimedWork:
        """What a worker without a free slot must know, by two cheap reads: it hears of no new job otherwise."""
        first, throttled = await asyncio.gather(
            self._reads.execute("ZRANGE", self._keys.fixed("deadlines"), 0, 0, "WITHSCORES"),
            self._reads.execute("EXISTS", self._keys.fixed("throttled_deadlines")),
        )
        overdue_ms = max(int(first[1]) - self._clock.believed_ms, 0) if first else None
        return TimedWork(overdue_ms, bool(throttled))

    async def unfinished(self) -> bool:
        """One cheap read: is there any unfinished job. Streams hold nothing else; delayed sets are asked every other
        time, because a due time nearer than a lease has rung somebody already; hourly where any due time has."""
        self._polls += 1
        streams = self._keys.streams
        found = await self._reads.execute("XREAD", "COUNT", 1, "STREAMS", *streams, *["0"] * len(streams))
        if not found and self._polls % (12 if self._settings.frugal else 2) == 0:
            return bool(await self._reads.execute("EXISTS", *self._keys.due, self._keys.fixed("throttled_deadlines")))
        return bool(found)

    async def audit(self, consumer: str) -> Audited:
        """Repair what no script could have left: entries pending with nobody, live records that no entry names.

        Goes through all entries and records, so it takes a tenth of the time at most and leaves the rest to the jobs.
        """
        lock, lock_ms = self._keys.fixed("audit"), round(max(self._settings.audit_seconds - AUDIT_SLACK_S, 1) * 1000)
        if await self._reads.execute("SET", lock, consumer, "NX", "PX", lock_ms) is None:
            return Audited(ran=False, requeued=0, consumers_deleted=0)
        requeued, deleted = await self._audit_entries()
        prefix, cursor = self._keys.prefix("job"), b"0"
        while True:
            began = time.monotonic()
            cursor, found = await self._reads.execute("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", 64)
            if found:
                replies = await self._calls.run("audit_records", [(key.decode()[len(prefix) :],) for key in found])
                requeued += sum(reply for reply in replies if isinstance(reply, int))
            if cursor == b"0":
                return Audited(ran=True, requeued=requeued, consumers_deleted=deleted)
            await asyncio.sleep(9 * (time.monotonic() - began))

    async def _audit_entries(self) -> tuple[int, int]:
        requeued = deleted = 0
        for queue in QUEUES:
            start = b"-"
            while start:
                began = time.monotonic()
                found = await self._calls.run("audit_entries", queue=queue, start=start, page=AUDIT_PAGE)
                requeued, deleted, start = requeued + found[0], deleted + found[1], found[2]
                await asyncio.sleep(9 * (time.monotonic() - began) if start else 0)
        return requeued, deleted

    async def leave(self, consumer: str) -> None:
        """Remove this worker's consumers from the group, where nothing is pending with them."""
        await self._calls.run("leave", consumer=consumer)
