"""Limits of an organisation refuse its new jobs, and nobody else's."""

from __future__ import annotations

from typing import Any, Final

import pytest

from shared.errors import OrganizationLimited, OrganizationPaused, StoreFull
from shared.settings import StoreSettings
from shared.store.engine.items import SubmitItem
from shared.store.job_store import JobStore, open_store
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.organization_counts import miscounted
from tests.support.store import claim, complete, new_job, settle, submit

pytestmark = pytest.mark.parametrize("url", ["valkey"], indirect=True)

CASES: Final[dict[str, tuple[dict[str, int], dict[str, Any]]]] = {
    "queuedJobs": ({"queued_jobs": 3}, {}),
    "queuedBytes": ({"queued_bytes": 30_000}, {"prompt": "x" * 9_000}),
    "delayedJobs": ({"delayed_jobs": 3}, {"delay_ms": 60_000}),
}


@pytest.mark.parametrize("limit", CASES)
async def test_limits_refuse_what_is_too_much(store: JobStore, raw: RawRedis, limit: str) -> None:
    """The fourth is refused by name and leaves no trace, another organisation is not; a start or a raise makes room."""
    policy, more = CASES[limit]
    await settle(store, "a", **policy)
    ids = await submit(store, 3, organization="a", **more)
    for _ in range(2):
        with pytest.raises(OrganizationLimited) as refused:
            await store.submit(refusal := new_job(organization="a", **more))
        assert refused.value.limit == limit
        assert await store.status(refusal.id) is None
    ids += await submit(store, 1, organization="b", **more)
    assert await breaches(store, raw, ids) == []
    assert await miscounted(raw, ids) == []
    if limit != "delayedJobs":
        await complete(store, (await claim(store, 1))[0])
    else:
        await settle(store, "a", delayed_jobs=None)
    ids += await submit(store, 1, organization="a", **more)
    assert await breaches(store, raw, ids) == []


async def test_a_repeat_of_an_accepted_job_is_answered(store: JobStore) -> None:
    """Limits are checked after the idempotency key: the same job again is no new one, also of a paused organisation."""
    await settle(store, "a", queued_jobs=1)
    first = await store.submit(new_job(organization="a", idempotency_key="key", fingerprint="f"))
    for policy in ({"queued_jobs": 1}, {"paused": 1}):
        await settle(store, "a", **policy)
        again = await store.submit(new_job(organization="a", idempotency_key="key", fingerprint="f"))
        assert (again.job_id, again.created) == (first.job_id, False)


async def test_a_paused_organisation_takes_no_jobs(store: JobStore) -> None:
    """Its submits are refused, also delayed ones, until it goes on."""
    await settle(store, "a", paused=1)
    for delay_ms in (0, 60_000):
        with pytest.raises(OrganizationPaused):
            await submit(store, 1, organization="a", delay_ms=delay_ms)
    await settle(store, "a", paused=None)
    await submit(store, 1, organization="a")


async def test_a_batch_is_refused_from_where_it_is_too_much(url: str, raw: RawRedis) -> None:
    """The fleet's default; each job of one call is checked in order, in the frugal profile as elsewhere."""
    for frugal in (False, True):
        settings = StoreSettings(redis_url=url, organization_queued_jobs=2, frugal=frugal)
        async with open_store(settings, client_name="t") as store:
            items = [_item(f"{frugal}-{n}", n) for n in range(4)]
            replies = await store._calls.call("submit", items, {"lease_ms": 1000})
            assert [reply[0] for reply in replies] == [b"NEW", b"NEW", b"LIMIT", b"LIMIT"]
            assert await raw("EXISTS", *(store.keys.job(f"{frugal}-{n}") for n in range(4))) == 2


@pytest.mark.parametrize("frugal", [False, True])
async def test_a_submit_that_a_full_server_refuses_changes_no_count(url: str, raw: RawRedis, frugal: bool) -> None:
    """Counts stay right at maxmemory, also where a submit's first write is its count."""
    async with open_store(StoreSettings(redis_url=url, frugal=frugal), client_name="t") as store:
        ids = await submit(store, 3, organization="a")
        await raw("CONFIG", "SET", "maxmemory", 1)
        try:
            with pytest.raises(StoreFull):
                await submit(store, 1, organization="a")
        finally:
            await raw("CONFIG", "SET", "maxmemory", 0)
        assert await miscounted(raw, ids) == []
        assert await breaches(store, raw, ids) == []


def _item(job_id: str, number: int) -> SubmitItem:
    return SubmitItem(job_id, f"org-{job_id[0]}", b"{}", "hn"[number % 2], 0, 1000, 1, "", "", "", "", 0, 0)
