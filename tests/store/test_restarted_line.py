"""Entries of the line that get other ids in a claim, as after a restart: the backlog behind them loses no job (I1)."""

from __future__ import annotations

import time

import pytest

from shared.store.engine import scripts
from shared.store.job_store import JobStore
from shared.store.keys import GROUP
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.organization_counts import miscounted
from tests.support.store import KEYS, claim, drain, settle, submit


async def _fail_over(raw: RawRedis) -> None:
    """As the greeting of the first connection to another master notes it."""
    script = scripts.load("failover")
    names = [KEYS.fixed(name) for name in script.keys]
    await raw("EVAL", script.source, len(names), *names, time.monotonic_ns())


async def _submit(store: JobStore) -> list[str]:
    """Jobs of two organisations: the first may have more entries in the line than it has, the other has a backlog."""
    await settle(store, "org", weight=4)
    return await submit(store, 2) + await submit(store, 6, organization="other")


@pytest.mark.parametrize("limit", [2, 3, 4, 20])
async def test_a_claim_after_a_fail_over_loses_no_job_of_a_backlog(store: JobStore, raw: RawRedis, limit: int) -> None:
    """The entry in the line gets a new id, and the free slots are filled from the backlog in the same call."""
    ids = await _submit(store)
    await _fail_over(raw)

    started = len(await claim(store, limit, "w2"))
    assert await breaches(store, raw, ids) == []
    assert started + await drain(store, "w3") == len(ids)


@pytest.mark.parametrize("limit", [2, 3, 4, 20])
async def test_a_claim_after_a_lost_group_loses_no_job_of_a_backlog(store: JobStore, raw: RawRedis, limit: int) -> None:
    """The same where the leases of running jobs are lost."""
    ids = await _submit(store)
    await claim(store, 3, "gone")
    await raw("XGROUP", "DESTROY", KEYS.fixed("line"), GROUP)

    started = len(await claim(store, limit, "w2"))
    assert await breaches(store, raw, ids) == []
    assert started + await drain(store, "w3") == len(ids)


async def test_an_entry_whose_record_still_names_the_backlog_is_run(store: JobStore, raw: RawRedis) -> None:
    """A claim of an older release left it in the line. Its organisation's counts stay right."""
    ids = await submit(store, 4)
    await raw("ZREM", KEYS.prefix("backlog") + "org", ids[1])
    await raw("XADD", KEYS.fixed("line"), "*", "j", ids[1], "o", "org")

    started = await claim(store, 2)
    assert await miscounted(raw, ids) == []
    started += await claim(store, 4)
    assert sorted(held.job_id for held in started) == sorted(ids)
    assert await miscounted(raw, ids) == []
    assert await breaches(store, raw, ids) == []
