"""Budgets: what an attempt may cost is reserved at its claim and settled at its end, whatever end that is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shared.errors import BudgetExceeded
from shared.job import Claim, JobStatus, RetryReason
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport
from shared.store.transitions import Requeue, Reroute
from tests.support.budgets import CALL, Sums, end, priced, sums_of, today_of, used
from tests.support.checks import RawRedis
from tests.support.gates import A, B
from tests.support.store import (
    ERROR,
    KEYS,
    claim,
    error_of,
    lose,
    make_overdue,
    make_stale,
    settle,
    status_of,
    submit,
)

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """A worker with two priced gates, the second dearer, and an organisation that may spend ten calls of the first."""
    settings = StoreSettings(redis_url=url, lease_seconds=2.0)
    async with open_store(settings, client_name="t", routing=priced(A, B)) as opened:
        await settle(opened, "org", day_nano_usd=10 * CALL)
        yield opened


@pytest.fixture
async def gated(url: str) -> AsyncIterator[JobStore]:
    """The same with gates that can be blocked."""
    settings = StoreSettings(redis_url=url, lease_seconds=2.0)
    async with open_store(settings, client_name="t", routing=priced(A, B, gated=True)) as opened:
        await settle(opened, "org", day_nano_usd=10 * CALL)
        yield opened


async def _requeue(store: JobStore, held: Claim, cost: int | None, delay_ms: int = 0, *, drain: bool = False) -> None:
    reason = RetryReason.DRAIN if drain else RetryReason.ERROR
    await store.requeue(Requeue(held, reason, delay_ms=delay_ms, refund=drain, error=ERROR, spent=used(cost)))


async def test_a_claim_reserves_the_bound_and_an_end_leaves_the_cost(store: JobStore, raw: RawRedis) -> None:
    """While the job runs the bound counts, then its cost; the month has the same."""
    await submit(store)
    (held,) = await claim(store)
    assert (held.bound, held.budgeted) == (CALL, True)
    assert await today_of(raw) == Sums(0, CALL)
    await end(store, held, 12_345)
    assert await today_of(raw) == Sums(12_345, 0)


async def test_an_organisation_without_a_budget_keeps_no_sums(store: JobStore, raw: RawRedis) -> None:
    """No key, no reservation, no bound, also for one that has other settings."""
    await settle(store, "other", weight=2)
    await submit(store, organization="other")
    (held,) = await claim(store)
    assert (held.bound, held.budgeted) == (None, False)
    await end(store, held, 5)
    assert await raw("EXISTS", KEYS.prefix("budget") + "other") == 0
    assert await raw("HEXISTS", KEYS.job(held.job_id), "reserved") == 0


async def _finish(store: JobStore, raw: RawRedis, held: Claim) -> int:
    await end(store, held, 700, JobStatus.FAILED)
    return 700


async def _finish_unknown(store: JobStore, raw: RawRedis, held: Claim) -> int:
    await end(store, held, None)
    return CALL


async def _retry(store: JobStore, raw: RawRedis, held: Claim) -> int:
    await _requeue(store, held, 300)
    (again,) = await claim(store)
    assert await today_of(raw) == Sums(300, CALL)
    await end(store, again, 450)
    return 450


async def _retry_later(store: JobStore, raw: RawRedis, held: Claim) -> int:
    await _requeue(store, held, 300, 3_600_000)
    return 300


async def _drain(store: JobStore, raw: RawRedis, held: Claim) -> int:
    await _requeue(store, held, 40, drain=True)
    return 40


async def _last_attempt(store: JobStore, raw: RawRedis, held: Claim) -> int:
    await _requeue(store, held, 10)
    (again,) = await claim(store)
    await _requeue(store, again, 30)
    (last,) = await claim(store)
    await _requeue(store, last, 60)
    assert await status_of(store, held.job_id) is JobStatus.FAILED
    return 60


async def _rerouted(store: JobStore, raw: RawRedis, held: Claim) -> int:
    reroute = Reroute(held, A, CallReport.LIMITED, retry_after_ms=60_000, candidates=[], chain=[A], spent=used(20))
    assert (await store.reroute(reroute)).state == "throttled"
    return 20


async def _lost(store: JobStore, raw: RawRedis, held: Claim) -> int:
    """Eight bytes are two tokens."""
    await store.append(held, 2, "8 bytes.")
    await lose(store, raw, held)
    return 2000


async def _lost_and_run_again(store: JobStore, raw: RawRedis, held: Claim) -> int:
    """The next worker adds the lost text to its own cost: it counts once."""
    await _lost(store, raw, held)
    (again,) = await claim(store)
    await end(store, again, 2000 + 500)
    return 2500


async def _lost_cancelled(store: JobStore, raw: RawRedis, held: Claim) -> int:
    await store.append(held, 2, "8 bytes.")
    await store.cancel(held.job_id)
    await lose(store, raw, held)
    assert await status_of(store, held.job_id) is JobStatus.CANCELLED
    return 2000


async def _forced(store: JobStore, raw: RawRedis, held: Claim) -> int:
    """While nothing is known, the bound counts."""
    await store.cancel(held.job_id, force=True)
    return CALL


async def _forced_and_settled(store: JobStore, raw: RawRedis, held: Claim) -> int:
    """The worker's late report corrects it, once."""
    await store.cancel(held.job_id, force=True)
    for _ in range(2):
        with pytest.raises(Exception, match=held.job_id):
            await end(store, held, 80)
    return 80


