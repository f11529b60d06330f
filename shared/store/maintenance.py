"""Maintenance of the queue: lost leases, due times, wake-ups that are passed on, damage. Any worker calls it; there is
no leader."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Final

from shared.settings import StoreSettings
from shared.store.audit_trail import TRAIL_LENGTH
from shared.store.count_audit import CountAudit
from shared.store.engine.calls import Reads, ScriptCalls
from shared.store.engine.items import HeldItem, JobItem
from shared.store.keys import OPERATORS, QUEUES, Keys, decode_id
from shared.store.paged_audit import PagedAudit
from shared.store.results import Audited, BudgetReached, Promoted, Recovered, TimedWork, WakeUp
from shared.store.routing import Routing

AUDIT_SLACK_S: Final = 100.0

AUDIT_PAGE: Final = 256
"""Entries that one call checks."""

BATCH: Final = 64
"""Jobs that one call recovers, or makes claimable, at most."""


class Maintenance:
    """Maintenance calls of one store; every method may raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys, settings: StoreSettings, routing: Routing) -> None:
        """`routing`: that of this worker."""
        self._calls = calls
        self._reads = reads
        self._keys = keys
        self._settings = settings
        self._routing = routing
        self._counts = CountAudit(calls, reads, keys)
        self._published: dict[str, str] = {}
        self._polls = 0
        self._cursor = ""
        self._stale_at: float | None = None

    async def attribution_secret(self) -> str:
        """The key of the identifiers of end users for vendors: the first worker that asks makes it."""
        key = self._keys.fixed("attribution")
        await self._reads.execute("SET", key, secrets.token_hex(32), "NX")
        return str((await self._reads.execute("GET", key)).decode())

    def reprice(self, routing: Routing) -> None:
        """Use these prices from now on for budgets and for jobs that end without a worker; the rest stays."""
        self._routing = routing
        self._calls.reprice(routing)

    async def publish_bounds(self) -> None:
        """Publish what calls of this worker's gates cost at most (`bounds.lua`), unless that was done: so gateways can
        refuse what no budget allows."""
        bounds = self._routing.bounds
        if bounds != self._published:
            flat = [part for pair in bounds.items() for part in pair]
            await self._reads.execute("HSET", self._keys.fixed("gate_bounds"), *flat)
            self._published = bounds

    async def watch_budgets(self) -> list[BudgetReached]:
        """Find the budgets of which 80 or 100 % have been spent, each once in its period; the audit trail gets them."""
        rows = await self._calls.run("watch_budgets", trail_length=TRAIL_LENGTH)
        return [
            BudgetReached(
                decode_id(organization.decode()),
                period.decode(),
                percent,
                int(spent),
                int(allowed),
                project.decode() or None,
            )
            for organization, period, percent, spent, allowed, project in rows
        ]

    async def recover(self, consumer: str, held: Sequence[str]) -> Recovered:
        """Requeue jobs that were not renewed for a lease, except those of this worker; one worker does it for all.

        Takes nothing when the server's clock differs from earlier replies by more than 1 s: this call may have waited
        for a stall in which no worker could renew (I6). The first call of a process only learns the time. Every call
        includes a write: it is refused when a renewal would be.
        """
        clock = self._calls.clock
        reply = await self._calls.run(
            "recover", [HeldItem(token) for token in held], consumer=consumer, believed_ms=clock.believed_ms,
            batch=BATCH, cursor=self._cursor,
        )  # fmt: skip
        requeued, failed, next_ms, pending = (int(part) for part in reply[:4])
        now_ms = clock.note(reply[4])
        unfinished, isolated = bool(reply[5]), int(reply[6])
        self._cursor = reply[7].decode()
        return Recovered(
            requeued, failed, self._next_ms(next_ms), pending, now_ms,
            unfinished=unfinished, isolated=None if isolated < 0 else isolated,
        )  # fmt: skip

    def _next_ms(self, found_ms: int) -> int | None:
        """Time until the next call (ms), over all calls since the last that started from the beginning: 0 while there
        is more to do now."""
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
        """Find work at a time by two cheap reads, for a worker without a free slot, which gets no wake-up marker."""
        first, throttled = await asyncio.gather(
            self._reads.execute("ZRANGE", self._keys.fixed("deadlines"), 0, 0, "WITHSCORES"),
            self._reads.execute("EXISTS", self._keys.fixed("throttled_deadlines")),
        )
        overdue_ms = max(int(first[1]) - self._calls.clock.believed_ms, 0) if first else None
        return TimedWork(overdue_ms, bool(throttled))

    async def unfinished(self) -> bool:
        """Find out by one cheap read whether any job is unfinished. Streams hold nothing else; sets are read
        besides, but only now and then in the pay-per-command profile, where every due time sets a wake-up marker."""
        self._polls += 1
        streams = self._keys.streams
        found = await self._reads.execute("XREAD", "COUNT", 1, "STREAMS", *streams, *["0"] * len(streams))
        if not found and self._polls % (12 if self._settings.frugal else 1) == 0:
            sets = [self._keys.fixed(name) for name in ("throttled_deadlines", "backlogs")]
            return bool(await self._reads.execute("EXISTS", *self._keys.due, *sets))
        return bool(found)

    async def audit(self, consumer: str) -> Audited:
        """Repair damage that no script could leave: entries pending for no consumer, live records that no entry names.

        Reads all entries and records, so it uses a tenth of the time at most and leaves the rest to the jobs.
        """
        lock, lock_ms = self._keys.fixed("audit"), round(max(self._settings.audit_seconds - AUDIT_SLACK_S, 1) * 1000)
        if await self._reads.execute("SET", lock, consumer, "NX", "PX", lock_ms) is None:
            return Audited(ran=False, requeued=0, consumers_deleted=0)

        requeued, deleted = await self._audit_entries()
        await self._index_usage()
        await self._counts.run()

        prefix, cursor = self._keys.prefix("job"), b"0"
        while True:
            began = time.monotonic()
            cursor, found = await self._reads.execute("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", 64)
            if found:
                items = [JobItem(key.decode()[len(prefix) :]) for key in found]
                replies = await self._calls.run("audit_records", items)
                requeued += sum(reply for reply in replies if isinstance(reply, int))
            if cursor == b"0":
                await self._counts.run()
                await PagedAudit(self._calls, self._reads, self._keys).correct_budgets()
                return Audited(ran=True, requeued=requeued, consumers_deleted=deleted)
            await asyncio.sleep(9 * (time.monotonic() - began))

    async def _index_usage(self) -> None:
        """Index, once, the usage that releases before the index summed up."""
        index, prefix = self._keys.fixed("usage_organizations"), self._keys.prefix("usage")
        if await self._reads.execute("ZSCORE", index, OPERATORS) is not None:
            return

        cursor = b"0"
        while True:
            began = time.monotonic()
            cursor, found = await self._reads.execute("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", 64)
            for key in found:
                organization, _, day = key.decode()[len(prefix) :].rpartition(":")
                if organization and day.isdigit():
                    await self._reads.execute("ZADD", index, "GT", day, organization)
            if cursor == b"0":
                break
            await asyncio.sleep(9 * (time.monotonic() - began))
        await self._reads.execute("ZADD", index, "+inf", OPERATORS)

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

    async def wake_to_poll(self) -> None:
        """Wake a worker for recovered work: one that has finished its suspect may take the next."""
        await self._reads.execute("ZADD", self._keys.fixed("wake"), -1, WakeUp.POLL.value)

    async def pass_on(self) -> None:
        """Wake another worker: this one was woken and may take nothing."""
        for key in self._keys.wake(self._routing.chain):
            await self._reads.execute("ZADD", key, -1, WakeUp.POLL.value, 0, WakeUp.JOB.value)
            if key != self._keys.fixed("wake"):
                await self._reads.execute("PEXPIRE", key, 3_600_000)
