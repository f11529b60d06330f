"""Tokens a minute of an organisation at each gate: its jobs wait, and nobody else's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport, WaitReason
from shared.store.routing import Routing
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, free, reroute, routing
from tests.support.organization_counts import miscounted
from tests.support.store import KEYS, claim, new_job, settle, submit

PER_MINUTE: Final = 3000
SMALL: Final[dict[str, Any]] = {"prompt": "x" * 200, "max_tokens": 1}
"""A call of about 70 tokens, which are paid in 1.5 s."""

UNGATED = Routing(chain=(A,))
pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.fixture(params=[UNGATED, routing(A), routing(A, tpm=6_000_000)], ids=["ungated", "gated", "limited"])
async def worker(request: pytest.FixtureRequest, url: str, raw: RawRedis) -> AsyncIterator[JobStore]:
    """A store of a worker with one gate, which is used at full speed."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=request.param) as opened:
        await free(raw, A)
        yield opened


async def _organizations(store: JobStore, limit: int = 50) -> list[str]:
    """Of the jobs that start now."""
    return [held.spec.organization_id for held in await claim(store, limit)]


async def _starts(store: JobStore, count: int) -> list[float]:
    """When so many jobs started (monotonic, s)."""
    found = list[float]()
    async with asyncio.timeout(30):
        while len(found) < count:
            found += [time.monotonic() for _ in await claim(store)]
            await asyncio.sleep(0.02)
    return found


async def test_jobs_above_the_limit_wait_and_say_why(worker: JobStore, raw: RawRedis) -> None:
    """One starts, two wait for their organisation's limit at the gate, and go on when its tokens are paid."""
    await settle(worker, "a", tokens_per_minute=PER_MINUTE)
    ids = await submit(worker, 3, organization="a", **SMALL)
    claimed = await worker.claim("w1", 50, poll=True, suspect=True)
    assert ([held.job_id for held in claimed.claims], 500 < (claimed.next_ms or 0) < 3_000) == (ids[:1], True)
    reasons = [await worker.queries.waiting(job_id) for job_id in ids[1:]]
    seconds, _ = await raw("TIME")
    for ahead, waiting in enumerate(reasons):
        assert waiting is not None
        assert (waiting.reason, waiting.gate, waiting.ahead) == (WaitReason.ORGANIZATION_LIMIT, A, ahead)
        assert 0 < (waiting.until_ms or 0) - int(seconds) * 1000 < 3_000
    assert await breaches(worker, raw, ids) == []
    assert await miscounted(raw, ids) == []
    first, second = await _starts(worker, 2)
    assert second - first > 0.5


async def test_another_organisation_does_not_wait(worker: JobStore) -> None:
    """A gate where one has used its tokens and has hundreds of jobs lets another's pass at once, new ones too."""
    await settle(worker, "a", tokens_per_minute=10)
    await submit(worker, 200, organization="a")
    assert await _organizations(worker) == ["a"]
    for _ in range(3):
        await submit(worker, 2, organization="b")
        assert await _organizations(worker) == ["b", "b"]


async def test_those_behind_one_that_rests_are_let_go(worker: JobStore, raw: RawRedis) -> None:
    """All waited for a gate that was blocked: it goes on with those that may use it."""
    await settle(worker, "a", tokens_per_minute=10)
    await block(worker, A)
    await submit(worker, 5, "high", organization="a")
    await submit(worker, 3, organization="b")
    found = list[str]()
    await free(raw, A)
    async with asyncio.timeout(30):
        while len(found) < 4:
            found += await _organizations(worker)
    assert sorted(found) == ["a", "b", "b", "b"]


async def test_an_organisations_older_jobs_go_first(worker: JobStore, raw: RawRedis) -> None:
    """A new job does not overtake those of its own organisation that wait, when the tokens are paid."""
    await settle(worker, "a", tokens_per_minute=PER_MINUTE)
    ids = await submit(worker, 2, organization="a", **SMALL)
    assert await _organizations(worker) == ["a"]
    async with asyncio.timeout(30):
        while await raw("EXISTS", KEYS.prefix("token_clock") + f"a:{A}"):
            await asyncio.sleep(0.02)
    ids += await submit(worker, 1, organization="a", **SMALL)
    # Woken by a new job, a worker polls no gate that has no limits of its own.
    (held,) = await claim(worker, 50, poll=False) or await claim(worker)
    assert held.job_id == ids[1]


@pytest.mark.parametrize("used", [10_000, 0])
async def test_the_difference_to_the_reservation_is_charged(worker: JobStore, raw: RawRedis, used: int) -> None:
    """Tokens above the reservation of a call are taken from the next minutes; those that it did not use are given back
    at once, to jobs that wait already too."""
    await settle(worker, "a", tokens_per_minute=PER_MINUTE)
    ids = await submit(worker, 2, organization="a", **SMALL)
    (held,) = await claim(worker)
    assert (held.token_limit, 60 < held.reserved < 100) == (PER_MINUTE, True)
    more = used - held.reserved
    await worker.report(A, CallReport.NONE, tokens=more, organization_id="a", token_limit=held.token_limit)
    waiting = await worker.queries.waiting(ids[1])
    if more < 0:
        assert await raw("ZCARD", KEYS.prefix("wake") + A) > 0
        assert await _organizations(worker) == ["a"]
        return
    assert waiting is not None
    seconds, _ = await raw("TIME")
    assert (waiting.until_ms or 0) / 1000 - int(seconds) > 180