async def _forced_and_audited(store: JobStore, raw: RawRedis, held: Claim) -> int:
    """A worker that never reports is estimated by its text."""
    await store.append(held, 2, "8 bytes.")
    await store.cancel(held.job_id, force=True)
    await raw("HSET", KEYS.job(held.job_id), "ended", 1)
    await store.maintenance.audit("w1")
    return 2000


async def _forced_deleted(store: JobStore, raw: RawRedis, held: Claim) -> int:
    await store.cancel(held.job_id, force=True)
    assert await store.delete(held.job_id)
    return CALL


async def _overdue(store: JobStore, raw: RawRedis, held: Claim) -> int:
    """A deadline that passes after an attempt."""
    await _requeue(store, held, 90)
    await raw("HSET", KEYS.job(held.job_id), "deadline", 1)
    assert await claim(store) == []
    assert await error_of(store, held.job_id) == "DeadlineExceeded"
    return 90


async def _cancelled_waiting(store: JobStore, raw: RawRedis, held: Claim) -> int:
    await _requeue(store, held, 90, 3_600_000)
    assert (await store.cancel(held.job_id)).state == "cancelled"
    return 90


async def _entry_without_lease(store: JobStore, raw: RawRedis, held: Claim) -> int:
    """The audit gives it a new entry: what it cost is not known to anybody."""
    await raw("XACK", KEYS.fixed("line"), "workers", held.token[1:])
    await store.maintenance.audit("w1")
    assert await status_of(store, held.job_id) is JobStatus.QUEUED
    return 0


ENDS: dict[str, Callable[[JobStore, RawRedis, Claim], Awaitable[int]]] = {
    end_.__name__.strip("_"): end_
    for end_ in (
        _finish, _finish_unknown, _retry, _retry_later, _drain, _last_attempt, _rerouted, _lost, _lost_and_run_again,
        _lost_cancelled, _forced, _forced_and_settled, _forced_and_audited, _forced_deleted, _overdue,
        _cancelled_waiting, _entry_without_lease,
    )
}  # fmt: skip


@pytest.mark.parametrize("how", ENDS)
async def test_a_reservation_ends_with_its_lease(store: JobStore, raw: RawRedis, how: str) -> None:
    """Whatever ended it, nothing stays reserved, and the sums have what is known of the cost."""
    await submit(store)
    (held,) = await claim(store)
    spent = await ENDS[how](store, raw, held)
    assert await today_of(raw) == Sums(spent, 0)
    # The audit finds nothing to correct.
    assert await store._calls.run("audit_budgets", entries_max=1000) == 0
    assert await today_of(raw) == Sums(spent, 0)


