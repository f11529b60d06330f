"""Counts of an organisation that fell below zero: they refuse none of its jobs, and the audit mends them."""

from __future__ import annotations

import pytest

from shared.store.count_audit import CountAudit
from shared.store.job_store import JobStore
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.organization_counts import miscounted
from tests.support.store import KEYS, drain, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)

UNITS = {"waiting": 1 << 43, "running": 1 << 27, "placed": 1 << 22, "kib": 1}
"""Of the packed number (organizations.lua)."""


async def _fall(raw: RawRedis, count: str) -> None:
    await raw("HINCRBY", KEYS.fixed("organizations"), "org", -3 * UNITS[count])


@pytest.mark.parametrize("count", UNITS)
async def test_a_count_below_zero_refuses_nothing(store: JobStore, raw: RawRedis, count: str) -> None:
    """An organisation without jobs counts some fewer than none: its jobs are taken, run and end."""
    await _fall(raw, count)
    ids = await submit(store, 5)
    assert await drain(store) == 5
    assert await breaches(store, raw, ids) == []


@pytest.mark.parametrize("count", UNITS)
@pytest.mark.parametrize("waiting", [0, 2])
async def test_the_audit_mends_a_count_below_zero(store: JobStore, raw: RawRedis, waiting: int, count: str) -> None:
    """Once, whatever waits: afterwards the counts are right, also when jobs have come and gone, and nothing is left
    over."""
    ids = await submit(store, waiting)
    await _fall(raw, count)
    audit = CountAudit(store._calls, store._reads, KEYS)
    await audit.run()
    assert await audit.run() == 0
    assert [fault for fault in await miscounted(raw, ids) if waiting == 0 or count != "kib"] == []

    ids += await submit(store, 2)
    assert await drain(store) == waiting + 2
    await audit.run()
    assert await miscounted(raw, ids) == []
    assert await breaches(store, raw, ids) == []
