"""The room that is left at a gate, as operators see it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.settings import StoreSettings
from shared.store.audit_trail import Actor
from shared.store.gates import Gate
from shared.store.job_store import JobStore, open_store
from shared.store.workers import WorkerEntry
from tests.support.checks import RawRedis
from tests.support.gates import A, block, free, routing
from tests.support.store import claim, submit

PATHS = routing(A, rpm=600, tpm=1_000_000)
ACTOR = Actor(key_id="test")


@pytest.fixture
async def gated(url: str) -> AsyncIterator[JobStore]:
    """A store of a worker whose gate has limits, and which has registered with them."""
    async with open_store(StoreSettings(redis_url=url), client_name="gated", routing=PATHS) as opened:
        entry = WorkerEntry(host="here", release="1", slots=5, limits=PATHS.limits)
        await opened.workers.register("w1", entry)
        yield opened


async def _gate(store: JobStore) -> Gate:
    (found,) = (gate for gate in await store.gates.read((A,)) if gate.name == A)
    return found


async def test_each_call_takes_from_the_room_of_its_minute(gated: JobStore, raw: RawRedis) -> None:
    """All of it is left at first, less by one for each call, and by the tokens that were reserved for it."""
    await free(raw, A)
    first = await _gate(gated)
    assert (first.requests_left, first.tokens_left) == (600, 1_000_000)
    await submit(gated, 3, max_tokens=1000)
    calls = 0
    while calls < 3:  # they are spread over the minute
        calls += len(await claim(gated, 3))
    after = await _gate(gated)
    assert after.requests_left is not None
    assert after.tokens_left is not None
    assert 597 <= after.requests_left <= 600  # a tenth of a second gives one back
    assert after.tokens_left < 1_000_000


async def test_a_gate_that_lets_no_call_pass_has_no_room(gated: JobStore) -> None:
    """A blocked one, and a paused one."""
    await block(gated, A)
    assert ((await _gate(gated)).requests_left, (await _gate(gated)).tokens_left) == (0, 0)
    await gated.gates.pause(A, ACTOR)
    assert (await _gate(gated)).requests_left == 0


async def test_limits_of_operators_come_before_those_of_the_workers(gated: JobStore) -> None:
    """Each by itself; none is no room to speak of."""
    await gated.gates.limit(A, {"requests_per_minute": 30}, ACTOR)
    assert ((await _gate(gated)).requests_left, (await _gate(gated)).tokens_left) == (30, 1_000_000)
    await gated.gates.limit(A, {"requests_per_minute": None, "tokens_per_minute": 0}, ACTOR)
    assert ((await _gate(gated)).requests_left, (await _gate(gated)).tokens_left) == (600, None)


async def test_without_limits_nothing_is_said_of_room(store: JobStore, raw: RawRedis) -> None:
    """Also with damaged entries in the registry, and with those of an older release."""
    await raw("HSET", "pw:{0}:workers", "w1", "{", "w2", '{"host":"h","release":"1","slots":1,"at":5}', "!w2", "1")
    await submit(store, route=(A,))
    assert ((await _gate(store)).requests_left, (await _gate(store)).tokens_left) == (None, None)