async def test_jobs_start_for_as_long_as_there_is_room(store: JobStore, raw: RawRedis) -> None:
    """Ten bounds fit; the others wait in the backlog, and each end that frees enough lets one more in."""
    ids = await submit(store, 15)
    held = await claim(store, 50)
    assert len(held) == 10
    assert await claim(store, 50) == []
    assert await today_of(raw) == Sums(0, 10 * CALL)
    await end(store, held[0], CALL // 2)
    assert await claim(store, 50) == []
    await end(store, held[1], CALL // 2)
    (more,) = await claim(store, 50)
    assert await today_of(raw) == Sums(CALL, 9 * CALL)
    for one in (*held[2:], more):
        await end(store, one, CALL)
    assert await today_of(raw) == Sums(10 * CALL, 0)
    assert await claim(store, 50) == []
    assert {await status_of(store, job_id) for job_id in ids} == {JobStatus.COMPLETED, JobStatus.QUEUED}


async def test_others_run_while_one_organisation_waits_for_its_budget(store: JobStore) -> None:
    """No slot stays free, and no claim goes round in circles."""
    await submit(store, 30)
    await submit(store, 5, organization="other")
    held = await claim(store, 50)
    assert sum(one.spec.organization_id == "other" for one in held) == 5
    assert len(held) == 15


async def test_a_raised_budget_lets_in(store: JobStore) -> None:
    """At once, by the change itself; so does taking it away."""
    await submit(store, 30)
    assert len(await claim(store, 50)) == 10
    await settle(store, "org", day_nano_usd=12 * CALL)
    assert len(await claim(store, 50)) == 2
    await settle(store, "org", day_nano_usd=None)
    assert len(await claim(store, 50)) == 18


async def test_a_budget_of_nothing_starts_nothing(store: JobStore) -> None:
    """Jobs that were taken before wait until it is raised; new ones are refused."""
    (job_id,) = await submit(store)
    await settle(store, "org", day_nano_usd=0)
    assert await claim(store) == []
    assert await status_of(store, job_id) is JobStatus.QUEUED
    with pytest.raises(BudgetExceeded):
        await submit(store)
    await settle(store, "org", day_nano_usd=CALL)
    assert len(await claim(store)) == 1


async def _next_day(raw: RawRedis, organization: str = "org") -> None:
    """Let the present day and month be over."""
    key = KEYS.prefix("budget") + organization
    for name, sums in (await sums_of(raw, organization)).items():
        before = f"d{int(name[1:]) - 1}" if name[0] == "d" else "m197001"
        await raw("HDEL", key, name)
        await raw("HSET", key, before, f"{sums.spent} {sums.reserved}")
    held = KEYS.fixed("held_organizations")
    for member in await raw("ZRANGE", held, 0, -1):
        await raw("ZADD", held, 1, member)


async def test_a_new_period_lets_in(store: JobStore, raw: RawRedis) -> None:
    """The next promotion after its begin does."""
    await submit(store, 11)
    for one in await claim(store, 50):
        await end(store, one, CALL)
    await store.maintenance.promote()
    assert await claim(store) == []
    await _next_day(raw)
    await store.maintenance.promote()
    assert len(await claim(store)) == 1
    found = await sums_of(raw)
    assert sorted(sums for name, sums in found.items() if name[0] == "d") == [Sums(0, CALL), Sums(10 * CALL, 0)]


async def test_the_organisation_is_looked_at_when_its_period_ends(store: JobStore, raw: RawRedis) -> None:
    """A day's budget at midnight, in UTC, a month's at that of its first day; until then nobody asks again."""
    await submit(store, 11)
    await claim(store, 50)
    held, now = KEYS.fixed("held_organizations"), int((await raw("TIME"))[0])
    at = int(await raw("ZSCORE", held, "org"))
    assert at == (now // 86_400 + 1) * 86_400_000
    await settle(store, "org", day_nano_usd=None, month_nano_usd=10 * CALL)
    assert await claim(store) == []
    in_a_month = int(await raw("ZSCORE", held, "org"))
    assert at <= in_a_month <= at + 31 * 86_400_000


async def test_a_cheaper_job_with_priority_does_not_wait_for_a_dear_one(store: JobStore) -> None:
    """The next promotion lets it try."""
    await submit(store, 9, max_tokens=100)
    running = await claim(store, 50)
    await settle(store, "org", day_nano_usd=CALL * 19 // 2)
    await submit(store, max_tokens=100)
    assert await claim(store) == []
    await submit(store, 1, "high", max_tokens=10)
    await store.maintenance.promote()
    (cheap,) = await claim(store)
    assert (len(running), cheap.bound) == (9, CALL // 10)


async def test_a_cancelled_job_keeps_nobody_waiting(store: JobStore) -> None:
    """The job that found no room goes; one behind it that costs less is let in."""
    await submit(store, 9, max_tokens=100)
    assert len(await claim(store, 50)) == 9
    await settle(store, "org", day_nano_usd=CALL * 19 // 2)
    (dear,) = await submit(store, max_tokens=100)
    assert await claim(store) == []
    await submit(store, max_tokens=10)
    await store.maintenance.promote()
    assert await claim(store) == []
    await store.cancel(dear)
    await store.maintenance.promote()
    assert len(await claim(store)) == 1


async def test_a_waiting_job_meets_its_deadline(store: JobStore, raw: RawRedis) -> None:
    """Held jobs end as all others do."""
    await submit(store, 10)
    await claim(store, 50)
    (job_id,) = await submit(store, deadline_ms=60_000)
    assert await claim(store) == []
    await make_overdue(raw, job_id)
    await store.maintenance.promote()
    assert await error_of(store, job_id) == "DeadlineExceeded"


async def test_a_submit_is_refused_once_the_budget_is_spent(store: JobStore) -> None:
    """What is reserved does not count; the refusal names the period and the time until the next one."""
    await submit(store, 10)
    held = await claim(store, 50)
    await submit(store)
    for one in held:
        await end(store, one, CALL)
    with pytest.raises(BudgetExceeded) as refused:
        await submit(store)
    assert refused.value.period == "day"
    assert 0 < refused.value.retry_after_s <= 86_400


async def test_a_job_that_no_period_allows_is_refused(store: JobStore) -> None:
    """As soon as workers have told what their gates cost: the least of its chain counts. Until then its claim ends it."""
    await settle(store, "org", day_nano_usd=CALL // 2)
    (job_id,) = await submit(store)
    assert await claim(store) == []
    assert await error_of(store, job_id) == "BudgetExceeded"
    await store.maintenance.publish_bounds()
    with pytest.raises(BudgetExceeded) as refused:
        await submit(store)
    assert refused.value.period == "job"
    await submit(store, max_tokens=50)
    with pytest.raises(BudgetExceeded):
        await submit(store, max_tokens=50, route=(B,))


async def test_a_dearer_fallback_raises_the_reservation(store: JobStore, raw: RawRedis) -> None:
    """What the failed call cost stays in it; the end settles all."""
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


async def test_a_gate_of_unknown_price_counts_as_the_dearest(url: str, raw: RawRedis) -> None:
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


async def test_a_budget_begins_with_what_was_spent_before(store: JobStore, raw: RawRedis) -> None:
    """From the sums of usage and from the ledger's tail; then jobs that ran when it was set are added at their end, and
    those that waited for a retry at their next claim."""
    await submit(store, 3, organization="a")
    ended, running, retried = await claim(store, 50)
    await end(store, ended, 111)
    await _requeue(store, retried, 5)
    await settle(store, "a", month_nano_usd=10 * CALL)
    assert await today_of(raw, "a") == Sums(111, 0)
    (again,) = await claim(store)
    assert await today_of(raw, "a") == Sums(116, CALL)
    await end(store, again, 25)
    await end(store, running, 1000)
    for _ in range(300):
        await submit(store, organization="b")
        await end(store, (await claim(store))[0], 1)
    assert await today_of(raw, "a") == Sums(111 + 25 + 1000, 0)


async def test_the_audit_corrects_what_damage_left(store: JobStore, raw: RawRedis) -> None:
    """Reservations are those of running jobs; sums that are gone begin with the usage."""
    await submit(store, 3)
    held = await claim(store, 50)
    await end(store, held[0], 77)
    key = KEYS.prefix("budget") + "org"
    for field in await sums_of(raw):
        await raw("HSET", key, field, "77 123456")
    assert await store._calls.run("audit_budgets", entries_max=1000) == 1
    assert await today_of(raw) == Sums(77, 2 * CALL)
    await raw("DEL", key)
    await raw("SET", key, "broken")
    await store.maintenance.audit("w1")
    assert await today_of(raw) == Sums(77, 2 * CALL)
    assert await store._calls.run("audit_budgets", entries_max=1) == -1


async def test_a_lost_answer_to_a_claim_reserves_once(store: JobStore, raw: RawRedis) -> None:
    """The repeated claim answers the same bound."""
    await submit(store)
    (held,) = await claim(store)
    (again,) = await claim(store, known=[])
    assert (again.token, again.bound, again.budgeted) == (held.token, CALL, True)
    assert await today_of(raw) == Sums(0, CALL)


async def test_a_job_has_a_limit_of_its_own(store: JobStore) -> None:
    """Attempts that do not fit into what is left of it are not made: the job fails and keeps its cost."""
    (job_id,) = await submit(store, max_cost_usd=2 * CALL / 1e9, organization="free")
    (held,) = await claim(store)
    assert (held.bound, held.budgeted) == (CALL, False)
    await _requeue(store, held, CALL)
    (held,) = await claim(store)
    await _requeue(store, held, CALL + 1)
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


async def test_levels_are_noted_once_a_period(store: JobStore) -> None:
    """At 80 and at 100 % of each budget; the audit trail has an entry of each."""
    await submit(store, 10)
    found = []
    for one in await claim(store, 50):
        await end(store, one, CALL)
        found += [(note.period, note.percent) for note in await store.maintenance.watch_budgets()]
    assert found == [("day", 80), ("day", 100)]
    page = await store.audit_trail.page("org", every=False, cursor=None, limit=10)
    reached = [entry.entry.d for entry in page.entries if entry.entry.a == "budget.reached"]
    assert [(details["period"], details["percent"]) for details in reached] == [("day", 100), ("day", 80)]


async def test_a_killed_worker_leaves_no_reservation(store: JobStore, raw: RawRedis) -> None:
    """All that it held is settled by the recovery."""
    await submit(store, 5)
    held = await claim(store, 50, "killed")
    await make_stale(raw, *held)
    await store.maintenance.recover("finder", [])
    assert await today_of(raw) == Sums(0, 0)
