"""Usage of organisations: exact sums, through folds, lost answers and damage."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest

from shared.errors import LeaseLost, StoreUnavailable
from shared.job import JobStatus, Outcome, Usage
from shared.settings import StoreSettings
from shared.store.engine.items import DayItem
from shared.store.job_store import JobStore, open_store
from shared.store.reading.usage import UsageRow
from tests.support.checks import RawRedis, leaks
from tests.support.faulty_transport import FaultyTransport
from tests.support.store import KEYS, claim, claim_one, submit, usage_rows
from tests.support.usage import LEDGER, end_with, rows_about_now, today_of, totals, used_outcome

FAR = 40_000
"""A day after every other one, as days since the epoch."""


async def test_an_end_is_counted_for_its_project_model_and_day(store: JobStore, raw: RawRedis) -> None:
    """One completed job makes one row of its own numbers, in nano-USD, on the server's day."""
    before = await today_of(raw)
    await end_with(store, await claim_one(store), used_outcome(7, model="gpt:4", cost=0.000_000_123))
    (row,) = await rows_about_now(store)
    assert row.day in (before, await today_of(raw))
    assert row == UsageRow(
        day=row.day, project_id="p", provider="openai", model="gpt:4", jobs=1, input_tokens=70, output_tokens=7,
        cached_tokens=1, cost_nano_usd=123, unknown_cost_jobs=0, estimated_jobs=0,
    )  # fmt: skip
    assert await usage_rows(store, "org", row.day + 1, FAR) == []
    assert await usage_rows(store, "org", row.day, row.day - 1) == []
    assert await rows_about_now(store, "another") == []


async def test_what_was_not_used_or_is_not_known_makes_no_row(store: JobStore) -> None:
    """An end without usage, or without a provider, adds to no sum, and is counted."""
    await end_with(store, await claim_one(store), Outcome(result="x", provider="openai", model="m"))
    no_provider = Outcome(result="x", usage=Usage(input_tokens=1, output_tokens=1))
    await end_with(store, await claim_one(store), no_provider)
    assert await rows_about_now(store) == []
    assert (await store.queries.stats()).completed == 2


async def test_six_hundred_ends_sum_up_exactly_through_folds(store: JobStore, raw: RawRedis) -> None:
    """Ends of several projects and models, some without a known cost, some estimated, are all there once after folds;
    every hash has the TTL of the setting, and the list is not longer than one fold."""
    expected: Counter[tuple[str, str]] = Counter()
    costs: Counter[tuple[str, str]] = Counter()
    for start in range(0, 600, 50):
        jobs = [submit(store, 1, project_id=f"project-{n % 4}") for n in range(start, start + 50)]
        await asyncio.gather(*jobs)
        ends = []
        for n, held in enumerate(await claim(store, 50), start):
            model, cost = f"m{n % 3}", None if n % 7 == 0 else n * 1e-9
            expected[held.spec.project_id, model] += 1
            costs[held.spec.project_id, model] += 0 if cost is None else n
            ends.append(end_with(store, held, used_outcome(n, model=model, cost=cost)))
        await asyncio.gather(*ends)
    rows = await rows_about_now(store)
    jobs_of, costs_of = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for row in rows:
        jobs_of[row.project_id, row.model] += row.jobs
        costs_of[row.project_id, row.model] += row.cost_nano_usd
    assert jobs_of == expected
    assert costs_of == costs
    assert totals(rows) == {
        "jobs": 600, "input_tokens": 10 * sum(range(600)), "output_tokens": sum(range(600)),
        "cached_tokens": sum(n % 3 for n in range(600)), "cost_nano_usd": sum(n for n in range(600) if n % 7),
        "unknown_cost_jobs": len(range(0, 600, 7)), "estimated_jobs": 120,
    }  # fmt: skip
    assert (await store.queries.stats()).completed == 600
    assert await raw("LLEN", LEDGER) < 512
    hashes = await raw("KEYS", "*:usage:*")
    assert hashes
    for key in hashes:
        assert 399 * 86_400_000 < await raw("PTTL", key) <= 400 * 86_400_000
    assert await leaks(store.settings.redis_url) == []


async def test_sums_stay_integers_where_floats_would_show_an_exponent(store: JobStore, raw: RawRedis) -> None:
    """Sums of 10^15 and more are kept digit by digit in the hash."""
    big = Outcome(
        provider="a", model="b", usage=Usage(input_tokens=10**13 + 1, output_tokens=0), cost_usd=10_000.000_000_001
    )
    for _ in range(12):
        await submit(store, 50)
        await asyncio.gather(*(end_with(store, held, big) for held in await claim(store, 50)))
    assert await raw("KEYS", "*:usage:*")
    sums = totals(await rows_about_now(store))
    assert sums["input_tokens"] == 600 * (10**13 + 1)
    assert sums["cost_nano_usd"] == 600 * (10**13 + 1)


async def test_a_reader_beside_folds_sees_every_end_once(store: JobStore) -> None:
    """While ends and folds go on, each reading shows at least the confirmed ends and at most the begun ones."""
    confirmed = begun = 0
    done = asyncio.Event()

    async def write() -> None:
        nonlocal confirmed, begun
        for _ in range(24):
            await submit(store, 50)
            held = await claim(store, 50)
            begun += len(held)
            await asyncio.gather(*(end_with(store, one, used_outcome()) for one in held))
            confirmed += len(held)
        done.set()

    writing = asyncio.create_task(write())
    readings = 0
    while not done.is_set() and not writing.done():
        least = confirmed
        seen = totals(await rows_about_now(store))
        assert least <= seen["jobs"] <= begun
        assert seen["input_tokens"] == 10 * seen["jobs"]
        readings += 1
    await writing
    assert readings > 10
    assert totals(await rows_about_now(store))["jobs"] == 1200


