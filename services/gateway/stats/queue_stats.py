"""`GET /api/ai/queue-stats`: the number of jobs in each state."""

from __future__ import annotations

import msgspec
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from services.gateway.http.calls import reading
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time
from services.gateway.stats.stats_cache import OrganizationStatsCache, StatsCache
from shared.events import Time, iso_time
from shared.http.auth import Identity, Scope
from shared.store.organizations import Organizations, OrganizationStats
from shared.store.results import JobCounts, QueueStats
from shared.telemetry.command_budget import Meter, Projection


class Counts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Exact counts of one moment. The first five add up to all jobs accepted; `delayed` (not due yet) and `throttled`
    (no provider has room for it yet) are parts of `queued`.

    `waiting` splits the rest of `queued` by place: `line` and `backlog` of all organisations; `suspect` jobs lost two
    or three workers; `requeued`, `high`, `normal` and `low` are queues of an older release.
    `backlog` is the figure to scale workers on: jobs that could be claimed and jobs that run; what is paused is not
    in it. A key that is bound to an organisation sees that organisation's jobs; it has neither `throttled` nor
    `waiting`.
    """

    queued: int
    processing: int
    completed: int
    failed: int
    cancelled: int
    delayed: int
    backlog: int
    throttled: int | msgspec.UnsetType = msgspec.UNSET
    waiting: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


class QueueView(msgspec.Struct, frozen=True):
    """Answer of queue-stats, in the guide's shape; `timestamp` is when the counts were read.

    `redis`: the commands that this gateway process sends, projected; workers and notifiers are not in it. Only for keys
    that are bound to no organisation.
    """

    success: bool
    stats: Counts
    timestamp: Time
    redis: Projection | msgspec.UnsetType = msgspec.UNSET


class QueueStatsCall:
    """Answers the queue's counts, and the commands that this gateway is going to send."""

    def __init__(self, stats: StatsCache, organizations: Organizations, meter: Meter) -> None:
        self._stats = stats
        self._own = OrganizationStatsCache(organizations.stats, stats)
        self._meter = meter

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/ai`."""

        @reading("/queue-stats", "How many jobs are in each state", 400, scope=Scope.STATS_READ)
        async def queue_stats(identity: NamedDependency[Identity], _params: NamedDependency[NoQuery]) -> QueueView:
            return await self.count(identity)

        return queue_stats

    async def count(self, identity: Identity) -> QueueView:
        """The fleet's jobs; of a bound key those of its organisation."""
        async with in_time():
            if identity.organization_id is None:
                cached = await self._stats.latest()
                return view_stats(cached.stats, cached.at_ms, self._meter.projection)
            own = await self._own.latest(identity.organization_id)
        return _view_own(own.stats, own.at_ms)


def _view_own(stats: OrganizationStats, now_ms: int) -> QueueView:
    counts = _counts(stats, stats.queued - stats.delayed + stats.processing)
    return QueueView(success=True, stats=counts, timestamp=iso_time(now_ms))


def view_stats(stats: QueueStats, now_ms: int, redis: Projection) -> QueueView:
    """The counts in the guide's shape; `now_ms` is the gateway's clock when they were read."""
    return QueueView(success=True, stats=counts_of(stats), timestamp=iso_time(now_ms), redis=redis)


def counts_of(stats: QueueStats) -> Counts:
    """The fleet's counts."""
    return msgspec.structs.replace(_counts(stats, stats.backlog), throttled=stats.throttled, waiting=stats.by_queue)


def _counts(stats: JobCounts, backlog: int) -> Counts:
    return Counts(
        queued=stats.queued,
        processing=stats.processing,
        completed=stats.completed,
        failed=stats.failed,
        cancelled=stats.cancelled,
        delayed=stats.delayed,
        backlog=backlog,
    )
