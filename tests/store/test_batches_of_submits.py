"""New jobs that come in one call: an organisation's counts are written once for all of them, and are right (I3)."""

from __future__ import annotations

import msgspec
import pytest

from shared.job import JobSpec
from shared.job_ids import new_job_id
from shared.settings import StoreSettings
from shared.store.engine.items import SubmitItem
from shared.store.job_store import JobStore, open_store
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.organization_counts import miscounted
from tests.support.store import KEYS, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)
DEADLINE_MS = 600_000


def _item(organization: str, *, deadline: int = DEADLINE_MS, delay: int = 0, own: bool = False) -> SubmitItem:
    spec = JobSpec(organization_id=organization, project_id="p", user_id="u", prompt="x" * 1500)
    return SubmitItem(
        new_job_id(), organization, msgspec.json.encode(spec), "n", delay, deadline, 1, "", "", "", "", 0, int(own)
    )  # fmt: skip


async def _submit(store: JobStore, items: list[SubmitItem]) -> list[bytes]:
    replies = await store._calls.call("submit", items, {"lease_ms": 15_000})
    return [reply[0] for reply in replies]


async def _sent(raw: RawRedis) -> dict[str, int]:
    lines = (await raw("INFO", "commandstats")).decode().splitlines()
    found = (line.removeprefix("cmdstat_").partition(":calls=") for line in lines if line.startswith("cmdstat_"))
    return {name: int(rest.partition(",")[0]) for name, _, rest in found}


@pytest.mark.parametrize("frugal", [False, True])
async def test_counts_are_written_once_for_all_jobs_of_a_call(url: str, raw: RawRedis, *, frugal: bool) -> None:
    """A hundred jobs of each of two organisations, most of them into backlogs: two writes of the counts of each, and
    one of its first deadline."""
    async with open_store(StoreSettings(redis_url=url, frugal=frugal), client_name="t") as store:
        items = [_item("ab"[number % 2]) for number in range(200)]
        await raw("CONFIG", "RESETSTAT")
        assert await _submit(store, items) == [b"NEW"] * 200
        sent = await _sent(raw)
        assert sent["hincrby"] <= 4
        # 198 jobs into backlogs, two deadlines, the wake-up.
        assert sent["zadd"] <= 198 + 2 + 1
        assert await breaches(store, raw, [item.job for item in items]) == []


async def test_the_earliest_deadline_of_a_call_is_kept(store: JobStore, raw: RawRedis) -> None:
    """It is not that of the first job: the backlog is checked in time for it."""
    await submit(store, organization="a")
    deadlines = [DEADLINE_MS, 2 * DEADLINE_MS, 30_000, DEADLINE_MS]
    items = [_item("a", deadline=deadline) for deadline in deadlines]
    await _submit(store, items)
    earliest = int(await raw("HGET", KEYS.job(items[2].job), "deadline"))
    assert int(await raw("ZSCORE", KEYS.fixed("backlogs"), "a")) == earliest


@pytest.mark.parametrize("frugal", [False, True])
@pytest.mark.parametrize("failing", [0, 2, 5])
async def test_jobs_that_fail_in_the_middle_are_not_counted(
    url: str, raw: RawRedis, *, failing: int, frugal: bool
) -> None:
    """A job of the line or of the backlog, or a delayed one, whose deadline cannot be indexed: it leaves nothing, and
    its neighbours of the same organisation are queued."""
    async with open_store(StoreSettings(redis_url=url, frugal=frugal), client_name="t") as store:
        items = [_item("a", own=number == failing, delay=60_000 * (number == 5)) for number in range(8)]
        await raw("SET", KEYS.fixed("deadlines"), "no sorted set")
        codes = await _submit(store, items)
        await raw("DEL", KEYS.fixed("deadlines"))
        assert codes == [b"ERROR" if number == failing else b"NEW" for number in range(8)]
        assert await raw("EXISTS", KEYS.job(items.pop(failing).job)) == 0
        assert await miscounted(raw, [item.job for item in items]) == []
        assert await breaches(store, raw, [item.job for item in items]) == []


@pytest.mark.parametrize("frugal", [False, True])
async def test_a_call_that_a_full_server_refuses_counts_nothing(url: str, raw: RawRedis, *, frugal: bool) -> None:
    """No job of it is left, nor a count, whether the organisation was known before or not."""
    async with open_store(StoreSettings(redis_url=url, frugal=frugal), client_name="t") as store:
        ids = await submit(store, 3, organization="a")
        await raw("CONFIG", "SET", "maxmemory", 1)
        codes = await _submit(store, [_item("ab"[number % 2]) for number in range(6)])
        await raw("CONFIG", "SET", "maxmemory", 0)
        assert codes == [b"ERROR"] * 6
        assert await miscounted(raw, ids) == []
        assert await breaches(store, raw, ids) == []


async def test_more_jobs_than_one_number_holds_are_counted_exactly(store: JobStore, raw: RawRedis) -> None:
    """A call with 700 jobs of one organisation writes its counts in between."""
    items = [_item("a") for _ in range(700)]
    assert await _submit(store, items) == [b"NEW"] * 700
    assert await miscounted(raw, [item.job for item in items]) == []
