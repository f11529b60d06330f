"""The answer of `/api/admin/overview`, which is also the data of its events."""

from __future__ import annotations

import msgspec

from services.gateway.stats.queue_stats import Counts
from shared.events import Time
from shared.store.reading.durations import Histogram
from shared.telemetry.command_budget import Projection


class FailureCount(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Failures of one type."""

    error_type: str
    count: int


class Percentiles(msgspec.Struct, frozen=True):
    """Seconds within which half of the jobs were done, and 95 of 100; right to about a tenth."""

    p50: float
    p95: float


class Hour(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Jobs that workers ended within an hour, from `start` on. The times are null when there was none."""

    start: Time
    jobs: int
    wait_seconds: Percentiles | None
    run_seconds: Percentiles | None


class Overview(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The fleet at one moment. `waiting`: queued jobs, delayed and paused ones too; `stats`: all counts of that moment.
    `ended_per_minute` null: the first reading. `oldest_age_seconds`: of the oldest job that could start.

    `wait_seconds`: from submit, or due time, to start; `run_seconds`: from start to end; both of the last attempt of
    jobs that workers ended in this hour (UTC) and the one before, null when there was none. `hours`: the same of each
    hour of the last day in which any ended, the oldest first.

    `failures`: of the last hour, the most frequent first; `all_counted` false: there are more than this counts.
    `spent_today_usd`: cost of jobs that ended today (UTC), null: not known. `redis`: commands that this gateway process
    sends, projected; `redis_budget`: commands that a month may take, null: no budget is set.
    """

    timestamp: Time
    waiting: int
    running: int
    stats: Counts
    ended_per_minute: float | None
    oldest_age_seconds: float
    wait_seconds: Percentiles | None
    run_seconds: Percentiles | None
    hours: list[Hour]
    failures: list[FailureCount]
    all_counted: bool
    spent_today_usd: float | None
    redis: Projection
    redis_budget: int | None


def percentiles(histogram: Histogram) -> Percentiles | None:
    """The percentiles of a histogram; None of an empty one."""
    p50, p95 = histogram.percentile_ms(0.5), histogram.percentile_ms(0.95)
    return None if p50 is None or p95 is None else Percentiles(round(p50 / 1000, 3), round(p95 / 1000, 3))
