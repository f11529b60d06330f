"""Jobs as those who administer find them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.job import JobError
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.reading import live_jobs
from tests.support.callers import TOKENS, bearer, make_key
from tests.support.gates import A, block, routing, throttle_all
from tests.support.gateway import problem, running_gateway
from tests.support.store import KEYS, claim, complete, fail, submit

JOBS = "/api/admin/jobs"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    """A store of a worker."""
    async with open_store(StoreSettings(redis_url=redis_url), client_name="test") as opened:
        yield opened


async def _ended(store: JobStore, how: str, organization: str, **more: Any) -> str:
    """One job of an organisation that completed, failed with that error, or was cancelled."""
    (job_id,) = await submit(store, organization=organization, prompt="a secret", **more)
    (held,) = await claim(store, 1)
    if how == "completed":
        await complete(store, held, "a secret answer")
    elif how == "cancelled":
        await store.cancel(job_id, force=True)
    else:
        await fail(store, held, JobError(type=how, message="no"))
    return job_id


async def _ids(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get(JOBS, params=params)
    assert answer.status_code == 200, answer.text
    assert "secret" not in answer.text
    assert answer.json()["cursor"] is None
    return [job["jobId"] for job in answer.json()["jobs"]]


async def _started(store: JobStore, organization: str) -> str:
    (job_id,) = await submit(store, organization=organization)
    await claim(store, 1)
    return job_id


def _order(job_id: str) -> tuple[int, str]:
    return int(job_id.split("-")[2]), job_id


async def _pages(client: httpx.AsyncClient, size: int, **params: Any) -> list[str]:
    """All pages of that size."""
    found, cursor = list[str](), None
    while True:
        answer = await client.get(JOBS, params={**params, "limit": size} | ({"cursor": cursor} if cursor else {}))
        page = answer.raise_for_status().json()
        assert len(page["jobs"]) <= size
        found += [job["jobId"] for job in page["jobs"]]
        if (cursor := page["cursor"]) is None:
            return found


async def test_failed_and_cancelled_jobs_are_found_over_all_organizations(
    client: httpx.AsyncClient, store: JobStore
) -> None:
    """Newest first and without texts, by error, project, user and time, in pages."""
    slow = await _ended(store, "Timeout", "alice", project_id="p1")
    cancelled = [await _ended(store, "cancelled", name) for name in ("alice", "bob")]
    refused = await _ended(store, "Refused", "bob", user_id="u1")
    await _ended(store, "completed", "bob")
    late = await _ended(store, "Timeout", "bob")

    assert await _ids(client, status="failed") == [late, refused, slow]
    assert await _ids(client, status="cancelled") == cancelled[::-1]
    assert await _ids(client, errorType="Timeout") == [late, slow]
    assert await _ids(client, errorType="Timeout", status="completed", organizationId="bob") == []
    assert await _ids(client, status="failed", organizationId="bob") == [late, refused]
    assert await _ids(client, status="failed", projectId="p1") == [slow]
    assert await _ids(client, status="failed", userId="u1") == [refused]

    page = (await client.get(JOBS, params={"status": "failed", "limit": 1})).json()
    assert page["jobs"][0]["error"]["type"] == "Timeout"
    assert await _ids(client, status="failed", cursor=page["cursor"]) == [refused, slow]
    assert await _ids(client, status="failed", **{"from": "2100-01-01T00:00:00Z"}) == []
    assert await _ids(client, status="failed", to="2020-01-01T00:00:00Z") == []
    spanning = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    assert late in await _ids(client, status="failed", **spanning)


async def test_other_jobs_are_found_by_organization(client: httpx.AsyncClient, store: JobStore) -> None:
    """Completed and waiting ones, by user and project; the organisation must be named."""
    done = await _ended(store, "completed", "alice", project_id="p1")
    other = await _ended(store, "completed", "alice", user_id="u1")
    (waiting,) = await submit(store, organization="alice", project_id="p1")
    assert await _ids(client, organizationId="alice") == [waiting, other, done]
    assert await _ids(client, organizationId="alice", status="completed") == [other, done]
    assert await _ids(client, organizationId="alice", projectId="p1") == [waiting, done]
    assert await _ids(client, organizationId="alice", userId="u1") == [other]
    assert await _ids(client, organizationId="alice", provider="none") == []
    assert await _ids(client, organizationId="alice", to="2020-01-01T00:00:00Z") == []
    problem(await client.get(JOBS, params={"status": "completed"}), 400, "invalid-request")
    for status in ("failed", "completed"):
        params = {"organizationId": "alice", "cursor": "x", "status": status}
        problem(await client.get(JOBS, params=params), 400, "invalid-request")


async def test_jobs_that_wait_and_run_are_found_over_all_organizations(
    client: httpx.AsyncClient, store: JobStore
) -> None:
    """Wherever they wait: in the line, in a backlog, for their time or for a gate; newest first, in pages."""
    running = [(await _started(store, name)) for name in ("alice", "bob")]
    queued = await submit(store, 2, organization="dora")
    async with open_store(store.settings, client_name="gated", routing=routing(A)) as gated:
        await block(gated, A)
        await throttle_all(gated)
    queued += [*await submit(store, 12, organization="alice"), *await submit(store, 2, organization="bob")]
    queued += await submit(store, 3, organization="carol", delay_ms=60_000)
    assert (await store.queries.stats()).throttled == 2

    newest_first = sorted(queued, key=_order, reverse=True)
    assert await _ids(client, status="queued", limit=100) == newest_first
    assert await _ids(client, status="processing") == sorted(running, key=_order, reverse=True)
    assert await _pages(client, 4, status="queued") == newest_first
    assert await _pages(client, 1, status="processing") == sorted(running, key=_order, reverse=True)
    assert await _ids(client, status="queued", userId="nobody") == []
    assert await _ids(client, status="queued", to="2020-01-01T00:00:00Z") == []


async def test_all_jobs_but_completed_ones_are_one_list(client: httpx.AsyncClient, store: JobStore) -> None:
    """Of all organisations, those that ended by their end and the others by their submit, each once over all pages."""
    failed = [await _ended(store, "Timeout", name) for name in ("alice", "bob", "alice")]
    cancelled = [await _ended(store, "cancelled", "bob")]
    await _ended(store, "completed", "bob")
    running = await _started(store, "alice")
    waiting = await submit(store, 5, organization="carol")
    expected = [*sorted([*waiting, running], key=_order, reverse=True), *cancelled, *failed[::-1]]

    assert await _ids(client, limit=100) == expected
    for size in (1, 3, 4):
        assert await _pages(client, size) == expected
    assert await _ids(client, projectId="none") == []
    for cursor in ("x", "0.ai-job-1", "_", "0.__x", "-_-_-_-"):
        problem(await client.get(JOBS, params={"cursor": cursor}), 400, "invalid-request")


async def test_more_jobs_than_one_page_orders_come_window_by_window(
    client: httpx.AsyncClient, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once, each window newest first."""
    monkeypatch.setattr(live_jobs, "WINDOW", 10)
    monkeypatch.setattr(live_jobs, "IDS_PER_READ", 4)
    ids = [job for name in "abcdef" for job in await submit(store, 6, organization=name)]
    found = await _pages(client, 4, status="queued")
    assert sorted(found) == sorted(ids)
    assert found[:10] == sorted(found[:10], key=_order, reverse=True)
    assert sorted(await _pages(client, 7)) == sorted(ids)


