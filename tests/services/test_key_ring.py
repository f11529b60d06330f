"""Keys as one process knows them: the right secret alone opens, and what is known of a key grows old."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import StoreUnavailable
from shared.identity import key_text
from shared.identity.key_ring import FRESH_S, OUTAGE_S, KeyRing
from shared.settings import StoreSettings
from shared.store.api_keys import ApiKey
from shared.store.audit_trail import Actor
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from tests.support.callers import TOKENS, bearer, make_key
from tests.support.checks import RawRedis
from tests.support.gateway import SUBMIT, body, problem, running_gateway
from tests.support.processes import free_port
from tests.support.store import KEYS, repeated

UNKNOWN = "ai-job-1737465123456-0bc123def"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that the test may end."""
    server = EmbeddedServer(tmp_path, port=free_port(), aof=False)
    server.start()
    yield server
    server.kill()
    server.stop()


def _url(server: EmbeddedServer) -> str:
    return f"redis://127.0.0.1:{server.port}"


async def test_a_key_with_another_secret_is_refused(redis_url: str) -> None:
    """Its id is known and its checksum right: such a text can be made from the published form."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        made = await make_key(client, "alice", "jobs:read")
        secret = key_text.new_key().text.split("_")[2][:32]
        start = f"pw_{made['id']}_{secret}"
        forged = start + key_text._checksum(start)
        assert key_text.id_of(forged) == made["id"]
        assert not key_text.is_mistyped(forged)
        problem(await client.get("/api/ai/jobs", headers=bearer(forged)), 401, "unauthorized")
        assert (await client.get("/api/ai/jobs", headers=bearer(made["key"]))).status_code == 200


async def _made(store: JobStore) -> str:
    made = key_text.new_key()
    key = ApiKey(id=made.id, digest=made.digest, organization_id="alice", scopes=("jobs:read",))
    await repeated(lambda: store.api_keys.create(key, Actor(key_id="test")))
    return made.id


async def test_what_is_known_of_a_key_is_read_again(own_server: EmbeddedServer) -> None:
    """After five seconds also without a notification: here the record is changed behind its back."""
    now = [1000.0]
    async with (
        open_store(StoreSettings(redis_url=_url(own_server)), client_name="t") as store,
        RawRedis(_url(own_server)) as raw,
    ):
        key_id = await _made(store)
        ring = KeyRing(store, clock=lambda: now[0])
        assert (await repeated(lambda: ring.find(key_id))) is not None
        await raw("HSET", KEYS.api_key(key_id), "revoked", "1")
        now[0] += FRESH_S - 0.1
        found = await ring.find(key_id)
        assert found is not None
        assert found.revoked_ms is None
        now[0] += 0.2
        found = await repeated(lambda: ring.find(key_id))
        assert found is not None
        assert found.revoked_ms == 1
        await ring.aclose()


async def test_a_known_key_outlives_an_outage_for_a_minute_and_no_longer(own_server: EmbeddedServer) -> None:
    """A key that was revoked meanwhile could not be distinguished for ever."""
    now = [1000.0]
    async with open_store(StoreSettings(redis_url=_url(own_server)), client_name="t") as store:
        key_id = await _made(store)
        ring = KeyRing(store, clock=lambda: now[0])
        assert (await repeated(lambda: ring.find(key_id))) is not None
        own_server.kill()
        now[0] += OUTAGE_S - 0.1
        assert (await ring.find(key_id)) is not None
        now[0] += 0.2
        with pytest.raises(StoreUnavailable):
            await ring.find(key_id)
        await ring.aclose()


async def test_an_outage_is_not_a_lack_of_rights(own_server: EmbeddedServer) -> None:
    """While Redis is away a known key keeps its rights; one that was not seen before is 503, and a stream is asked to
    come back."""
    async with running_gateway(_url(own_server), API_TOKENS=TOKENS) as client:
        known, fresh = await make_key(client, "alice", "jobs:read"), await make_key(client, "alice")
        assert (await client.get("/api/ai/jobs", headers=bearer(known["key"]))).status_code == 200
        own_server.kill()
        wrong = await client.post(SUBMIT, json=body(), headers=bearer(known["key"]))
        problem(wrong, 403, "insufficient-scope")
        problem(await client.get("/api/ai/jobs", headers=bearer(fresh["key"])), 503, "store-unavailable")
        events = await client.get(f"/api/ai/job-events?jobId={UNKNOWN}", headers=bearer(fresh["key"]))
        assert (events.status_code, events.text[:6]) == (200, "retry:")
