"""Sums and ledgers that were damaged cost their own numbers, and no job."""

from __future__ import annotations

import asyncio

import pytest

from shared.errors import StoreRejected
from shared.store.job_store import JobStore
from tests.support.checks import RawRedis
from tests.support.store import KEYS, claim, claim_one, submit, usage_rows
from tests.support.usage import LEDGER, end_with, rows_about_now, today_of, totals, used_outcome


async def test_a_ledger_that_is_none_keeps_no_job_from_its_end(store: JobStore, raw: RawRedis) -> None:
    """With a damaged list jobs end, once, and are counted; the known usage is not reported as if it were all."""
    today = await today_of(raw)
    await raw("SET", LEDGER, "x")
    held = await claim_one(store)
    await end_with(store, held, used_outcome())
    await end_with(store, held, used_outcome())
    assert (await store.queries.stats()).completed == 1
    assert (await store.queries.stats()).processing == 0
    with pytest.raises(StoreRejected):
        await usage_rows(store, "org", today - 3, today + 1)
    await raw("DEL", LEDGER)
    await end_with(store, await claim_one(store), used_outcome())
    assert (await store.queries.stats()).completed == 2
    assert totals(await rows_about_now(store))["jobs"] == 1


async def test_sums_that_are_none_cost_nobody_else_anything(store: JobStore, raw: RawRedis) -> None:
    """With one organisation's damaged hash all jobs end and are counted, and the sums of others are whole."""
    today = await today_of(raw)
    for day in (today, today + 1):
        await raw("SET", KEYS.prefix("usage") + f"org:{day}", "x", "EX", 100)
    for _ in range(12):
        await submit(store, 25)
        await submit(store, 25, organization="another")
        await asyncio.gather(*(end_with(store, held, used_outcome()) for held in await claim(store, 50)))
    assert (await store.queries.stats()).completed == 600
    assert totals(await rows_about_now(store, "another"))["jobs"] == 300
    assert await raw("LLEN", LEDGER) < 512
    with pytest.raises(StoreRejected):
        await rows_about_now(store)


async def test_strangers_lines_and_fields_count_as_nothing(store: JobStore, raw: RawRedis) -> None:
    """Values that are no ledger line and no packed sum spoil neither readings nor folds."""
    today = await today_of(raw)
    for day in (today, today + 1):
        ill = "", b"\xff\xfe", f"completed {day} org p a:b 1 2", f"completed {day} org p a:b 1 2 3 x 0 0", "completed"
        await raw("RPUSH", LEDGER, *ill)
        await raw("HSET", KEYS.prefix("usage") + f"org:{day}", "p openai:m", "many", "whose", "1 1 1 1 1 1 1")
        await raw("EXPIRE", KEYS.prefix("usage") + f"org:{day}", 100)
    for _ in range(6):
        await submit(store, 50)
        await asyncio.gather(*(end_with(store, held, used_outcome()) for held in await claim(store, 50)))
    assert totals(await rows_about_now(store))["jobs"] == 300


async def test_a_sum_that_cannot_be_written_is_counted(store: JobStore, raw: RawRedis) -> None:
    """Neither a damaged ledger nor a damaged day loses usage in silence: the statistics count the jobs that lack it."""
    today = await today_of(raw)
    await raw("SET", LEDGER, "x")
    await end_with(store, await claim_one(store), used_outcome())
    assert (await store.queries.stats()).unbooked == 1
    await raw("DEL", LEDGER)
    await raw("SET", KEYS.usage("org", today - 1), "x", "EX", 100)
    await raw("RPUSH", LEDGER, *[f"completed {today - 1} org p a:b 1 1 0 0 0"] * 511)
    await end_with(store, await claim_one(store), used_outcome())
    stats = await store.queries.stats()
    assert (stats.completed, stats.unbooked) == (513, 512)