async def test_waiting_jobs_are_found_where_nothing_is_listed(redis_url: str, store: JobStore) -> None:
    """LISTING=0 keeps no list of an organisation: what waits is found where it is, of that organisation alone."""
    own = await submit(store, 3, organization="alice")
    await submit(store, 3, organization="bob")
    async with running_gateway(redis_url, API_TOKENS=TOKENS, LISTING="0") as client:
        alice = bearer((await make_key(client, "alice", "admin"))["key"])
        answer = (await client.get(JOBS, params={"status": "queued"}, headers=alice)).json()
        assert [job["jobId"] for job in answer["jobs"]] == sorted(own, key=_order, reverse=True)
        problem(await client.get(JOBS, headers=alice), 404, "listing-off")


async def test_a_bound_key_finds_its_own_jobs_alone(client: httpx.AsyncClient, store: JobStore) -> None:
    """With or without its organisation's name."""
    mine = await _ended(store, "Timeout", "alice")
    await _ended(store, "Timeout", "bob")
    alice = bearer((await make_key(client, "alice", "admin"))["key"])
    for params in ({"status": "failed"}, {}, {"organizationId": "alice"}):
        answer = (await client.get(JOBS, params=params, headers=alice)).json()
        assert [job["jobId"] for job in answer["jobs"]] == [mine]
    problem(await client.get(JOBS, params={"organizationId": "bob"}, headers=alice), 403, "forbidden")


async def test_jobs_whose_records_are_gone_are_left_out(client: httpx.AsyncClient, store: JobStore) -> None:
    """A job that was deleted is in no listing; a record that is gone without that leaves no hole."""
    kept, deleted, gone = [await _ended(store, "Timeout", "alice") for _ in range(3)]
    await store.delete(deleted)
    await store._reads.execute("DEL", KEYS.job(gone))
    assert await _ids(client, status="failed") == [kept]