@pytest.mark.parametrize(("prompt", "reserved"), [(10, 6_000), (80_000, 20_000)])
async def test_a_reservation_is_a_tenth_of_the_tighter_limit_or_the_prompt(
    worker: JobStore, prompt: int, reserved: int
) -> None:
    """Of the gate's limit and the organisation's, whichever is tighter."""
    await settle(worker, "a", tokens_per_minute=60_000)
    await worker.submit(new_job(organization="a", prompt="x" * prompt, max_tokens=1_000_000))
    (held,) = await claim(worker)
    assert reserved <= held.reserved < reserved + 100


async def test_a_changed_limit_holds_for_tokens_that_were_used(worker: JobStore, raw: RawRedis) -> None:
    """A debt of days shrinks with the limit that is raised; without a limit new jobs start at once."""
    await settle(worker, "a", tokens_per_minute=1)
    ids = await submit(worker, 2, organization="a")
    assert await _organizations(worker) == ["a"]
    before = await worker.queries.waiting(ids[1])
    await settle(worker, "a", tokens_per_minute=1000)
    after = await worker.queries.waiting(ids[1])
    assert before is not None
    assert after is not None
    now = int((await raw("TIME"))[0]) * 1000
    assert (before.until_ms or 0) - now > 300 * ((after.until_ms or 0) - now)
    await settle(worker, "a", tokens_per_minute=None)
    await submit(worker, 1, organization="a")
    assert "a" in await _organizations(worker)


async def test_the_fleets_default_holds_where_none_is_settled(url: str) -> None:
    """A limit of 0 of its own frees an organisation from the default."""
    settings = StoreSettings(redis_url=url, organization_tokens_per_minute=10)
    async with open_store(settings, client_name="t", routing=UNGATED) as store:
        await settle(store, "free", tokens_per_minute=0)
        for name in ("a", "b", "free"):
            await submit(store, 3, organization=name)
        assert sorted(await _organizations(store)) == ["a", "b", "free", "free", "free"]


@pytest.mark.parametrize("route", [(), (A, B)], ids=["fleet", "own"])
async def test_each_gate_has_its_own_clock(two: JobStore, raw: RawRedis, route: tuple[str, ...]) -> None:
    """A job goes to the next gate of its chain; when the limit is used at both it waits for the first that is paid."""
    await free(raw, A, B)
    await settle(two, "a", tokens_per_minute=PER_MINUTE)
    await submit(two, 4, organization="a", **SMALL, route=route)
    held = await claim(two)
    assert [one.gate for one in held] == [A, B]
    assert [passed.reason for passed in held[1].passed_over] == ["organization_limit"]
    began = time.monotonic()
    await _starts(two, 2)
    assert 0.5 < time.monotonic() - began < 10


async def test_a_gate_serves_others_beside_jobs_that_another_gate_takes(two: JobStore, raw: RawRedis) -> None:
    """An organisation is at its limit at the first gate, the second is blocked: another's jobs do not wait for that."""
    await free(raw, A)
    await block(two, B, ms=2_000)
    await settle(two, "a", tokens_per_minute=10)
    await submit(two, 30, "high", organization="a")
    await submit(two, 2, organization="b")
    assert sorted(await _organizations(two)) == ["a", "b", "b"]
    # What was throttled for the blocked gate goes there once it is available.
    async with asyncio.timeout(30):
        while not (held := await claim(two)):
            await asyncio.sleep(0.05)
    assert {(one.gate, one.spec.organization_id) for one in held} == {(B, "a")}


async def test_a_fallback_is_charged_where_it_goes(two: JobStore, raw: RawRedis) -> None:
    """A call that failed goes on at the next gate only while its organisation has tokens there."""
    await free(raw, A, B)
    await settle(two, "a", tokens_per_minute=10)
    await submit(two, 2, organization="a")
    first, second = sorted(await claim(two), key=lambda one: one.gate, reverse=True)
    assert (first.gate, second.gate) == (A, B)
    assert await reroute(two, first, CallReport.LIMITED, B, retry_ms=10) == ("throttled", "")


@pytest.mark.parametrize("routes", [UNGATED, routing(A)], ids=["ungated", "gated"])
async def test_a_claim_does_not_check_those_that_rest(url: str, raw: RawRedis, routes: Routing) -> None:
    """However many organisations are at their limits, a claim sends as many commands as beside one."""
    sent = {"claim": 0}

    def observe(verb: str, commands: int) -> None:
        if verb == "claim":
            sent["claim"] = commands

    settings = StoreSettings(redis_url=url, organization_tokens_per_minute=10)
    async with open_store(settings, client_name="t", routing=routes, observer=observe) as store:
        await free(raw, A)
        await settle(store, "free", tokens_per_minute=0)
        found = []
        for count in (1, 150):
            for number in range(count):
                await submit(store, 2, organization=f"{count}-{number}")
            while await claim(store):
                pass
            await submit(store, organization="free")
            assert await _organizations(store) == ["free"]
            found.append(sent["claim"])
    assert found[1] <= found[0]


async def test_rests_end_some_in_each_call(url: str, raw: RawRedis) -> None:
    """Hundreds whose tokens are paid at the same moment start without a call that takes all of them at once."""
    settings = StoreSettings(redis_url=url, organization_tokens_per_minute=PER_MINUTE)
    async with open_store(settings, client_name="t", routing=UNGATED) as store:
        ids = []
        for number in range(150):
            ids += await submit(store, 2, organization=f"{number}", **SMALL)
        assert len(await _starts(store, 300)) == 300
        assert await breaches(store, raw, ids) == []


async def test_it_is_forgotten_with_its_organisation(worker: JobStore) -> None:
    """Its clocks are among the keys that a deletion finds."""
    await settle(worker, "gone", tokens_per_minute=10)
    await submit(worker, organization="gone")
    await claim(worker)
    keys = [name async for _, names in worker.erasure.pieces("gone") for name in names]
    assert KEYS.prefix("token_clock") + f"gone:{A}" in keys
