"""Refusals in the audit trail: counted in memory, one entry for each organisation and day, cheap in a flood."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from services.gateway.http import refusals
from services.gateway.http.refusals import RefusalCounts
from shared.errors import StoreFull, StoreUnavailable
from shared.http.problems import FORBIDDEN, INVALID, Problem
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.refusal_trail import PIECE, RefusalTrail
from tests.support.callers import OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import BATCH, STATUS, SUBMIT, running_gateway
from tests.support.store import KEYS
from tests.support.worker import until

AUDIT = "/api/admin/audit"
ALICE = "/api/admin/organizations/alice"
JOB = {"projectId": "p", "userId": "u", "prompt": "x"}
EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture
async def client(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that writes its counts after a quarter of a second; its caller is an operator."""
    monkeypatch.setattr("services.gateway.app.WRITE_S", 0.25)
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as running:
        await make_key(running, "carol")  # until a busy machine answers
        running.headers.update(bearer(OPERATOR))
        yield running


async def _counts(client: httpx.AsyncClient, organization: str = "alice") -> dict[str, int]:
    """The counts of an organisation's one entry; {} while there is none."""
    entries = (await client.get(AUDIT, params={"organizationId": organization})).json()["entries"]
    found = [entry for entry in entries if entry["action"] == "refused"]
    assert len(found) <= 1
    return found[0]["details"]["counts"] if found else {}


async def _settled(client: httpx.AsyncClient, wanted: Mapping[str, int], organization: str = "alice") -> None:
    async def there() -> bool:
        return await _counts(client, organization) == wanted

    try:
        await until(there, 20)
    except TimeoutError:
        assert await _counts(client, organization) == wanted


async def test_each_kind_is_counted_for_its_organisation(client: httpx.AsyncClient) -> None:
    """Rights, limits, budget, pause and a blocked user, of single calls, batches, streams and OpenAI's paths."""
    reader = bearer((await make_key(client, "alice", "jobs:read"))["key"])
    writer = bearer((await make_key(client, "alice", "jobs:write"))["key"])
    await client.post(SUBMIT, json=JOB, headers=reader)
    await client.post("/v1/responses", json={"model": "demo:demo", "input": "x"}, headers=reader)
    await client.get("/api/ai/job-events", params={"jobId": "ai-job-1737465123456-0bc123def"}, headers=reader)
    await client.get(ALICE, headers=reader)
    await client.post(SUBMIT, json=JOB | {"organizationId": "bob"}, headers=writer)
    await client.post(f"{ALICE}/blocked-users", json={"userId": "v"})
    await client.post(BATCH, json={"jobs": [JOB | {"userId": "v"}, JOB, JOB | {"userId": "v"}]}, headers=writer)
    await client.patch(ALICE, json={"limits": {"queuedJobs": 1}})
    await client.post(SUBMIT, json=JOB, headers=writer)
    # An operator's submit for it too.
    await client.post(SUBMIT, json=JOB | {"organizationId": "alice"})
    await client.patch(ALICE, json={"limits": {"queuedJobs": None}, "budget": {"dayUsd": 0}})
    await client.post(SUBMIT, json=JOB, headers=writer)
    await client.patch(ALICE, json={"paused": True})
    await client.post(SUBMIT, json=JOB, headers=writer)
    wanted = {
        "insufficient-scope": 4, "forbidden": 1, "user-blocked": 2, "organization-limit": 2, "budget-exceeded": 1,
        "organization-paused": 1,
    }  # fmt: skip
    await _settled(client, wanted)
    assert await _counts(client, "bob") == {}

    entries = (await client.get(AUDIT)).json()["entries"]
    (entry,) = [one for one in entries if one["action"] == "refused"]
    assert (entry["organizationId"], entry["by"], entry["details"]["day"]) == ("alice", "gateway", entry["at"][:10])


async def test_a_stream_that_is_one_too_many_is_counted(client: httpx.AsyncClient) -> None:
    """A browser gets a 200 for it, which is a refusal nevertheless."""
    await client.patch(ALICE, json={"limits": {"streams": 1}})
    key = bearer((await make_key(client, "alice", "jobs:write", "events:read"))["key"])
    job = (await client.post(SUBMIT, json=JOB, headers=key)).json()["jobId"]
    async with client.stream("GET", "/api/ai/job-events", params={"jobId": job}, headers=key | EVENTS):
        answer = await client.get("/api/ai/job-events", params={"jobId": job}, headers=key | EVENTS)
        assert answer.status_code == 200
    await _settled(client, {"organization-limit": 1})


async def test_ended_keys_and_operators_are_counted(client: httpx.AsyncClient) -> None:
    """A revoked key's calls count for its organisation, an operator's for `*`; unknown callers for nobody."""
    made = await make_key(client, "alice", "jobs:read")
    operator = bearer((await make_key(client, "*", "stats:read"))["key"])
    await client.delete(f"/api/admin/keys/{made['id']}")

    async def revoked() -> bool:
        return (await client.get(STATUS, params={"jobId": "x"}, headers=bearer(made["key"]))).status_code == 401

    await until(revoked)
    await client.get(STATUS, params={"jobId": "x"}, headers=bearer("nobody's"))
    await client.post(SUBMIT, json=JOB | {"organizationId": "alice"}, headers=operator)
    await _settled(client, {"unauthorized": 1})
    await _settled(client, {"insufficient-scope": 1}, "*")


