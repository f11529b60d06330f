"""Wait and run times of jobs: every end once, folded or not, and lines of the release before beside them."""

from __future__ import annotations

import asyncio

import pytest

from shared.errors import StoreUnavailable
from shared.job import JobStatus, Outcome, RetryReason
from shared.store.job_store import JobStore
from shared.store.reading.durations import HOUR_MS, Durations, bucket_of
from shared.store.transitions import Finish, Requeue
from tests.support.checks import RawRedis, leaks
from tests.support.faulty_transport import FaultyTransport
from tests.support.store import ERROR, KEYS, claim, claim_one, submit
from tests.support.usage import LEDGER, end_with, rows_about_now, totals, used_outcome


async def _read(store: JobStore, raw: RawRedis) -> Durations:
    """Of the present hour and those beside it: a test may run over its end."""
    hour = int((await raw("TIME"))[0]) * 1000 // HOUR_MS
    return Durations.of((await store.queries.durations(hour - 1, hour + 1)).values())


async def _end(store: JobStore, ran_ms: int) -> None:
    (held,) = await claim(store, 1)
    await store.finish(Finish(held, JobStatus.COMPLETED, Outcome(), number=1, offset=0, run_ms=ran_ms))


async def test_an_end_is_in_the_histograms_at_once(store: JobStore, raw: RawRedis) -> None:
    """A job that ran for two seconds is read as such, within the width of a bucket, before anything was summed up."""
    await submit(store)
    await _end(store, 2000)
    found = await _read(store, raw)
    assert (found.waited.total(), found.ran.total()) == (1, 1)
    assert found.ran.percentile_ms(0.5) == pytest.approx(2000, rel=0.2)


async def test_every_end_is_counted_once_through_folds(store: JobStore, raw: RawRedis) -> None:
    """Six hundred ends in batches: the same sums before and after folds, in one string of the hour, which expires."""
    for start in range(0, 600, 50):
        await submit(store, 50)
        held = await claim(store, 50)
        finishes = [
            Finish(one, JobStatus.COMPLETED, Outcome(), number=1, offset=0, run_ms=start + n)
            for n, one in enumerate(held)
        ]
        await asyncio.gather(*map(store.finish, finishes))

    found = await _read(store, raw)
    assert (found.waited.total(), found.ran.total()) == (600, 600)
    assert found.ran.percentile_ms(0.5) == pytest.approx(300, rel=0.2)
    assert found.ran.percentile_ms(0.95) == pytest.approx(570, rel=0.2)
    keys = await raw("KEYS", KEYS.prefix("durations") + "*")
    assert 1 <= len(keys) <= 2
    for key in keys:
        assert 0 < await raw("PTTL", key) <= 49 * HOUR_MS
    assert await leaks(store.settings.redis_url) == []


async def test_sums_of_several_folds_add_up(store: JobStore, raw: RawRedis) -> None:
    """A later fold of the same hour adds to what an earlier one wrote."""
    hour = int((await raw("TIME"))[0]) * 1000 // HOUR_MS
    for _ in range(3):
        await raw("RPUSH", LEDGER, *[f"durations:{hour}:5/1000"] * 512)
        await submit(store)
        await _end(store, 1000)
    found = await _read(store, raw)
    assert (found.waited.total(), found.ran.total()) == (3 * 512 + 3, 3 * 512 + 3)
    assert await raw("LLEN", LEDGER) < 512


async def test_a_fold_moves_nothing_to_another_bucket(store: JobStore, raw: RawRedis) -> None:
    """The script that folds and the reader of lines agree on each bucket, also beyond the last one."""
    times = [0, 1, 2, 3, 15, 16, 255, 999, 1000, 65_535, 65_536, 86_400_000, 10**13]
    hour = int((await raw("TIME"))[0]) * 1000 // HOUR_MS
    await raw("RPUSH", LEDGER, *[f"durations:{hour}:{ms}/{ms}" for ms in times])
    before = await _read(store, raw)
    await raw("RPUSH", LEDGER, *["completed 9 org p a:b 1 1 0 0 0"] * 510)
    await submit(store)
    await _end(store, 7)
    after = await _read(store, raw)
    assert await raw("EXISTS", KEYS.prefix("durations") + str(hour)) == 1
    before.ran.update([bucket_of(7)])
    assert after.ran == before.ran


async def test_lines_of_the_release_before_are_folded_beside_those_of_this_one(store: JobStore, raw: RawRedis) -> None:
    """They have usage and no durations; its reader of usage passes over lines that are no usage."""
    await submit(store)
    held = (await claim(store, 1))[0]
    day = int((await raw("TIME"))[0]) // 86_400
    await raw("RPUSH", LEDGER, *[f"completed {day} org p openai:m 01 1 0 0 0"] * 511)
    await end_with(store, held, used_outcome(1))
    assert await raw("LLEN", LEDGER) < 512
    assert totals(await rows_about_now(store))["jobs"] == 512
    assert (await store.queries.stats()).completed == 512
    assert (await _read(store, raw)).ran.total() == 1


async def test_an_end_whose_answer_was_lost_is_counted_once(store: JobStore, raw: RawRedis) -> None:
    """The repeated finish adds nothing."""
    faults = FaultyTransport(store)
    held = await claim_one(store)
    faults.lose("finish")
    with pytest.raises(StoreUnavailable):
        await end_with(store, held, used_outcome())
    await end_with(store, held, used_outcome())
    assert (await _read(store, raw)).ran.total() == 1


async def test_a_job_whose_attempts_are_used_up_has_its_last_attempt_counted(store: JobStore, raw: RawRedis) -> None:
    """A retry counts nothing, the end that it leads to counts once; a cancel of a waiting job counts nothing."""
    await submit(store, max_attempts=1)
    (held,) = await claim(store, 1)
    again = Requeue(held, RetryReason.ERROR, delay_ms=1, refund=False, error=ERROR)
    assert await store.requeue(again) is JobStatus.FAILED
    (waiting,) = await submit(store)
    await store.cancel(waiting)
    assert (await _read(store, raw)).ran.total() == 1


async def test_damage_costs_figures_alone(store: JobStore, raw: RawRedis) -> None:
    """A key of another type, and strange lines, keep no job from its end and no reader from the rest."""
    hour = int((await raw("TIME"))[0]) * 1000 // HOUR_MS
    for at in (hour - 1, hour, hour + 1):
        await raw("HSET", KEYS.prefix("durations") + str(at), "x", "y")
        await raw("EXPIRE", KEYS.prefix("durations") + str(at), 100)
    await raw("RPUSH", LEDGER, "durations:", "durations:x:1/2", f"durations:{hour}:1/", b"durations:1:\xff")
    for _ in range(12):
        await submit(store, 50)
        held = await claim(store, 50)
        await asyncio.gather(*(end_with(store, one, used_outcome()) for one in held))
    assert (await store.queries.stats()).completed == 600
    assert totals(await rows_about_now(store))["jobs"] == 600
    assert (await _read(store, raw)).ran.total() <= 600
