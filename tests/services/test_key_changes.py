"""Keys that are replaced or revoked, and the calls and streams that were opened with them."""

from __future__ import annotations

import asyncio
import datetime

import pytest

from shared.identity import key_ring
from shared.settings import StoreSettings
from tests.support.callers import KEYS, OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import SUBMIT, body, problem, running_gateway
from tests.support.notifier import running_notifier
from tests.support.store import KEYS as NAMES


def _soon(seconds: float) -> str:
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat()


async def test_both_keys_work_during_an_overlap(redis_url: str) -> None:
    """The new one has the rights of the old one, which ends when the overlap is over; it cannot be replaced then."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        old = await make_key(client, "alice", "jobs:read", label="x", models=["openai:a"])
        path = f"{KEYS}/{old['id']}/rotate"
        answer = await client.post(path, json={"overlapSeconds": 1.5}, headers=bearer(OPERATOR))
        new = answer.json()
        assert answer.status_code == 201
        assert {name: new[name] for name in ("organizationId", "scopes", "label", "models", "expiresAt")} == {
            name: old[name] for name in ("organizationId", "scopes", "label", "models", "expiresAt")
        }
        for made in (old, new):
            assert (await client.get("/api/ai/jobs", headers=bearer(made["key"]))).status_code == 200
        async with asyncio.timeout(10):
            while (await client.get("/api/ai/jobs", headers=bearer(old["key"]))).status_code == 200:
                await asyncio.sleep(0.1)
        assert (await client.get("/api/ai/jobs", headers=bearer(new["key"]))).status_code == 200
        problem(await client.post(path, json={}, headers=bearer(OPERATOR)), 409, "key-ended")


async def test_a_revoked_key_is_refused_everywhere_at_once(redis_url: str) -> None:
    """By every gateway that knows it, without a restart; revoking it twice is the same."""
    settings = {"API_TOKENS": TOKENS}
    async with running_gateway(redis_url, **settings) as client, running_gateway(redis_url, **settings) as other:
        made = await make_key(client, "alice")
        for each in (client, other):
            assert (await each.get("/api/ai/jobs", headers=bearer(made["key"]))).status_code == 200
        for _ in range(2):
            assert (await client.delete(f"{KEYS}/{made['id']}", headers=bearer(OPERATOR))).status_code == 204
        async with asyncio.timeout(5):
            for each in (client, other):
                while (await each.get("/api/ai/jobs", headers=bearer(made["key"]))).status_code != 401:
                    await asyncio.sleep(0.02)


@pytest.mark.parametrize("transport", ["tcp", "silent"])
async def test_open_streams_of_a_revoked_key_end(
    redis_url: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once where the process is notified; elsewhere when the key is checked. The stream says how to come back, and
    is refused then."""
    monkeypatch.setattr(key_ring, "FRESH_S", 0.2)
    monkeypatch.setattr("shared.streams.serving.KEY_CHECK_S", 0.2 if transport == "silent" else 60.0)
    if transport == "silent":
        monkeypatch.setattr(key_ring.KeyRing, "forget", lambda *_: None)
    settings = StoreSettings(redis_url=redis_url)
    async with (
        running_gateway(redis_url, API_TOKENS=TOKENS) as client,
        running_notifier(settings, api_tokens=TOKENS) as notifier,
    ):
        made = await make_key(client, "alice")
        job = (await client.post(SUBMIT, json=body(organizationId="alice"), headers=bearer(made["key"]))).json()
        for listening, origin in enumerate((str(client.base_url), notifier.url), 1):
            url = f"{origin}/api/ai/job-events?jobId={job['jobId']}"
            key = made if origin != notifier.url else (made := await make_key(client, "alice"))
            async with client.stream("GET", url, headers=bearer(key["key"])) as stream, asyncio.timeout(20):
                pieces = stream.aiter_text()
                assert "event: queued" in await anext(pieces)
                await _listeners(redis_url, listening)
                await client.delete(f"{KEYS}/{key['id']}", headers=bearer(OPERATOR))
                assert "retry:" in "".join([piece async for piece in pieces])
            assert (await client.get(url, headers=bearer(key["key"]))).status_code == 401


async def _listeners(redis_url: str, count: int) -> None:
    """Wait until so many processes listen for changes of keys."""
    async with RawRedis(redis_url) as raw, asyncio.timeout(15):
        while (await raw("PUBSUB", "NUMSUB", NAMES.key_channel))[1] < count:
            await asyncio.sleep(0.01)


async def test_a_stream_ends_with_its_key(redis_url: str) -> None:
    """A key that expires ends its streams on time."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        made = await make_key(client, "alice", expiresAt=_soon(1.5))
        key = bearer(made["key"])
        job = (await client.post(SUBMIT, json=body(organizationId="alice"), headers=key)).json()
        async with client.stream("GET", job["links"]["events"], headers=key) as stream, asyncio.timeout(10):
            assert "retry:" in (await stream.aread()).decode()
        problem(await client.get(job["links"]["events"], headers=key), 401, "unauthorized")
