"""`GET /api/ai/queue-stats`: how many jobs are in each state."""

from __future__ import annotations

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from services.gateway.http.calls import reading
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time
from services.gateway.jobs.views import QueueView, view_stats
from services.gateway.stats.stats_cache import StatsCache
from shared.http.auth import Scope
from shared.telemetry.command_budget import Meter


class QueueStatsCall:
    """Answers the queue's counts, and the commands that this gateway is going to send."""

    def __init__(self, stats: StatsCache, meter: Meter) -> None:
        self._stats = stats
        self._meter = meter

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/ai`."""

        @reading("/queue-stats", "How many jobs are in each state", 400, scope=Scope.STATS_READ)
        async def queue_stats(_params: NamedDependency[NoQuery]) -> QueueView:
            async with in_time():
                cached = await self._stats.latest()
            return view_stats(cached.stats, cached.at_ms, self._meter.projection)

        return queue_stats
