"""Retention of an organisation: each part of a job lives as long as its settings say, however the job ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.reading.ended_jobs import EndedAs, EndedFilter
from tests.support.breaches import breaches
from tests.support.budgets import priced
from tests.support.checks import RawRedis
from tests.support.endings import ENDINGS, the_claim
from tests.support.gates import A
from tests.support.store import KEYS, claim, claim_one, complete, fail, settle, submit
from tests.support.usage import end_with, used_outcome

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)

LEASE_MS, RESULT_S, FAILED_S, EVENTS_S = 2000, 700, 800, 90
DAY_MS = 86_400_000


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """A worker with a priced gate; the fleet keeps results for a day, failures for two weeks, events for 15 minutes."""
    settings = StoreSettings(redis_url=url, lease_seconds=LEASE_MS / 1000)
    async with open_store(settings, client_name="t", routing=priced(A)) as opened:
        yield opened


async def _end(store: JobStore, raw: RawRedis, name: str, **settings: int | None) -> str:
    await settle(store, "org", **settings)
    ending, status = ENDINGS[name]
    (job_id,) = await submit(store, deadline_ms=3_600_000, prompt="ask me")
    await ending(store, raw, job_id)
    assert await raw("HGET", KEYS.job(job_id), "state") == status.encode()
    return job_id


@pytest.mark.parametrize("name", ENDINGS)
async def test_every_end_obeys(store: JobStore, raw: RawRedis, name: str) -> None:
    """Record and log have the lives of the organisation's settings, shorter than the fleet's."""
    job_id = await _end(store, raw, name, result_seconds=RESULT_S, failed_seconds=FAILED_S, events_seconds=EVENTS_S)
    life_ms = 1000 * (FAILED_S if ENDINGS[name][1] == "failed" else RESULT_S)
    assert life_ms - 30_000 < await raw("PTTL", KEYS.job(job_id)) <= life_ms + 1000
    assert await raw("PTTL", KEYS.log(job_id)) <= 1000 * EVENTS_S + 1000
    assert await breaches(store, raw, [job_id]) == []


@pytest.mark.parametrize("name", ENDINGS)
async def test_every_end_forgets_the_prompt(store: JobStore, raw: RawRedis, name: str) -> None:
    """With 0 seconds it goes with the end; the rest of the record stays as long as the fleet's."""
    job_id = await _end(store, raw, name, prompt_seconds=0)
    assert b"ask me" not in await raw("HGET", KEYS.job(job_id), "spec")
    assert await raw("PTTL", KEYS.job(job_id)) > 80_000_000
    snapshot = await store.status(job_id)
    assert snapshot is not None
    assert (snapshot.spec.prompt, snapshot.spec.project_id) == ("", "p")


@pytest.mark.parametrize("name", ["finish", "finish failed", "workers lost"])
async def test_a_longer_life_than_the_fleets(store: JobStore, raw: RawRedis, name: str) -> None:
    """Settings count in both directions."""
    month = 30 * 86_400
    job_id = await _end(store, raw, name, result_seconds=month, failed_seconds=month, events_seconds=7200)
    assert await raw("PTTL", KEYS.job(job_id)) > (month - 60) * 1000
    if name == "finish":
        assert await raw("PTTL", KEYS.log(job_id)) > 7_000_000


async def test_a_log_lives_no_longer_than_its_job(store: JobStore, raw: RawRedis) -> None:
    """Whatever is said of events."""
    job_id = await _end(store, raw, "finish", result_seconds=60, events_seconds=3600)
    assert await raw("PTTL", KEYS.log(job_id)) <= 61_000


async def test_a_forced_end_is_kept_until_its_worker_has_reported(store: JobStore, raw: RawRedis) -> None:
    """For two leases, else nobody would know what it cost."""
    await settle(store, "org", result_seconds=1)
    await submit(store)
    held = await the_claim(store)
    await store.cancel(held.job_id, force=True)
    assert LEASE_MS * 2 - 1500 < await raw("PTTL", KEYS.job(held.job_id)) <= LEASE_MS * 2


async def _listed(store: JobStore, kind: EndedAs, organization: str | None) -> list[str]:
    found, _ = await store.ended_jobs.page(kind, organization, EndedFilter(), before=None, limit=10, searched_max=10)
    return [job.job_id for job in found]


@pytest.mark.parametrize("name", ["finish", "finish failed", "cancel a waiting one"])
async def test_after_its_time_nothing_is_left(store: JobStore, raw: RawRedis, name: str) -> None:
    """Record, log and listings: of its organisation and of all."""
    job_id = await _end(store, raw, name, result_seconds=2, failed_seconds=2)
    async with asyncio.timeout(30):
        while await raw("EXISTS", KEYS.job(job_id), KEYS.log(job_id)) or await raw(
            "EXISTS", KEYS.fixed("retention_timers")
        ):
            await store.maintenance.promote()
            await asyncio.sleep(0.05)
    for kind in EndedAs:
        assert await _listed(store, kind, "org") == []
        assert await _listed(store, kind, None) == []
    assert (await store.queries.jobs("org", limit=5)).jobs == []
    assert await raw("HGET", KEYS.prefix("failure_totals") + "org", "bytes") in (None, b"0")
    assert await raw("ZSCORE", KEYS.fixed("due"), "!") is None


async def test_a_prompt_may_live_shorter_than_its_result(store: JobStore, raw: RawRedis) -> None:
    """A timer takes it out; until then the job can be retried."""
    job_id = await _end(store, raw, "finish failed", prompt_seconds=1)
    assert b"ask me" in await raw("HGET", KEYS.job(job_id), "spec")
    assert (await store.maintenance.promote()).next_ms is not None
    async with asyncio.timeout(30):
        while b"ask me" in await raw("HGET", KEYS.job(job_id), "spec"):
            await store.maintenance.promote()
            await asyncio.sleep(0.05)
    assert not await store.ended_jobs.redrivable(job_id, "org")


