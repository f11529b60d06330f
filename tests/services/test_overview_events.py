"""The fleet's figures as server-sent events: one reading for all who watch, none for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from services.gateway.admin import overview_events
from shared.identity import key_ring
from shared.store.job_store import JobStore
from tests.support.callers import KEYS, OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import fields, problem, running_gateway
from tests.support.sse import Event, Stream
from tests.support.store import submit

EVENTS = "/api/admin/overview/events"


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with one operator, who is its caller."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS, NOTIFIER_HEARTBEAT_SECONDS="0.2") as running:
        running.headers.update(bearer(OPERATOR))
        yield running


def _stream(client: httpx.AsyncClient, key: str = OPERATOR) -> Stream:
    return Stream(f"{str(client.base_url).rstrip('/')}{EVENTS}", headers=bearer(key))


async def _next(stream: Stream) -> Event:
    async with asyncio.timeout(20):
        event = await stream.next()
    assert event is not None
    return event


async def _readings(redis_url: str) -> int:
    """Calls of scripts so far: a reading of the counts is one, at least."""
    async with RawRedis(redis_url) as raw:
        info = (await raw("INFO", "commandstats")).decode()
    found = [line for line in info.splitlines() if line.startswith("cmdstat_evalsha:")]
    return int(found[0].split("calls=")[1].split(",")[0]) if found else 0


async def test_readings_come_as_the_answer_of_the_overview(client: httpx.AsyncClient, store: JobStore) -> None:
    """At once, and again when something changed; between them nothing moves a cursor."""
    async with _stream(client) as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        first = await _next(stream)
        assert (first.kind, first.id, first.data["waiting"]) == ("overview", "", 0)
        assert first.data.keys() == (await client.get("/api/admin/overview")).json().keys()
        await submit(store, 3)
        async with asyncio.timeout(20):
            while (await _next(stream)).data["waiting"] != 3:
                pass
        assert stream.retry_ms is not None


async def test_all_who_watch_share_the_readings(client: httpx.AsyncClient, redis_url: str) -> None:
    """Five streams cost as many readings as one, see the same ones, and cost nothing once they are closed."""
    streams = [_stream(client) for _ in range(5)]
    for stream in streams:
        await stream.__aenter__()
    try:
        before = await _readings(redis_url)
        seen = [[(await _next(stream)).data["timestamp"] for stream in streams] for _ in range(4)]
        asked = await _readings(redis_url) - before
        assert len(set(seen[-1])) <= 2  # a reading may come between two of them
        assert len({stamp for row in seen for stamp in row}) <= 5
        assert asked <= 5 * 3  # three scripts a reading; five streams that read for themselves would need 60
    finally:
        for stream in streams:
            stream.cut()

    async with asyncio.timeout(20):
        while True:  # until the gateway has seen that they are gone
            before = await _readings(redis_url)
            await asyncio.sleep(2.5)
            if await _readings(redis_url) == before:
                break


async def test_a_silent_stream_has_a_heartbeat(client: httpx.AsyncClient) -> None:
    """Between two readings, so that no proxy takes the stream for dead."""
    async with _stream(client) as stream:
        for _ in range(3):
            await _next(stream)
        assert stream.heartbeats >= 2


async def test_the_stream_ends_with_its_key(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revoked key's stream ends by itself, and is refused afterwards."""
    monkeypatch.setattr(key_ring, "FRESH_S", 0.2)
    made = await make_key(client, "*", "admin")
    async with _stream(client, made["key"]) as stream:
        await _next(stream)
        assert (await client.delete(f"{KEYS}/{made['id']}")).status_code == 204
        async with asyncio.timeout(30):
            while await stream.next() is not None:
                pass
    async with _stream(client, made["key"]) as refused:
        assert refused.status == 401


async def test_the_stream_is_for_operators_alone(client: httpx.AsyncClient) -> None:
    """Neither a bound administrator nor an operator without the scope sees it, whatever they ask with it."""
    bound = await make_key(client, "alice", "admin")
    problem(await client.get(EVENTS, headers=bearer(bound["key"])), 403, "operators-only")
    reads = await make_key(client, "*", "jobs:read")
    problem(await client.get(EVENTS, headers=bearer(reads["key"])), 403, "insufficient-scope")
    problem(await client.get(EVENTS, headers={"Authorization": ""}), 401, "unauthorized")
    problem(await client.post(EVENTS), 405, "method-not-allowed")
    assert fields(problem(await client.get(EVENTS, params={"every": 1}), 400, "invalid-request")) == {"query"}


async def test_beyond_so_many_streams_a_browser_is_asked_to_come_back(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 200 that ends at once: an EventSource comes back after nothing else."""
    monkeypatch.setattr(overview_events, "STREAMS_MAX", 1)
    async with _stream(client) as first:
        await _next(first)
        async with _stream(client) as second:
            assert second.status == 200
            assert (await second.body()).startswith(b"retry: ")


async def test_there_is_no_stream_where_commands_are_billed(redis_url: str) -> None:
    """A clear 404; the overview itself is there."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS, FRUGAL="1") as client:
        client.headers.update(bearer(OPERATOR))
        refused = problem(await client.get(EVENTS), 404, "not-found")
        assert "once a minute" in refused["detail"]
        assert (await client.get("/api/admin/overview")).status_code == 200
