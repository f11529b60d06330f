"""`/api/admin/overview`: the fleet in a few figures, one reading for all who watch. Operators only."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from typing import Final

import msgspec
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from services.gateway.admin.usage import AdminUsageCall, AdminUsageQuery
from services.gateway.http.calls import reading
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time
from services.gateway.jobs.usage import UsageSums, today
from services.gateway.stats.stats_cache import CachedStats, StatsCache
from shared.events import Time, iso_time
from shared.http.auth import Identity, Scope
from shared.store.job_store import JobStore
from shared.store.reading.ended_jobs import EndedAs, EndedFilter
from shared.store.results import QueueStats
from shared.telemetry.command_budget import Meter, Projection

KEPT_S: Final = 5.0
"""Age up to which a reading is answered again, in s; longer where the queue's counts are kept longer."""

SPEND_KEPT_S: Final = 60.0
PACE_S: Final = 60.0
"""Stretch over which throughput is measured, in s, about; readings may be further apart."""

PACE_LEAST_S: Final = 1.0
FAILURES_S: Final = 3600
FAILURES_MAX: Final = 10_000
"""Failures of the last hour that are counted, about; the newest."""


class FailureCount(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Failures of one type."""

    error_type: str
    count: int


class Overview(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The fleet at one moment. `waiting`: queued jobs, delayed and paused ones too. `ended_per_minute` null: the first
    reading. `oldest_age_seconds`: of the oldest job that could start. `failures`: of the last hour, the most frequent
    first; `all_counted` false: there are more than this counts. `spent_today_usd`: cost of jobs that ended today (UTC),
    null: not known. `redis`: commands that this gateway process sends, projected."""

    timestamp: Time
    waiting: int
    running: int
    ended_per_minute: float | None
    oldest_age_seconds: float
    failures: list[FailureCount]
    all_counted: bool
    spent_today_usd: float | None
    redis: Projection


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


class OverviewCall:
    """Answers the figures; callers share one reading."""

    def __init__(self, store: JobStore, stats: StatsCache, meter: Meter) -> None:
        self._store = store
        self._stats = stats
        self._meter = meter
        self._usage = AdminUsageCall(store)
        self._pace = Pace()
        self._lock = asyncio.Lock()
        self._counted: CachedStats | None = None
        self._shown: Overview | None = None
        self._read_at = 0.0
        self._spend: float | None = None
        self._spend_at = -SPEND_KEPT_S

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/admin`."""

        @reading("/overview", "The fleet in a few figures", 400, scope=Scope.ADMIN)
        async def read_overview(identity: NamedDependency[Identity], _params: NamedDependency[NoQuery]) -> Overview:
            return await self.read(identity)

        return read_overview

    async def read(self, identity: Identity) -> Overview:
        """The figures, of a reading that is young enough; a `Problem` for a bound key."""
        identity.require_operator()
        async with self._lock:
            if self._shown is None or time.monotonic() - self._read_at >= KEPT_S:
                self._shown = await self._renewed(self._shown)
                self._read_at = time.monotonic()
            return msgspec.structs.replace(self._shown, redis=self._meter.projection)

    async def _renewed(self, shown: Overview | None) -> Overview:
        """The present figures. Where commands are billed the counts are kept, and the rest with them."""
        async with in_time():
            counted = await self._stats.latest()
            if shown is not None and counted is self._counted:
                return shown
            stats = counted.stats
            oldest_ms, (failures, all_counted) = await asyncio.gather(
                self._oldest_ms(stats), self._failures(counted.at_ms)
            )

        spent = await self._spent_usd()  # however many organisations there are, each read is bounded
        self._counted = counted
        ended = stats.completed + stats.failed + stats.cancelled
        return Overview(
            timestamp=iso_time(counted.at_ms), waiting=stats.queued, running=stats.processing,
            ended_per_minute=self._pace.per_minute(counted.at_ms / 1000, ended), oldest_age_seconds=oldest_ms / 1000,
            failures=failures, all_counted=all_counted, spent_today_usd=spent, redis=self._meter.projection,
        )  # fmt: skip

    async def _oldest_ms(self, stats: QueueStats) -> int:
        return await self._store.queries.oldest_waiting_ms() if any(stats.by_queue.values()) else 0

    async def _failures(self, now_ms: int) -> tuple[list[FailureCount], bool]:
        found, cursor = await self._store.ended_jobs.page(
            EndedAs.FAILED, None, EndedFilter(from_ms=now_ms - FAILURES_S * 1000), before=None, limit=FAILURES_MAX,
            searched_max=FAILURES_MAX,
        )  # fmt: skip
        counts = Counter(job.error_type for job in found)
        ranked = sorted(counts.items(), key=lambda held: (-held[1], held[0]))
        return [FailureCount(error_type=name, count=count) for name, count in ranked], cursor is None

    async def _spent_usd(self) -> float | None:
        """Costs of today, at most a minute old: they are read organisation by organisation."""
        now = time.monotonic()
        if now - self._spend_at >= SPEND_KEPT_S:
            query = AdminUsageQuery(group_by="day", first=(day := today()), last=day)
            sums: UsageSums = (await self._usage.read(Identity(), query)).totals
            self._spend, self._spend_at = sums.cost_usd, now
        return self._spend
