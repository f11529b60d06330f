"""Buckets of failures over time: few, of round widths, and each time in one of them."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import pytest

from services.gateway.admin.failure_grouping import BUCKETS, COUNTED_GROUPS, Buckets, Grouping
from shared.store.reading.ended_jobs import EndedJob

NOW_MS: Final = 1_796_000_000_123
HOUR_MS: Final = 3_600_000
LAST_MS: Final = 253_402_300_799_000


def _failed(at_ms: int, organization: str) -> EndedJob:
    return EndedJob(id=f"{at_ms}-0", job_id=f"ai-job-{at_ms}", organization_id=organization, error_type="Timeout")


@pytest.mark.parametrize(
    ("length_ms", "seconds"),
    [
        (0, 10),
        (1, 10),
        (HOUR_MS, 60),
        (HOUR_MS + 30_000, 60),
        (24 * HOUR_MS, 1800),
        (7 * 24 * HOUR_MS, 10_800),
        (14 * 24 * HOUR_MS, 21_600),
    ],
)
def test_the_width_is_round_and_follows_from_the_time(length_ms: int, seconds: int) -> None:
    """Ten seconds at least, so that a moment has a width; bounds are multiples of it."""
    buckets = Buckets.over(NOW_MS - length_ms, NOW_MS)
    assert buckets.width_ms == seconds * 1000
    assert buckets.first_ms % buckets.width_ms == 0


@pytest.mark.parametrize("length_ms", [0, 1, 599_999, 600_001, HOUR_MS + 1, 800 * 24 * HOUR_MS, NOW_MS, LAST_MS])
def test_there_are_never_many_and_they_cover_the_time(length_ms: int) -> None:
    """Whatever the time is, a year or all that can be written."""
    first = max(NOW_MS - length_ms, 0)
    buckets = Buckets.over(first, first + length_ms)
    assert 1 <= buckets.number <= BUCKETS + 2
    assert buckets.first_ms <= first
    assert buckets.first_ms + buckets.number * buckets.width_ms > first + length_ms
    assert (buckets.index(first), buckets.index(first + length_ms)) == (0, buckets.number - 1)


def test_a_time_outside_is_in_the_nearest() -> None:
    """A job may fail after the time of the buckets was settled: it is in one nevertheless."""
    buckets = Buckets.over(NOW_MS - HOUR_MS, NOW_MS)
    assert buckets.index(NOW_MS + HOUR_MS) == buckets.number - 1
    assert buckets.index(0) == 0


async def test_many_groups_do_not_hold_the_event_loop() -> None:
    """Of 20,000 failures of as many organisations: other tasks run in between, and the largest alone have curves."""
    jobs = [_failed(NOW_MS - index, f"org-{index}") for index in range(20_000)]
    grouping = Grouping(("organizationId",), Buckets.over(NOW_MS - HOUR_MS, NOW_MS))
    steps = 0

    async def others() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    began = time.perf_counter()
    await grouping.add(jobs)
    groups = await grouping.groups()
    seconds = time.perf_counter() - began
    beside.cancel()

    assert steps > seconds / 0.1
    assert sum(grouping.buckets.counts) == sum(group.count for group in groups) == 20_000
    assert sum(group.counts is not None for group in groups) == COUNTED_GROUPS
