"""Chains of their own with which jobs of an organisation wait: at most 16."""

from __future__ import annotations

from itertools import permutations
from typing import Any, Final

import pytest

from shared.errors import OrganizationLimited
from shared.job import RetryReason
from shared.settings import StoreSettings
from shared.store.engine.items import SubmitItem
from shared.store.job_store import JobStore, open_store
from shared.store.transitions import Requeue
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, routing, throttle_all
from tests.support.organization_counts import miscounted
from tests.support.store import KEYS, claim, complete, make_overdue, new_job, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)

GATES: Final = (A, B, "openai:gpt-c", "openai:gpt-d")
CHAINS: Final = list(permutations(GATES))
"""24 orders of the same four."""


async def _fill(store: JobStore, count: int = 16, **more: Any) -> list[str]:
    """A job for each of the first chains; their ids."""
    return [job_id for chain in CHAINS[:count] for job_id in await submit(store, 1, route=chain, **more)]


async def _refused(store: JobStore) -> bool:
    """Whether a job with the last chain is one too many now; else it was taken and is cancelled."""
    try:
        (taken,) = await submit(store, 1, route=CHAINS[-1])
    except OrganizationLimited as refusal:
        return (refusal.limit, refusal.quota) == ("waitingChains", 16)
    await store.cancel(taken)
    return False


@pytest.mark.parametrize("delay_ms", [0, 60_000])
async def test_one_chain_more_is_refused(store: JobStore, raw: RawRedis, delay_ms: int) -> None:
    """Jobs with chains that wait already are taken, and those that name none; another organisation's are too."""
    ids = await _fill(store, delay_ms=delay_ms)
    assert await _refused(store)
    ids += await _fill(store)
    ids += await submit(store, 1)
    ids += await submit(store, 1, route=CHAINS[-1], organization="b")
    assert await _refused(store)
    assert await miscounted(raw, ids) == []
    assert await breaches(store, raw, ids) == []


async def test_a_repeat_of_an_accepted_job_is_answered(store: JobStore) -> None:
    """The limit is checked after the idempotency key."""
    first = new_job(route=CHAINS[-1], idempotency_key="key", fingerprint="f")
    await store.submit(first)
    await _fill(store, 15)
    again = await store.submit(new_job(route=CHAINS[-1], idempotency_key="key", fingerprint="f"))
    assert (again.job_id, again.created) == (first.id, False)


@pytest.mark.parametrize("frugal", [False, True])
async def test_a_batch_is_refused_from_where_it_is_too_much(url: str, raw: RawRedis, frugal: bool) -> None:
    """Each job of one call is checked in order: those with chains that wait go on."""
    async with open_store(StoreSettings(redis_url=url, frugal=frugal), client_name="t") as store:
        chains = [*CHAINS[:18], CHAINS[0]]
        items = [
            SubmitItem(f"{n}", "org", b"{}", "n", 0, 1000, 1, " ".join(chain), "", "", "", 0, 0)
            for n, chain in enumerate(chains)
        ]
        replies = await store._calls.call("submit", items, {"lease_ms": 1000})
        assert [reply[0] for reply in replies] == [b"NEW"] * 16 + [b"LIMIT"] * 2 + [b"NEW"]
        assert await miscounted(raw, [f"{n}" for n in range(19)]) == []


async def test_starts_and_ends_make_room(store: JobStore, raw: RawRedis) -> None:
    """A job that runs does not wait, and one that is cancelled or overdue neither; one that is retried waits again."""
    ids = await _fill(store)
    (held,) = await claim(store, 1)
    assert not await _refused(store)
    await store.requeue(Requeue(held, RetryReason.ERROR, delay_ms=60_000, refund=False, error=None))
    assert await _refused(store)
    await store.cancel(ids[1])
    assert not await _refused(store)
    ids += await submit(store, 1, route=CHAINS[1], deadline_ms=80_000)
    assert await _refused(store)
    await make_overdue(raw, ids[-1])
    await store.maintenance.promote()
    assert not await _refused(store)
    assert await miscounted(raw, ids) == []
    (held,) = await claim(store, 1)
    await complete(store, held)
    assert await miscounted(raw, ids) == []


async def test_throttled_jobs_wait(url: str, raw: RawRedis) -> None:
    """They left the line and stand at their gates; when a gate lets them go they wait no more."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(*GATES)) as store:
        await block(store, *GATES)
        ids = await _fill(store)
        await throttle_all(store)
        assert await _refused(store)
        assert await miscounted(raw, ids) == []


async def test_jobs_that_started_uncounted_refuse_nothing(store: JobStore, raw: RawRedis) -> None:
    """Workers of an older release do not count: more jobs seem to wait with a chain than wait at all."""
    await _fill(store)
    await raw("HINCRBY", KEYS.prefix("waiting_chains") + "org", " ".join(CHAINS[0]), 30)
    assert not await _refused(store)
    assert await raw("HLEN", KEYS.prefix("waiting_chains") + "org") == 0
    await _fill(store)
    assert await _refused(store)


async def test_the_audit_forgets_chains_of_jobs_that_are_gone(store: JobStore, raw: RawRedis) -> None:
    """Counts that damage left behind refuse nothing once no job of the organisation waits."""
    ids = await _fill(store)
    key = KEYS.prefix("waiting_chains") + "org"
    await raw("HINCRBY", key, "lost:chain", 3)
    for job_id in ids:
        await store.cancel(job_id)
    await store.maintenance.audit("auditor")
    assert await raw("EXISTS", key) == 0
