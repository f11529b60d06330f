"""Reads the figures of the fleet, each no more often than it costs: the counts when they are asked for, the rest when
it is old enough."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, TypeVar

import msgspec

from services.gateway.admin.overview_view import FailureCount, Hour, Overview, percentiles
from services.gateway.admin.usage import AdminUsageCall, AdminUsageQuery
from services.gateway.http.responses import in_time
from services.gateway.jobs.usage import today
from services.gateway.stats.queue_stats import counts_of
from services.gateway.stats.stats_cache import CachedStats, StatsCache
from shared.events import iso_time
from shared.http.auth import Identity
from shared.store.job_store import JobStore
from shared.store.reading.durations import HOUR_MS, Durations
from shared.store.reading.ended_jobs import EndedAs, EndedFilter
from shared.store.results import QueueStats
from shared.telemetry.command_budget import Meter

KEPT_S: Final = 5.0
"""Age up to which failures and durations are answered again, in s."""

SPEND_KEPT_S: Final = 60.0
PACE_S: Final = 60.0
"""Stretch over which throughput is measured, in s, about; readings may be further apart."""

PACE_LEAST_S: Final = 1.0
FAILURES_S: Final = 3600
FAILURES_MAX: Final = 10_000
"""Failures of the last hour that are counted, about; the newest."""

HOURS: Final = 24

ValueT = TypeVar("ValueT")


class Pace:
    """Throughput, from counts of ended jobs. Pure."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def per_minute(self, now: float, ended: int) -> float | None:
        """Jobs a minute that ended since a reading about a minute ago; None: there was none. `now` in s."""
        while len(self._marks) > 1 and now - self._marks[1][0] >= PACE_S:
            self._marks.popleft()
        since, before = self._marks[0] if self._marks else (now, ended)
        if not self._marks or now - self._marks[-1][0] >= PACE_LEAST_S:
            self._marks.append((now, ended))
        passed = now - since
        return None if passed < PACE_LEAST_S else round(max(ended - before, 0) * 60 / passed, 1)


class Kept(Generic[ValueT]):
    """A figure that is read again once it is `seconds` old."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._read_at = -seconds
        self._value: ValueT | None = None

    async def get(self, read: Callable[[], Awaitable[ValueT]]) -> ValueT:
        """The figure as it was read last, or now."""
        now = time.monotonic()
        if self._value is None or now - self._read_at >= self._seconds:
            self._value, self._read_at = await read(), now
        return self._value


class Failures(msgspec.Struct, frozen=True):
    """By type, the most frequent first."""

    counts: list[FailureCount]
    all_counted: bool


class OverviewReading:
    """The figures of one gateway process; all who ask share them. Methods may raise StoreUnavailable."""

    def __init__(self, store: JobStore, stats: StatsCache, meter: Meter, *, budget: int = 0) -> None:
        """`meter`: of the commands that this process sends; `budget`: commands that a month may take, 0: none is
        set."""
        self._store = store
        self._stats = stats
        self._meter = meter
        self._budget = budget or None
        self._usage = AdminUsageCall(store)
        self._pace = Pace()
        self._lock = asyncio.Lock()
        self._counted: CachedStats | None = None
        self._shown: Overview | None = None
        self._read_at = 0.0
        self._failures = Kept[Failures](KEPT_S)
        self._durations = Kept[Mapping[int, Durations]](KEPT_S)
        self._spend = Kept[tuple[float | None]](SPEND_KEPT_S)

    async def latest(self, within_s: float = KEPT_S) -> Overview:
        """The figures, of a reading that is at most `within_s` old."""
        async with self._lock:
            if self._shown is None or time.monotonic() - self._read_at >= within_s:
                self._shown = await self._renewed(self._shown)
                self._read_at = time.monotonic()
            return msgspec.structs.replace(self._shown, redis=self._meter.projection)

    async def _renewed(self, shown: Overview | None) -> Overview:
        """The present figures. Where commands are billed the counts are kept, and the rest with them."""
        async with in_time():
            counted = await self._stats.latest()
            if shown is not None and counted is self._counted:
                return shown
            stats, hour = counted.stats, counted.at_ms // HOUR_MS
            oldest_ms, failures, durations = await asyncio.gather(
                self._oldest_ms(stats),
                self._failures.get(lambda: self._read_failures(counted.at_ms)),
                self._durations.get(lambda: self._store.queries.durations(hour - HOURS + 1, hour)),
            )

        (spent,) = await self._spend.get(self._spent_usd)  # however many organisations there are, each read is bounded
        self._counted = counted
        ended = stats.completed + stats.failed + stats.cancelled
        recent = Durations.of(one for at, one in durations.items() if at >= hour - 1)
        return Overview(
            timestamp=iso_time(counted.at_ms), waiting=stats.queued, running=stats.processing, stats=counts_of(stats),
            ended_per_minute=self._pace.per_minute(counted.at_ms / 1000, ended), oldest_age_seconds=oldest_ms / 1000,
            wait_seconds=percentiles(recent.waited), run_seconds=percentiles(recent.ran), hours=_hours(durations),
            failures=failures.counts, all_counted=failures.all_counted, spent_today_usd=spent,
            redis=self._meter.projection, redis_budget=self._budget,
        )  # fmt: skip

    async def _oldest_ms(self, stats: QueueStats) -> int:
        return await self._store.queries.oldest_waiting_ms() if any(stats.by_queue.values()) else 0

    async def _read_failures(self, now_ms: int) -> Failures:
        found, cursor = await self._store.ended_jobs.page(
            EndedAs.FAILED, None, EndedFilter(from_ms=now_ms - FAILURES_S * 1000), before=None, limit=FAILURES_MAX,
            searched_max=FAILURES_MAX,
        )  # fmt: skip
        counts = Counter(job.error_type for job in found)
        ranked = sorted(counts.items(), key=lambda held: (-held[1], held[0]))
        return Failures([FailureCount(error_type=name, count=count) for name, count in ranked], cursor is None)

    async def _spent_usd(self) -> tuple[float | None]:
        """Costs of today: they are read organisation by organisation."""
        query = AdminUsageQuery(group_by="day", first=(day := today()), last=day)
        return ((await self._usage.read(Identity(), query)).totals.cost_usd,)


def _hours(durations: Mapping[int, Durations]) -> list[Hour]:
    return [
        Hour(
            start=iso_time(hour * HOUR_MS), jobs=one.ran.total(), wait_seconds=percentiles(one.waited),
            run_seconds=percentiles(one.ran),
        )
        for hour, one in sorted(durations.items())
        if one.ran
    ]  # fmt: skip
