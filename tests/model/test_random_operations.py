"""Workers do random things in random order; after every step the store agrees with a model (I1-I4, I6, I7, I10)."""

from __future__ import annotations

import msgspec
import pytest

from shared.job import JobStatus, Outcome
from shared.settings import StoreSettings
from shared.store.job_store import open_store
from shared.store.routing import GateLimits, Routing
from shared.store.transitions import Finish
from tests.model.play import GATES, Play
from tests.support.breaches import breaches
from tests.support.budgets import priced, today_of, true_sums
from tests.support.checks import RawRedis
from tests.support.organization_counts import miscounted
from tests.support.store import all_delayed, drain, make_due, settle

STEPS = 120

LIMITS = tuple(GateLimits(gate=gate, requests_per_minute=60_000, tokens_per_minute=100_000_000) for gate in GATES)
"""High enough to pass most jobs and low enough to stop some."""

PRICED = priced(*GATES)
GATED = msgspec.structs.replace(PRICED, limits=LIMITS)
ROUTINGS = (Routing(), GATED, PRICED, GATED)
"""Without gates nothing costs anything. In all others `a` has a budget."""


async def _check_budget(play: Play) -> None:
    """The sums are those of the records; what may still come fits into the budget."""
    kept = await today_of(play.raw, "a")
    assert kept == await true_sums(play.raw, list(play.model.states), "a")
    assert kept.spent + kept.reserved <= play.budget


async def _check_events(play: Play) -> None:
    """Every job's events come once and in order, from the beginning and from any of them on (I10)."""
    for job_id in play.model.states:
        events = (await play.store.events.read(job_id, None)).events
        ids = [event.id for event in events]
        assert len(set(ids)) == len(ids)
        position = play.chance.randrange(len(events))
        rest = await play.store.events.read(job_id, ids[position])
        assert (rest.gap, rest.events) == (False, events[position + 1 :])


@pytest.mark.parametrize("seed", range(8))
async def test_the_store_agrees_with_the_model(redis_url: str, seed: int) -> None:
    """After each of many random steps states, counts and leases are as the model says; in the end every job ends. Every
    other run has gates."""
    routing = ROUTINGS[seed % 4]
    settings = StoreSettings(redis_url=redis_url, lease_seconds=2.0)
    async with open_store(settings, client_name="model", routing=routing) as store, RawRedis(redis_url) as raw:
        play = Play(store, raw, seed, gated=bool(routing.limits))
        if routing.chain:
            await play.change_budget()
        await store.claim("finder", 1, poll=True, suspect=False)
        for _ in range(STEPS):
            await play.step()
            assert await miscounted(raw, list(play.model.states)) == []
            if play.budget:
                await _check_budget(play)
            stats = await store.queries.stats()
            assert {state: getattr(stats, state) for state in JobStatus} == {
                state: list(play.model.states.values()).count(state) for state in JobStatus
            }
        assert await breaches(store, raw, list(play.model.states)) == []
        await _check_events(play)
        for held in list(play.model.holders.values()):
            await store.finish(Finish(held, JobStatus.COMPLETED, Outcome(), number=2, offset=0, run_ms=1))
        if play.budget:
            await settle(store, "a", month_nano_usd=None)
        await make_due(raw, *await all_delayed(raw))
        while (await store.queries.stats()).queued:
            await play.unblock_gates()
            await drain(store)
        assert await breaches(store, raw, list(play.model.states)) == []
