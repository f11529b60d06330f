"""The audit of budgets: page by page, at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from shared.job import Claim
from shared.settings import StoreSettings
from shared.store import paged_audit
from shared.store.engine.items import Item
from shared.store.job_store import JobStore, open_store
from tests.support.budgets import CALL, Sums, audit_budgets, end, priced, sums_of, today_of
from tests.support.checks import RawRedis
from tests.support.gates import A
from tests.support.store import KEYS, claim, settle, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    """A worker with a priced gate, and an organisation that may spend ten calls of it."""
    settings = StoreSettings(redis_url=url, lease_seconds=2.0)
    async with open_store(settings, client_name="t", routing=priced(A)) as opened:
        await settle(opened, "org", day_nano_usd=10 * CALL)
        yield opened


async def test_the_audit_corrects_what_damage_left(store: JobStore, raw: RawRedis) -> None:
    """Reservations are those of running jobs; sums that are gone begin with the usage."""
    await submit(store, 3)
    held = await claim(store, 50)
    await end(store, held[0], 77)
    key = KEYS.prefix("budget") + "org"
    for field in await sums_of(raw):
        await raw("HSET", key, field, "77 123456")
    assert await audit_budgets(store) == 1
    assert await today_of(raw) == Sums(77, 2 * CALL)
    await raw("DEL", key)
    await raw("SET", key, "broken")
    await store.maintenance.audit("w1")
    assert await today_of(raw) == Sums(77, 2 * CALL)
    assert await audit_budgets(store) == 0


MANY = 100_000
_CROWD = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local job = 'ai-job-crowd-' .. i
  local id = redis.call('XADD', KEYS[1], '*', 'j', job, 'o', 'org')
  redis.call('HSET', KEYS[2] .. job, 'org', 'org', 'entry', 'q' .. id, 'state', 'processing',
    'reserved', '5 ' .. ARGV[3] .. ' 0')
end
"""


async def test_no_call_of_the_audit_grows_with_running_jobs(
    url: str, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 100,000 of them each script sends as many commands as with a thousand, and all reservations are counted."""
    monkeypatch.setattr(paged_audit, "REST", 0.0)
    most: Counter[str] = Counter()

    def observe(verb: str, commands: int) -> None:
        most[verb] = max(most[verb], commands)

    async with open_store(StoreSettings(redis_url=url), client_name="t", observer=observe) as store:
        await settle(store, "org", day_nano_usd=10**12)
        day = int((await raw("TIME"))[0]) // 86_400
        for first in range(0, MANY, 10_000):
            keys = (KEYS.fixed("line"), KEYS.prefix("job"))
            await raw("EVAL", _CROWD, 2, *keys, first, first + 9_999, day)
        assert await audit_budgets(store) == 1
        assert await audit_budgets(store) == 0
    sums = await sums_of(raw)
    assert {name: amounts for name, amounts in sums.items() if name == f"d{day}"} == {f"d{day}": Sums(0, 5 * MANY)}
    assert most["count_reserved"] <= paged_audit.PAGE + 1
    assert most["audit_budgets"] <= 100


async def test_an_audit_leaves_a_budget_alone_that_changes(
    store: JobStore, raw: RawRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim within each of two passes looks like the same difference twice: the third one finds nothing wrong."""
    await submit(store, 4)
    await claim(store, 2)
    run, claimed = store._calls.run, list[Claim]()

    async def claim_between(script: str, items: Sequence[Item] = (), **argv: Any) -> Any:
        reply = await run(script, items, **argv)  # type: ignore[call-overload]  # of any script
        if script == "count_reserved" and len(claimed) < 2:
            claimed.extend(await claim(store, 1))
        return reply

    monkeypatch.setattr(store._calls, "run", claim_between)
    assert await audit_budgets(store) == 0
    assert len(claimed) == 2
    assert await today_of(raw) == Sums(0, 4 * CALL)
