"""Figures of many jobs at once: counts, gates, lists and sums. Read only: nothing here changes a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from shared.chain import split
from shared.job import JobSnapshot, JobStatus
from shared.store.engine.calls import Reads, ScriptCalls
from shared.store.keys import QUEUES, Keys
from shared.store.reading import durations
from shared.store.reading.durations import Durations
from shared.store.reading.job_index import Listing, Wanted
from shared.store.reading.live_jobs import LiveCursor, LiveJobs
from shared.store.reading.usage import UsageRow
from shared.store.reading.usage_days import UsageDays
from shared.store.results import GateState, JobPage, MemoryUse, QueueStats, UnreadableJob, Waiting, WaitReason

GATE_REASONS: Final = {1: "rate_limited", 2: "unavailable"}
"""Reasons of a blocked gate, by the number that `lua/include/gate_states.lua` stores."""


class Queries:
    """Queries of one store; every method may raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys
        self._listing = Listing(calls, reads, keys)
        self._live = LiveJobs(reads, keys, self._listing)
        self._usage = UsageDays(calls, reads, keys)

    async def stats(self) -> QueueStats:
        """Exact counts of all states at one moment (I3)."""
        return _stats(await self._calls.run("stats"))

    async def oldest_waiting_ms(self) -> int:
        """Age of the oldest job that could be claimed, in ms; 0 when none waits."""
        return int(await self._calls.run("oldest"))

    async def durations(self, first_hour: int, last_hour: int) -> Mapping[int, Durations]:
        """Wait and run times of the jobs that ended in each of these hours (since the epoch, Redis's clock)."""
        return await durations.read(self._calls, first_hour, last_hour)

    async def waiting(self, job_id: str) -> Waiting | None:
        """Find the reason why a job waits; None: it is not queued."""
        reply = await self._calls.run("waiting", job=job_id)
        if not reply:
            return None
        reason, gate, until_ms, ahead = reply
        return Waiting(
            reason=WaitReason(reason.decode()),
            gate=gate.decode() or None,
            until_ms=int(until_ms) or None,
            ahead=None if ahead < 0 else ahead,
        )

    async def gates(self) -> list[GateState]:
        """Read the gates of all providers that jobs asked for."""
        flat, clock = await asyncio.gather(
            self._reads.execute("HGETALL", self._keys.fixed("gates")), self._reads.execute("TIME")
        )
        return _gates(flat, int(clock[0]) * 1000 + int(clock[1]) // 1000)

    async def memory(self) -> MemoryUse:
        """Read how much memory the server uses."""
        return _memory(await self._reads.execute("INFO", "memory"))

    async def jobs(
        self,
        organization_id: str,
        *,
        status: JobStatus | None = None,
        cursor: str | None = None,
        limit: int = 50,
        wanted: Wanted | None = None,
    ) -> JobPage:
        """An organisation's jobs, newest first. ValueError for a cursor that this method did not make."""
        return await self._listing.page(organization_id, status=status, cursor=cursor, limit=limit, wanted=wanted)

    async def live(
        self, statuses: frozenset[JobStatus], cursor: LiveCursor | None, limit: int, wanted: Wanted | None = None
    ) -> JobPage:
        """Jobs of all organisations that wait or run, as `statuses` say, newest first; a page may be shorter than
        `limit`."""
        return await self._live.page(statuses, cursor, limit, wanted)

    async def rows(self, ids: Sequence[str]) -> dict[str, JobSnapshot | UnreadableJob]:
        """These jobs, at most 100, as a listing shows them; those that are gone are left out."""
        return await self._listing.rows(ids)

    def usage(self, organization_id: str, first_day: int, last_day: int) -> AsyncIterator[list[UsageRow]]:
        """Read the usage of an organisation's jobs that ended from `first_day` to `last_day` (days since the epoch,
        Redis's clock): the rows of each day that has any, by project and model. StoreRejected: a day of it is
        damaged."""
        return self._usage.read(organization_id, first_day, last_day)

    async def usage_organizations(self, first_day: int) -> list[str]:
        """The organisations that may have usage from that day (since the epoch) on."""
        return await self._usage.organizations(first_day)


def _stats(reply: Sequence[int]) -> QueueStats:
    """The reply of stats.lua: one number per stream in the order of QUEUES, then those in backlogs, processing,
    delayed, throttled, the three ends, unbooked, held."""
    waiting, (processing, delayed, throttled, completed, failed, cancelled, unbooked, held) = (
        reply[: len(QUEUES) + 1],
        reply[len(QUEUES) + 1 :],
    )
    by_queue = dict(zip((*QUEUES.values(), "backlog"), waiting, strict=True))
    by_queue["suspect"] += by_queue.pop("isolated")
    return QueueStats(
        queued=sum(waiting) + delayed + throttled,
        processing=processing,
        completed=completed,
        failed=failed,
        cancelled=cancelled,
        delayed=delayed,
        throttled=throttled,
        unbooked=unbooked,
        held=held,
        by_queue=by_queue,
    )


def _gates(reply: Sequence[bytes], now_ms: int) -> list[GateState]:
    """Parse the hash that `lua/include/gate_states.lua` keeps; damage counts as available."""
    found = []
    for name, state in zip(reply[::2], reply[1::2], strict=True):
        if b":" not in name or name.startswith(b"@"):  # of queues, and of the commit before
            continue
        numbers = [int(part) if part.isdigit() else 0 for part in state.split()] + [0, 0]
        provider, model = split(name.decode())
        reason = GATE_REASONS.get(numbers[1], "")
        blocked_ms = max(numbers[0] - now_ms, 0)
        found.append(GateState(provider=provider, model=model, blocked_ms=blocked_ms, reason=reason))
    return found


def _memory(info: bytes) -> MemoryUse:
    """Parse the reply of INFO memory; a missing field counts as 0."""
    values = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    return MemoryUse(used=int(values.get("used_memory", 0)), limit=int(values.get("maxmemory", 0)))
