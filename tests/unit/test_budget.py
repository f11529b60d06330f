"""The meter's projection, and the readings that cost nothing while they are good."""

from __future__ import annotations

from services.gateway.stats.stats_cache import StatsCache
from shared.store.results import QueueStats
from shared.telemetry.command_budget import Meter


class Clock:
    """Time as a test wants it, in s."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_projection_needs_a_minute() -> None:
    """Before that it would reflect the start; then it is the rate times a day, and 30 of these."""
    clock = Clock()
    meter = Meter(clock)
    meter.add(50)
    clock.now += 30
    assert meter.projection.commands_per_day is None
    clock.now += 70
    meter.add(50)
    found = meter.projection
    assert (found.commands, found.measured_seconds) == (100, 100)
    assert (found.commands_per_day, found.commands_per_month) == (86_400, 2_592_000)


def test_what_was_before_a_day_ago_is_forgotten() -> None:
    """A busy day is out of the projection a day later; a process that sends rarely is still projected."""
    clock = Clock()
    meter = Meter(clock)
    for _ in range(86_400 // 60):
        meter.add(600)
        clock.now += 60
    assert meter.projection.commands_per_day == 864_000
    for _ in range(86_400 // 300 + 1):
        meter.add(2)
        clock.now += 300
    assert 550 < (meter.projection.commands_per_day or 0) < 600


class CountingStore:
    """Answers counts and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.queued = 0

    async def stats(self) -> QueueStats:
        """The counts."""
        self.asked += 1
        return QueueStats(
            queued=self.queued, processing=0, completed=0, failed=0, cancelled=0, delayed=0, throttled=0, by_queue={}
        )


async def test_a_reading_is_kept_while_it_is_good() -> None:
    """An idle queue is asked hourly, a busy one every minute; a job taken in ends an idle reading, not a fresh one."""
    clock, store = Clock(), CountingStore()
    readings = StatsCache(store.stats, 60.0, clock=clock)
    for at, changed, asked in [
        (0, False, 1), (59, False, 1), (3000, False, 1), (3700, False, 2), (3710, True, 2), (3800, False, 3),
        (7000, False, 3), (7500, False, 4),
    ]:  # fmt: skip
        clock.now = 1000.0 + at
        if changed:
            readings.job_submitted()
        await readings.latest()
        assert store.asked == asked, at
    store.queued = 1
    clock.now += 3600
    await readings.latest()
    clock.now += 61
    await readings.latest()
    assert store.asked == 6


async def test_exact_readings_are_asked_each_time() -> None:
    """Without the pay-per-command profile no counts are old."""
    store = CountingStore()
    readings = StatsCache(store.stats, 0.0)
    for _ in range(3):
        await readings.latest()
    assert store.asked == 3
