"""The audit of the counts of organisations: each is counted in one call, some in each call (I3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.settings import StoreSettings
from shared.store import count_audit
from shared.store.count_audit import CountAudit
from shared.store.job_store import JobStore, open_store
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, routing, throttle_all
from tests.support.store import KEYS, breaches, claim, complete, lose, miscounted, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """Jobs may wait for two gates."""
    async with open_store(StoreSettings(redis_url=url), client_name="t", routing=routing(A, B)) as opened:
        yield opened


def _audit(store: JobStore) -> CountAudit:
    return CountAudit(store._calls, store._reads, KEYS)


@pytest.fixture
async def ids(store: JobStore, raw: RawRedis) -> list[str]:
    """Jobs of ninety organisations, everywhere: running, in the line, in backlogs, delayed, suspect and throttled."""
    jobs = await submit(store, 3, organization="suspect")
    for _ in range(2):
        await lose(store, raw, *await claim(store, 3))
    jobs += await submit(store, 4, organization="running")
    assert len(await claim(store, 2, suspect=False, poll=False)) == 2
    jobs += await submit(store, 5, organization="throttled")
    await block(store, A)
    await block(store, B)
    await throttle_all(store)
    for number in range(88):
        jobs += await submit(store, 2, organization=f"org-{number}", delay_ms=60_000 * (number % 2))
    return jobs


async def _damage(raw: RawRedis) -> int:
    """Make all counts wrong in another way; of how many organisations."""
    names = await raw("HKEYS", KEYS.fixed("organizations"))
    for number, name in enumerate(names):
        if number % 3 == 0:
            await raw("HDEL", KEYS.fixed("organizations"), name)
        else:
            await raw("HINCRBY", KEYS.fixed("organizations"), name, (3 << 27) + (number % 2 << 43))
    return len(names)


async def test_counts_are_corrected_wherever_jobs_are(store: JobStore, raw: RawRedis, ids: list[str]) -> None:
    """Wrong counts of all organisations are right after one audit; another one finds nothing."""
    assert await miscounted(raw, ids) == []
    assert await _audit(store).run() == 0
    damaged = await _damage(raw)
    assert await _audit(store).run() == damaged
    assert await _audit(store).run() == 0


async def test_counts_that_change_meanwhile_stay_right(
    store: JobStore, raw: RawRedis, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs come, start and end between the calls of an audit: it corrects nothing, and every count is right."""
    monkeypatch.setattr(count_audit, "PAGE", 4)
    monkeypatch.setattr(count_audit, "READ_COUNT", 8)
    audits = [asyncio.create_task(_audit(store).run()) for _ in range(3)]
    while not all(task.done() for task in audits):
        ids += await submit(store, 3, organization=f"org-{len(ids) % 88}")
        for held in await claim(store, 2):
            await complete(store, held)
    assert [task.result() for task in audits] == [0, 0, 0]
    assert await miscounted(raw, ids) == []
    assert await breaches(store, raw, ids) == []


async def test_one_with_too_many_jobs_keeps_nobody_from_an_audit(
    store: JobStore, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its counts are left as they are; those of others in its page are corrected."""
    monkeypatch.setattr(count_audit, "LOOKS_MAX", 5)
    await submit(store, 9, organization="many")
    assert len(await claim(store, 8)) == 8
    await submit(store, 2, organization="few")
    await submit(store, 2, organization="other")
    assert await _damage(raw) == 3
    assert await _audit(store).run() == 2
    monkeypatch.setattr(count_audit, "LOOKS_MAX", 20)
    assert await _audit(store).run() == 1
    assert await _audit(store).run() == 0