async def test_many_timers_are_met_some_at_a_time(store: JobStore, raw: RawRedis) -> None:
    """However many are due, a call takes 64 of them and asks for the next; one that is damaged holds none up."""
    await settle(store, "org", prompt_seconds=60)
    await submit(store, 150, prompt="ask me")
    held = [*await claim(store, 100), *await claim(store, 100)]
    for one in held:
        await fail(store, one)
    timers = KEYS.fixed("retention_timers")
    assert await raw("ZCARD", timers) == len(held) == 150
    await raw("DEL", KEYS.job(held[0].job_id))
    await raw("SET", KEYS.job(held[0].job_id), "no hash")
    for member in await raw("ZRANGE", timers, 0, -1):
        await raw("ZADD", timers, 1, member)
    await raw("ZADD", KEYS.fixed("due"), 1, "!")
    assert (await store.maintenance.promote()).next_ms == 1
    assert await raw("ZCARD", timers) == 150 - 64
    async with asyncio.timeout(30):
        while await raw("EXISTS", timers):
            await store.maintenance.promote()
    assert {b"ask me" in await raw("HGET", KEYS.job(one.job_id), "spec") for one in held[1:]} == {False}


async def test_a_change_counts_for_jobs_that_run(store: JobStore, raw: RawRedis) -> None:
    """Those that were claimed under a retention end by the one that is set then, or by none."""
    await settle(store, "org", result_seconds=5000)
    shorter, default = await claim_one(store), await claim_one(store)
    await settle(store, "org", result_seconds=50)
    await complete(store, shorter)
    await settle(store, "org", result_seconds=None)
    await complete(store, default)
    assert await raw("PTTL", KEYS.job(shorter.job_id)) <= 51_000
    assert await raw("PTTL", KEYS.job(default.job_id)) > 80_000_000


async def test_the_audit_shortens_lives_of_before(store: JobStore, raw: RawRedis) -> None:
    """Records that ended, or ran, before the settings; it makes none longer."""
    failed, running = await claim_one(store), await claim_one(store)
    (other,) = await submit(store, organization="other")
    await store.cancel(other)
    await fail(store, failed)
    await settle(store, "org", result_seconds=100, failed_seconds=200, prompt_seconds=0)
    await complete(store, running)
    assert await raw("PTTL", KEYS.job(running.job_id)) > 80_000_000
    await store.maintenance.audit("w1")
    assert 150_000 < await raw("PTTL", KEYS.job(failed.job_id)) <= 200_000
    assert 50_000 < await raw("PTTL", KEYS.job(running.job_id)) <= 100_000
    assert b'"prompt":""' in await raw("HGET", KEYS.job(failed.job_id), "spec")
    assert await raw("PTTL", KEYS.job(other)) > 80_000_000

    await raw("PEXPIRE", KEYS.job(failed.job_id), 10_000)
    await raw("DEL", KEYS.fixed("audit"))
    await store.maintenance.audit("w1")
    assert await raw("PTTL", KEYS.job(failed.job_id)) <= 10_000


async def test_usage_lives_for_its_days(store: JobStore, raw: RawRedis) -> None:
    """A day's sums end so many days after it: those that are there, and those that are summed up later."""
    today = int((await raw("TIME"))[0]) // 86_400
    old = KEYS.usage("org", today - 20)
    await raw("HSET", old, "p openai:gpt-a", "1 1 1 0 5 0 0")
    await settle(store, "org", usage_days=30)
    assert await raw("PEXPIRETIME", old) == (today - 20 + 31) * DAY_MS
    await settle(store, "org", usage_days=10)
    assert await raw("EXISTS", old) == 0
    for number in range(300):
        organization = "org" if number % 2 else "other"
        await submit(store, organization=organization)
        await end_with(store, await the_claim(store), used_outcome(1, cost=0.001))
    days = {today, int((await raw("TIME"))[0]) // 86_400}
    found = {day: await raw("PEXPIRETIME", KEYS.usage("org", day)) for day in days}
    assert {day: (day + 11) * DAY_MS for day, at in found.items() if at > 0} == {
        day: at for day, at in found.items() if at > 0
    }
    assert any(at > 0 for at in found.values())
    others = [await raw("PTTL", KEYS.usage("other", day)) for day in days]
    assert max(others) > 300 * DAY_MS


async def _commands(url: str, **settings: int | None) -> Counter[str]:
    """Commands of each script for one life of a job."""
    counted: Counter[str] = Counter()

    def observe(verb: str, commands: int) -> None:
        counted[verb] += commands

    async with open_store(StoreSettings(redis_url=url), client_name="metered", observer=observe) as store:
        await settle(store, "org", **settings)
        await complete(store, await claim_one(store))
        counted.clear()
        await complete(store, await claim_one(store))
        await fail(store, await claim_one(store))
        (waiting,) = await submit(store)
        await store.cancel(waiting)
        held = await claim_one(store)
        await store.cancel(held.job_id, force=True)
    return counted


async def test_an_organisation_without_retention_costs_no_command_more(url: str) -> None:
    """An organisation with other settings ends its jobs with as many commands as one with none."""
    plain = await _commands(url)
    other = await _commands(url, queued_jobs=100)
    assert {verb: plain[verb] for verb in ("finish", "requeue")} == {
        verb: other[verb] for verb in ("finish", "requeue")
    }
    kept = await _commands(url, queued_jobs=None, result_seconds=60)
    assert plain["finish"] < kept["finish"] <= plain["finish"] + 11