async def test_counts_add_up_over_writes_and_gateways(client: httpx.AsyncClient, redis_url: str) -> None:
    """The one entry of a day moves to the newest place, and has all of them."""
    key = bearer((await make_key(client, "alice", "jobs:read"))["key"])
    await client.post(SUBMIT, json=JOB, headers=key)
    await _settled(client, {"insufficient-scope": 1})
    await make_key(client, "bob")
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as other:
        for _ in range(3):
            await other.post(SUBMIT, json=JOB, headers=key)
        await client.post(SUBMIT, json=JOB, headers=key)
    # A gateway that ends writes what it counted.
    await _settled(client, {"insufficient-scope": 5})
    assert (await client.get(AUDIT)).json()["entries"][0]["action"] == "refused"
    async with RawRedis(redis_url) as raw:
        assert await raw("XLEN", KEYS.fixed("refusal_trail")) == 1
        assert 0 < await raw("TTL", KEYS.prefix("refusals") + "alice:" + await _today(raw)) <= 172_800


async def _today(raw: RawRedis) -> str:
    return str(int((await raw("TIME"))[0]) // 86_400)


@asynccontextmanager
async def _metered(url: str) -> AsyncIterator[tuple[JobStore, Counter[str]]]:
    counted: Counter[str] = Counter()

    def observe(verb: str, commands: int) -> None:
        counted[verb] += commands

    async with open_store(StoreSettings(redis_url=url), client_name="t", observer=observe) as store:
        yield store, counted


def _refusal(organization: str = "alice") -> Problem:
    return Problem(FORBIDDEN, refused=organization)


async def test_a_flood_costs_one_write(redis_url: str) -> None:
    """However many are refused; and none while nothing is."""
    async with _metered(redis_url) as (store, counted):
        await store.refusal_trail.add({"warm": {"forbidden": 1}})
        counted.clear()
        counts = RefusalCounts(store.refusal_trail, write_s=0.3)
        for _ in range(10_000):
            counts.note(_refusal())
        counts.note(Problem(INVALID))
        assert counted.total() == 0

        async def written() -> bool:
            return counted.total() > 0

        await until(written)
        assert counted.total() <= 12
        await asyncio.sleep(0.7)
        assert counted.total() <= 12
        await counts.aclose()
        assert counted.total() <= 12


class _Trail(RefusalTrail):
    """A trail whose writes fail at first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.added: list[dict[str, dict[str, int]]] = []

    async def add(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """See `RefusalTrail`."""
        if self.errors:
            raise self.errors.pop(0)
        self.added.append({whose: dict(kinds) for whose, kinds in counts.items()})


@pytest.mark.parametrize(
    ("error", "left"),
    [(StoreUnavailable("away"), 2), (StoreFull("full"), 2), (StoreUnavailable("away", sent=True), 1), (KeyError(), 1)],
    ids=["away", "full", "perhaps written", "unforeseen"],
)
async def test_what_could_not_be_written_is_written_later(error: Exception, left: int) -> None:
    """Unless Redis may have it already: nothing is counted twice."""
    trail = _Trail(error)
    counts = RefusalCounts(trail, write_s=0.05)
    counts.note(_refusal())
    await until(_falsy(trail.errors))
    counts.note(_refusal())
    await until(_truthy(trail.added))
    assert trail.added == [{"alice": {"forbidden": left}}]
    await counts.aclose()


def _falsy(value: list[Any]) -> Any:
    async def check() -> bool:
        return not value

    return check


def _truthy(value: list[Any]) -> Any:
    async def check() -> bool:
        return bool(value)

    return check


async def test_memory_is_bounded() -> None:
    """Beyond a number of organisations the rest is counted as the operators'."""
    trail = _Trail()
    counts = RefusalCounts(trail)
    for number in range(refusals.ORGANIZATIONS_MAX + 50):
        counts.note(_refusal(f"o{number}"))
    await counts.aclose()
    assert max(map(len, trail.added)) <= PIECE
    everything = {whose: kinds for added in trail.added for whose, kinds in added.items()}
    assert len(everything) == refusals.ORGANIZATIONS_MAX + 1
    assert everything["*"] == {"forbidden": 50}


async def test_a_deleted_organisation_is_not_brought_back(client: httpx.AsyncClient, redis_url: str) -> None:
    """Counts that were written go with the deletion; those that a gateway still has are dropped."""
    async with _metered(redis_url) as (store, _), RawRedis(redis_url) as raw:
        await store.refusal_trail.add({"alice": {"forbidden": 1}, "bob": {"forbidden": 1}})
        erasure = store.erasure
        async for _, names in erasure.pieces("alice"):
            await erasure.erase_keys(names)
        assert await erasure.erase_entries("alice") == 1
        await erasure.close("alice")
        await store.refusal_trail.add({"alice": {"forbidden": 7}, "bob": {"forbidden": 1}})
        assert await raw("KEYS", "*alice*") == []
        assert b"alice" not in b"".join(
            field for _, row in await raw("XRANGE", KEYS.fixed("refusal_trail"), "-", "+") for field in row
        )
    assert await _counts(client, "bob") == {"forbidden": 2}
