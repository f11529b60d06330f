"""An idle console where every command is billed: one command a minute for all who watch, counted by the server, while
what a key may do is as fresh as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from shared.identity import key_ring, key_text
from shared.identity.key_ring import FRUGAL_FRESH_S, KeyRing
from shared.settings import StoreSettings
from shared.store.api_keys import ApiKey
from shared.store.audit_trail import Actor
from shared.store.erasure import Erasure
from shared.store.job_store import JobStore, open_store
from tests.support.callers import OPERATOR, TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import problem, running_gateway
from tests.support.store import KEYS, repeated

STATS = "/api/ai/queue-stats"
ACTOR = Actor(key_id="test")
MINUTE_S = 1.5
"""Length of a minute of the gateway in this test."""

WATCHERS = ("*", "*", "alice", "alice", "bob", "carol")


@pytest.fixture
async def frugal(redis_url: str) -> AsyncIterator[JobStore]:
    """A store that is billed for each command."""
    async with open_store(StoreSettings(redis_url=redis_url, frugal=True), client_name="test") as opened:
        yield opened


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notifications of changed keys are not received, as over REST."""
    monkeypatch.setattr(KeyRing, "forget", lambda *_: None)


async def _commands(raw: RawRedis) -> int:
    """Commands that the server has processed, those inside scripts too, without the asking."""
    text = (await raw("INFO", "commandstats")).decode()
    rows = dict(line.removeprefix("cmdstat_").split(":calls=") for line in text.splitlines() if ":calls=" in line)
    return sum(int(row.split(",")[0]) for name, row in rows.items() if not name.startswith(("info", "client|")))


async def _look(client: httpx.AsyncClient, keys: Sequence[str], pages: int = 3) -> None:
    """Ask for the counts, as each page does once a minute; pages of a key are several."""
    answers = await asyncio.gather(*(client.get(STATS, headers=bearer(key)) for key in keys for _ in range(pages)))
    assert {answer.status_code for answer in answers} == {200}


async def test_many_who_watch_cost_one_command_a_minute(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators and three organisations with six keys, three pages each: as many commands as minutes, not as keys; and
    none when nobody looks."""
    monkeypatch.setattr(key_ring, "FRUGAL_FRESH_S", MINUTE_S)
    async with running_gateway(redis_url, FRUGAL="1", API_TOKENS=TOKENS) as client, RawRedis(redis_url) as raw:
        keys = [(await make_key(client, whose, "stats:read", "admin"))["key"] for whose in WATCHERS]
        await _look(client, keys)  # each key is read, and the counts, which are kept for an hour while there is no job
        await asyncio.sleep(MINUTE_S)
        await _look(client, keys)

        began, before, looks = asyncio.get_running_loop().time(), await _commands(raw), 0
        while asyncio.get_running_loop().time() - began < 4 * MINUTE_S:
            await _look(client, keys)
            looks += 1
            await asyncio.sleep(MINUTE_S / 4)
        minutes = (asyncio.get_running_loop().time() - began) / MINUTE_S
        assert looks >= 5
        assert 1 <= await _commands(raw) - before <= minutes + 1

        before = await _commands(raw)
        await asyncio.sleep(2 * MINUTE_S)
        assert await _commands(raw) == before


@pytest.mark.usefixtures("deaf")
async def test_a_revoked_key_is_refused_within_the_minute(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its notification, too: another gateway revoked it, and this one finds that something changed."""
    monkeypatch.setattr(key_ring, "FRUGAL_FRESH_S", MINUTE_S)
    async with (
        running_gateway(redis_url, FRUGAL="1", API_TOKENS=TOKENS) as client,
        open_store(StoreSettings(redis_url=redis_url), client_name="other") as other,
    ):
        revoked, kept = [await make_key(client, "alice", "stats:read") for _ in range(2)]
        for _ in range(3):
            await _look(client, [revoked["key"], kept["key"]])
            await asyncio.sleep(MINUTE_S / 2)
        await repeated(lambda: other.api_keys.revoke(revoked["id"], ACTOR, owner=None))
        await asyncio.sleep(MINUTE_S)
        problem(await client.get(STATS, headers=bearer(revoked["key"])), 401, "unauthorized")
        await _look(client, [kept["key"], OPERATOR])


async def _made(store: JobStore, organization: str = "alice") -> str:
    made = key_text.new_key()
    key = ApiKey(id=made.id, digest=made.digest, organization_id=organization, scopes=("jobs:read",))
    await repeated(lambda: store.api_keys.create(key, ACTOR))
    return made.id


@pytest.mark.usefixtures("deaf")
async def test_a_change_between_two_readings_is_not_missed(frugal: JobStore) -> None:
    """A key that is revoked right after it was read, before anything else is asked: the next minute knows."""
    now = [1000.0]
    ring = KeyRing(frugal, clock=lambda: now[0], revised=True)
    key_id, other = await _made(frugal), await _made(frugal)
    assert await ring.find(key_id) is not None
    await repeated(lambda: frugal.api_keys.revoke(key_id, ACTOR, owner=None))
    now[0] += FRUGAL_FRESH_S / 2
    assert await ring.find(other) is not None
    now[0] += FRUGAL_FRESH_S / 2
    found = await ring.find(key_id)
    assert found is not None
    assert found.revoked_ms is not None
    await ring.aclose()


@pytest.mark.usefixtures("deaf")
async def test_a_deletion_does_not_bring_a_revoked_key_back(frugal: JobStore, redis_url: str) -> None:
    """Its organisation's entries leave the trail, which ends then as it did when the key was read."""
    now = [1000.0]
    ring = KeyRing(frugal, clock=lambda: now[0], revised=True)
    await _made(frugal, "bob")
    key_id = await _made(frugal)
    await _erased(frugal.erasure)
    assert await ring.find(key_id) is not None
    await repeated(lambda: frugal.api_keys.revoke(key_id, ACTOR, owner=None))
    await _erased(frugal.erasure)
    async with RawRedis(redis_url) as raw:
        assert len(await raw("XRANGE", KEYS.fixed("audit_trail"), "-", "+")) == 1
    now[0] += FRUGAL_FRESH_S
    found = await ring.find(key_id)
    assert found is None or found.revoked_ms is not None
    await ring.aclose()


async def _erased(erasure: Erasure) -> None:
    await repeated(lambda: erasure.erase_entries("alice"))


async def test_keys_are_read_one_by_one_where_the_trail_cannot_be(frugal: JobStore, redis_url: str) -> None:
    """Nothing is trusted for longer than a minute because of that."""
    now = [1000.0]
    ring = KeyRing(frugal, clock=lambda: now[0], revised=True)
    key_id = await _made(frugal)
    async with RawRedis(redis_url) as raw:
        await raw("DEL", KEYS.fixed("audit_trail"))
        assert await ring.find(key_id) is not None
        await raw("HSET", KEYS.api_key(key_id), "revoked", "1")
        now[0] += FRUGAL_FRESH_S
        found = await ring.find(key_id)
        assert found is not None
        assert found.revoked_ms == 1
    await ring.aclose()