async def test_an_end_whose_answer_was_lost_is_counted_once(store: JobStore) -> None:
    """The repeated finish finds the job ended and adds nothing; so does one that is executed late."""
    faults = FaultyTransport(store)
    held = await claim_one(store)
    faults.lose("finish")
    with pytest.raises(StoreUnavailable):
        await end_with(store, held, used_outcome())
    await end_with(store, held, used_outcome())
    late = await claim_one(store)
    faults.delay("finish")
    with pytest.raises(StoreUnavailable):
        await end_with(store, late, used_outcome())
    await end_with(store, late, used_outcome())
    await faults.deliver()
    assert totals(await rows_about_now(store))["jobs"] == 2


async def test_a_late_settle_after_a_forced_cancel_is_counted_once(store: JobStore) -> None:
    """The worker of a job that was cancelled by force reports its cost: once, however often it repeats that."""
    held = await claim_one(store)
    await store.cancel(held.job_id, force=True)
    assert await rows_about_now(store) == []
    for _ in range(3):
        with pytest.raises(LeaseLost):
            await end_with(store, held, used_outcome(4), JobStatus.CANCELLED)
    assert totals(await rows_about_now(store)) == totals(await rows_about_now(store)) | {"jobs": 1, "input_tokens": 40}


async def test_a_replaced_lease_costs_nothing(store: JobStore) -> None:
    """The report of a worker that has lost its lease is in no sum (I4)."""
    held = await claim_one(store)
    stranger = type(held)(**{name: getattr(held, name) for name in held.__struct_fields__} | {"consumer": "w9"})
    await end_with(store, held, used_outcome())
    with pytest.raises(LeaseLost):
        await end_with(store, stranger, used_outcome(), JobStatus.FAILED)
    assert totals(await rows_about_now(store))["jobs"] == 1


async def test_the_setting_says_how_long_sums_stay(url: str, raw: RawRedis) -> None:
    """USAGE_TTL_DAYS is the TTL of a day's sums."""
    settings = StoreSettings(redis_url=url, usage_ttl_days=2)
    async with open_store(settings, client_name="test") as store:
        await raw("RPUSH", LEDGER, *["completed 9 org p a:b 1 1 0 0 0"] * 510)
        await end_with(store, await claim_one(store), used_outcome())
    for key in await raw("KEYS", "*:usage:*"):
        assert 86_400_000 < await raw("PTTL", key) <= 2 * 86_400_000
    assert await raw("EXISTS", KEYS.prefix("usage") + "org:9", LEDGER) == 1


async def test_a_year_is_read_in_bounded_calls(store: JobStore, raw: RawRedis) -> None:
    """366 days take a dozen script calls; rows come by day, project and model."""
    await usage_rows(store, "org", 10, 10)  # the script is loaded
    calls = list[int]()
    store._calls.scripts._observer = lambda name, commands: calls.append(commands) if name == "usage" else None
    for day in (10, 41, 375):
        for project in ("b", "a"):
            await raw("RPUSH", LEDGER, f"completed {day} org {project} demo:demo 1 1 0 0 0")
    rows = await usage_rows(store, "org", 10, 375)
    assert [(row.day, row.project_id) for row in rows] == [(d, p) for d in (10, 41, 375) for p in ("a", "b")]
    # Each is one command, one for the ledger and one for a day: none of these days has been folded.
    assert (len(calls), max(calls), sum(calls)) == (12, 2 + 31, 2 * 12 + 366)


async def test_one_call_answers_a_bounded_number_of_sums(store: JobStore, raw: RawRedis) -> None:
    """The day with which it would be more comes with the next call; it is met there first, and returned as a whole."""
    sums = [part for project in "pq" for part in (f"{project} a:b", "1 1 1 0 0 0 0")]
    for day in (1, 2):
        await raw("HSET", KEYS.usage("org", day), *sums)
    call = partial(store._calls.run, "usage", organization="org", fields_max=3)
    (first, lines), later = await call([DayItem(1), DayItem(2)])
    assert (sorted(part.decode() for part in first), lines, later) == (sorted(sums), [], b"LATER")
    assert (await call([DayItem(2)]))[0][0] == first


async def test_names_that_a_caller_thinks_up_make_no_day_longer(store: JobStore, raw: RawRedis) -> None:
    """Beyond a thousand projects of a day the rest is summed up as `other`, by model, and known ones go on."""
    today = await today_of(raw)
    flat = [part for n in range(990) for part in (f"p{n} openai:m", "1 0 0 0 0 0 0")]
    await raw("HSET", KEYS.usage("org", today), *flat)
    await raw("EXPIRE", KEYS.usage("org", today), 1000)
    lines = [f"completed {today} org {name} openai:{model} 1 1 0 5 0" for name in ("p1", "x") for model in "mn"]
    lines += [f"completed {today} org new{n} openai:{'mn'[n % 2]} 1 1 0 5 0" for n in range(506)]
    await raw("RPUSH", LEDGER, *lines)
    await raw("RPUSH", LEDGER, f"completed {today} org new0 openai:m 1 1 0 5 0")
    await end_with(store, await claim_one(store), used_outcome())
    rows = {(row.project_id, row.model): row for row in await usage_rows(store, "org", today, today)}
    assert await raw("LLEN", LEDGER) <= 1
    assert 0 <= totals(list(rows.values()))["jobs"] - (990 + 511) <= 1
    assert await raw("HLEN", KEYS.usage("org", today)) <= 1002
    assert rows["p1", "m"].jobs == 2
    assert sum(row.jobs for (name, _), row in rows.items() if name == "other") >= 490
    assert sum(row.cost_nano_usd for row in rows.values()) % 500_000_000 == 511 * 5
