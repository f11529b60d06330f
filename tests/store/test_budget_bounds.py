"""Bounds of what an attempt may cost: by its gate, by its length, and by a limit of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport
from shared.store.transitions import Reroute
from tests.support.budgets import CALL, Sums, budgeted_store, end, priced, requeue, today_of, used
from tests.support.checks import RawRedis
from tests.support.gates import A, B
from tests.support.store import KEYS, claim, error_of, settle, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """See `budgeted_store`."""
    async with budgeted_store(url) as opened:
        yield opened


@pytest.fixture
async def gated(url: str) -> AsyncIterator[JobStore]:
    """The same with gates that can be blocked."""
    async with budgeted_store(url, gated=True) as opened:
        yield opened


async def test_a_dearer_fallback_raises_the_reservation(store: JobStore, raw: RawRedis) -> None:
    """The cost of the failed call stays in it; the end settles all."""
    await submit(store)
    (held,) = await claim(store)
    found = await store.reroute(
        Reroute(held, A, CallReport.FAILED, retry_after_ms=None, candidates=[B], spent=used(1000))
    )
    assert (found.state, found.gate, found.bound) == ("go", B, 3 * CALL)
    assert await today_of(raw) == Sums(0, 1000 + 3 * CALL)
    await end(store, held, 1000 + 2 * CALL)
    assert await today_of(raw) == Sums(1000 + 2 * CALL, 0)


async def test_a_job_waits_whose_fallback_finds_no_room(store: JobStore, raw: RawRedis) -> None:
    """It is in its backlog, without an attempt less, and comes again when there is room."""
    await submit(store, 9)
    held = await claim(store, 50)
    found = await store.reroute(
        Reroute(held[0], A, CallReport.FAILED, retry_after_ms=None, candidates=[B], spent=used(7))
    )
    assert found.state == "throttled"
    assert await today_of(raw) == Sums(7, 8 * CALL)
    assert await claim(store) == []
    await end(store, held[1], 0)
    assert await claim(store) == []
    await end(store, held[2], 0)
    (again,) = await claim(store)
    assert (again.job_id, again.attempt) == (held[0].job_id, 1)


async def test_a_claim_at_a_dearer_gate_reserves_its_price(gated: JobStore, raw: RawRedis) -> None:
    """Or waits for the budget, if it has too little left for that."""
    await submit(gated, 1, route=(A,))
    (held,) = await claim(gated)
    await gated.reroute(Reroute(held, A, CallReport.LIMITED, retry_after_ms=60_000, candidates=[], chain=[A]))
    await submit(gated, 4)
    claims = await claim(gated, 50)
    assert [(one.gate, one.bound) for one in claims] == [(B, 3 * CALL)] * 3
    assert await today_of(raw) == Sums(0, 9 * CALL)


async def test_a_gate_of_unknown_price_counts_as_the_dearest(url: str) -> None:
    """Unless it is marked as unpriced."""
    known = priced(A, B)
    for unpriced, bound in (((), 3 * CALL), (("x:y",), 0)):
        paths = type(known)(
            chain=("x:y", A, B), prices=known.prices, outputs={"x:y": known.outputs[A]}, unpriced=unpriced
        )
        async with open_store(StoreSettings(redis_url=url), client_name="t", routing=paths) as opened:
            await settle(opened, "org", day_nano_usd=10 * CALL)
            await submit(opened)
            (held,) = await claim(opened)
            assert (held.gate, held.bound, held.budgeted) == ("x:y", bound, True)
            await end(opened, held, 1)


async def test_input_and_thoughts_count(url: str) -> None:
    """A token for each byte of the specification, the limit asked for, and the thoughts of the effort; never more than
    the model writes."""
    known = priced(A)
    output = type(known.outputs[A])(most=1000, thoughts=(1, 20, 300, 900))
    paths = type(known)(chain=(A,), prices={A: (1.0, 1000.0)}, outputs={A: output})
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=paths) as opened:
        await settle(opened, "org", day_nano_usd=10**12)
        for asked, written in (
            ({}, 1000), ({"max_tokens": 50}, 51), ({"max_tokens": 50, "effort": "medium"}, 350),
            ({"max_tokens": 500, "effort": "high"}, 1000), ({"max_tokens": 50, "prompt": '"effort":"high"'}, 51),
        ):  # fmt: skip
            await submit(opened, prompt=asked.pop("prompt", "x" * 5000), **asked)
            (held,) = await claim(opened)
            assert held.bound is not None
            size, exact = divmod(held.bound - written * 1000, 1)
            assert exact == 0
            assert len(held.spec.prompt) < size < len(held.spec.prompt) + 600
            await end(opened, held, 1)


async def test_a_job_has_a_limit_of_its_own(store: JobStore) -> None:
    """Attempts that do not fit into what is left of it are not made: the job fails and keeps its cost."""
    (job_id,) = await submit(store, max_cost_usd=2 * CALL / 1e9, organization="free")
    (held,) = await claim(store)
    assert (held.bound, held.budgeted) == (CALL, False)
    await requeue(store, held, CALL)
    (held,) = await claim(store)
    await requeue(store, held, CALL + 1)
    assert await claim(store) == []
    assert await error_of(store, job_id) == "BudgetExceeded"
    ended = await store.status(job_id)
    assert ended is not None
    assert ended.outcome is not None
    assert ended.outcome.cost_usd == pytest.approx((CALL + 1) / 1e9, abs=1e-12)


async def test_a_limited_job_passes_cheap_gates_alone(store: JobStore) -> None:
    """A gate that its limit does not allow is no fallback, neither at the claim nor for a call that failed."""
    await submit(store, max_cost_usd=2 * CALL / 1e9)
    (held,) = await claim(store)
    assert held.route == (A,)
    found = await store.reroute(Reroute(held, A, CallReport.FAILED, retry_after_ms=None, candidates=[B], spent=used(5)))
    assert found.state == "stay"
    await submit(store, max_cost_usd=2 * CALL / 1e9, route=(B, A))
    assert [one.gate for one in await claim(store)] == [A]


async def test_the_budget_is_asked_before_the_gates(gated: JobStore, raw: RawRedis) -> None:
    """A job that is held takes no share of a gate's limits."""
    (job_id,) = await submit(gated)
    await settle(gated, "org", day_nano_usd=0)
    assert await claim(gated) == []
    assert await raw("HGET", KEYS.job(job_id), "entry") == b"b"
    state = await raw("HGET", KEYS.fixed("gates"), A) or b"0 0 0 0 0 0 0"
    assert state.split()[6] == b"0"
