"""Gates and pauses over HTTP, and workers that obey them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.store.job_store import JobStore
from shared.store.recent_calls import NotedCalls
from shared.store.results import CallReport
from tests.support.callers import OPERATOR, TOKENS, bearer, make_key
from tests.support.gateway import STATUS, SUBMIT, body, fields, problem, running_gateway
from tests.support.store import claim

GATES, QUEUE = "/api/admin/gates", "/api/admin/queue"
DEMO = {"gate": "demo:demo", "state": "available", "waiting": 0}
LISTED = DEMO | {"chains": [["demo:demo"]], "errors": []}


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with one operator, who is its caller."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as running:
        running.headers.update(bearer(OPERATOR))
        yield running


async def test_a_gate_is_paused_and_resumed(client: httpx.AsyncClient) -> None:
    """Each call answers the gate; twice is as good as once; the trail has each change."""
    assert (await client.get(GATES)).json() == {"gates": [LISTED]}
    for verb, state in (("pause", "paused"), ("pause", "paused"), ("resume", "available"), ("resume", "available")):
        answer = await client.post(f"{GATES}/demo:demo/{verb}")
        assert (answer.status_code, answer.json()) == (200, DEMO | {"state": state})
        assert (await client.get(GATES)).json()["gates"][0]["state"] == state
    trail = (await client.get("/api/admin/audit")).json()["entries"]
    assert [(entry["action"], entry["details"]) for entry in trail] == [
        ("gate.resumed", {"gate": "demo:demo"}), ("gate.paused", {"gate": "demo:demo"}),
    ]  # fmt: skip


async def test_the_block_of_a_gate_is_ended(client: httpx.AsyncClient, store: JobStore) -> None:
    """The answer shows a gate that calls may pass; again changes nothing, and the trail has one entry."""
    await store.report("demo:demo", CallReport.LIMITED, retry_after_ms=600_000)
    (blocked,) = (await client.get(GATES)).json()["gates"]
    assert (blocked["state"], blocked["reason"]) == ("blocked", "rate_limited")
    for _ in range(2):
        answer = await client.post(f"{GATES}/demo:demo/resume")
        assert (answer.status_code, answer.json()) == (200, DEMO | {"state": "slow_start"})
    trail = (await client.get("/api/admin/audit")).json()["entries"]
    assert [entry["action"] for entry in trail] == ["gate.resumed"]


async def test_a_gate_of_a_model_with_a_slash_has_a_path(redis_url: str) -> None:
    """Encoded twice; one that nobody knows is 404."""
    async with running_gateway(redis_url, PROVIDERS="openai:vendor/model:free") as client:
        answer = await client.post(f"{GATES}/openai:vendor%252Fmodel:free/pause")
        assert (answer.status_code, answer.json()["gate"]) == (200, "openai:vendor/model:free")
        problem(await client.post(f"{GATES}/openai:nothing/pause"), 404, "not-found")


async def test_a_paused_queue_takes_jobs_and_starts_none(client: httpx.AsyncClient, store: JobStore) -> None:
    """A submit is accepted, its status says that it is paused; resumed, it starts."""
    assert (await client.get(QUEUE)).json() == {"paused": False}
    assert (await client.post(f"{QUEUE}/pause")).json() == {"paused": True}
    job_id = (await client.post(SUBMIT, json=body())).raise_for_status().json()["jobId"]
    assert await claim(store, 1) == []
    assert (await client.get(STATUS, params={"jobId": job_id})).json()["waiting"] == {"reason": "paused", "ahead": 0}
    stats = (await client.get("/api/ai/queue-stats")).json()["stats"]
    assert (stats["queued"], stats["backlog"]) == (1, 0)
    assert (await client.get(QUEUE)).json() == {"paused": True}
    assert (await client.post(f"{QUEUE}/resume")).json() == {"paused": False}
    assert [held.job_id for held in await claim(store, 1)] == [job_id]


async def test_chains_and_failed_calls_are_listed(client: httpx.AsyncClient, store: JobStore) -> None:
    """The fleet's chain first, then those that jobs brought, at each gate that is in them; errors by type."""
    timeouts = NotedCalls("demo:demo", "Timeout", ("demo:demo", "openai:gpt-a"))
    await store.recent_calls.note({timeouts: 3, NotedCalls("demo:demo", "RateLimited", ()): 5}, [("a:b", "demo:demo")])
    (gate,) = (await client.get(GATES)).json()["gates"]
    assert gate["chains"] == [["demo:demo"], ["demo:demo", "openai:gpt-a"], ["a:b", "demo:demo"]]
    assert gate["errors"] == [
        {"errorType": "RateLimited", "lastHour": 5, "lastDay": 5}, {"errorType": "Timeout", "lastHour": 3, "lastDay": 3}
    ]  # fmt: skip
    paused = (await client.post(f"{GATES}/demo:demo/pause")).json()
    assert paused == DEMO | {"state": "paused"}


async def test_a_bound_administrator_sees_states_alone(client: httpx.AsyncClient, store: JobStore) -> None:
    """No waiting jobs of the fleet, no failed calls or chains of others, no reason, and nothing to press."""
    await store.recent_calls.note({NotedCalls("demo:demo", "Timeout", ("demo:demo", "x:y")): 1}, [])
    key = await make_key(client, "alice", "admin")
    bound = bearer(key["key"])
    assert (await client.get(GATES, headers=bound)).json() == {"gates": [{"gate": "demo:demo", "state": "available"}]}
    problem(await client.get(QUEUE, headers=bound), 403, "operators-only")
    for path in (f"{GATES}/demo:demo/pause", f"{GATES}/demo:demo/resume", f"{QUEUE}/pause", f"{QUEUE}/resume"):
        problem(await client.post(path, headers=bound), 403, "operators-only")


async def test_limits_are_changed_and_taken_back(client: httpx.AsyncClient) -> None:
    """A limit that is left out stays; null takes back; a limit below zero is refused by name."""
    path = f"{GATES}/demo:demo"
    changes: list[tuple[dict[str, int | None], dict[str, int]]] = [
        ({"requestsPerMinute": 60}, {"requestsPerMinute": 60}),
        ({"tokensPerMinute": 0}, {"requestsPerMinute": 60, "tokensPerMinute": 0}),
        ({}, {"requestsPerMinute": 60, "tokensPerMinute": 0}),
        ({"requestsPerMinute": None, "tokensPerMinute": None}, {}),
    ]
    for change, limits in changes:
        view = (await client.patch(path, json=change)).raise_for_status().json()
        assert {name: value for name, value in view.items() if name.endswith("PerMinute")} == limits
    refused = problem(await client.patch(path, json={"requestsPerMinute": -1}), 400, "invalid-request")
    assert fields(refused) == {"requestsPerMinute"}
    trail = (await client.get("/api/admin/audit")).json()["entries"]
    assert [entry["action"] for entry in trail] == ["gate.limited"] * 3


async def test_operators_alone_see_the_room_that_is_left(client: httpx.AsyncClient) -> None:
    """Of a gate with limits; a bound administrator sees neither limits nor room."""
    limits = {"requestsPerMinute": 60, "tokensPerMinute": 9000}
    view = (await client.patch(f"{GATES}/demo:demo", json=limits)).raise_for_status().json()
    assert (view["requestsLeft"], view["tokensLeft"]) == (60, 9000)
    bound = bearer((await make_key(client, "alice", "admin"))["key"])
    assert (await client.get(GATES, headers=bound)).json() == {"gates": [{"gate": "demo:demo", "state": "available"}]}
