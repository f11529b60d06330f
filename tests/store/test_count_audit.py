"""The audit of the counts of organisations: each is counted in one call, some in each call (I3)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from shared.settings import StoreSettings
from shared.store import count_audit, listed_entries, paged_audit
from shared.store.count_audit import CountAudit
from shared.store.job_store import JobStore, open_store
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block, routing, throttle_all
from tests.support.organization_counts import counts_of, miscounted
from tests.support.store import KEYS, claim, complete, lose, submit

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
    monkeypatch.setattr(listed_entries, "READ_COUNT", 8)
    audits = [asyncio.create_task(_audit(store).run()) for _ in range(3)]
    while not all(task.done() for task in audits):
        ids += await submit(store, 3, organization=f"org-{len(ids) % 88}")
        for held in await claim(store, 2):
            await complete(store, held)
    assert [task.result() for task in audits] == [0, 0, 0]
    assert await miscounted(raw, ids) == []
    assert await breaches(store, raw, ids) == []


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five checks a call, so that an organisation with more jobs is counted page by page."""
    monkeypatch.setattr(count_audit, "CHECKS_MAX", 5)
    monkeypatch.setattr(paged_audit, "PAGE", 2)
    monkeypatch.setattr(paged_audit, "REST", 0.0)


@pytest.mark.usefixtures("small_pages")
async def test_one_with_many_jobs_is_counted_page_by_page(store: JobStore, raw: RawRedis) -> None:
    """All of them: in the line, in the backlog, delayed, running, ended in the ledger, and throttled in the queues of
    one gate or of several. The others in its page are corrected too."""
    jobs = await submit(store, 9, organization="many")
    (first, *_) = held = await claim(store, 8)
    assert len(held) == 8
    await complete(store, first)
    jobs += await submit(store, 3, organization="many", delay_ms=60_000)
    await block(store, A)
    await block(store, B)
    jobs += await submit(store, 3, organization="many", route=(A,)) + await submit(store, 5, organization="many")
    jobs += await submit(store, 3, organization="many", route=(B, A)) + await submit(store, 2, organization="other")
    await throttle_all(store)
    jobs += await submit(store, 3, organization="many", route=(B, A))
    assert await miscounted(raw, jobs) == []
    assert await _audit(store).run() == 0
    assert await _damage(raw) == 2
    assert await miscounted(raw, jobs) != []
    assert await _audit(store).run() == 2
    assert await _audit(store).run() == 0
    assert [fault for fault in await miscounted(raw, jobs) if "kib" not in fault] == []


@pytest.mark.usefixtures("small_pages")
async def test_a_count_over_many_calls_corrects_nothing_that_changes(
    store: JobStore, raw: RawRedis, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs come, start and end between the pages: right counts stay so."""
    monkeypatch.setattr(paged_audit, "ATTEMPTS", 3)
    ids += await submit(store, 20, organization="many")
    audits = [asyncio.create_task(_audit(store).run()) for _ in range(2)]
    while not all(task.done() for task in audits):
        if len(ids) < 400:
            ids += await submit(store, 2, organization="many")
        for held in await claim(store, 2):
            await complete(store, held)
    assert [task.result() for task in audits] == [0, 0]
    assert await miscounted(raw, ids) == []


@pytest.mark.usefixtures("small_pages")
async def test_a_difference_is_corrected_when_it_was_found_twice(
    store: JobStore, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single pass corrects nothing: one job that came while another went would look like damage."""
    await submit(store, 9, organization="many")
    await claim(store, 8)
    await _damage(raw)
    monkeypatch.setattr(paged_audit, "ATTEMPTS", 1)
    assert await _audit(store).run() == 0
    monkeypatch.setattr(paged_audit, "ATTEMPTS", 2)
    assert await _audit(store).run() == 1


MANY = 100_000
_CROWD = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local job = 'ai-job-crowd-' .. i
  redis.call('HSET', KEYS[1] .. job, 'org', 'crowd', 'entry', 't*', 'state', 'queued')
  redis.call('ZADD', KEYS[2], i, job)
end
"""


async def test_no_call_grows_with_the_jobs_of_an_organisation(
    url: str, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 100,000 throttled jobs each script sends as many commands as with a few thousand, and all are counted."""
    monkeypatch.setattr(paged_audit, "REST", 0.0)
    most: Counter[str] = Counter()

    def observe(verb: str, commands: int) -> None:
        most[verb] = max(most[verb], commands)

    async with open_store(StoreSettings(redis_url=url), client_name="t", observer=observe) as store:
        await submit(store, 1, organization="crowd")
        await claim(store, 1)
        for first in range(0, MANY, 10_000):
            keys = (KEYS.prefix("job"), KEYS.prefix("throttled") + "* crowd")
            await raw("EVAL", _CROWD, 2, *keys, first, first + 9_999)
        await raw("ZADD", KEYS.prefix("throttled_by") + "*", 0, "crowd")
        assert await _audit(store).run() == 1
    assert (await counts_of(raw))["crowd"]["waiting"] == MANY
    scripts = {verb: commands for verb, commands in most.items() if verb.startswith(("audit_", "count_", "correct_"))}
    assert set(scripts) == {"audit_organizations", "count_entries", "count_throttled", "correct_counts"}
    assert max(scripts.values()) <= count_audit.CHECKS_MAX + 100
