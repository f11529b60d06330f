"""A server that refuses writes: every script says so at once, writes nothing, and goes on when writes are back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.errors import StoreFull, StoreUnavailable
from shared.job import Claim
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.engine import scripts
from shared.store.job_store import JobStore, open_store
from shared.store.tasks import TaskPlan
from shared.store.workers import WorkerEntry
from tests.conftest import flush
from tests.support.checks import RawRedis
from tests.support.gates import A, B, block_by_job, routing
from tests.support.refusing_server import REFUSALS, full
from tests.support.script_acts import ACTOR, ACTS, Scene, new_key
from tests.support.store import KEYS, claim, complete, fail, make_due, make_stale, submit, unblock_gate

NAMES = sorted(path.stem for path in (Path(scripts.__file__).parents[1] / "lua").glob("*.lua"))
READING = {
    "count_entries", "count_throttled", "count_reserved", "durations", "list", "stats", "oldest", "organization",
    "usage", "vet", "waiting", "throttled", "workers",
}  # fmt: skip
SLOWEST_MS = 50.0
"""Time that a refusal may take the server, by its own count."""


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server whose settings may be changed."""
    with EmbeddedServer(Path(tmp_path_factory.mktemp("refusing")), aof=False) as running:
        yield running


@pytest.fixture
async def scene(own_server: EmbeddedServer) -> AsyncIterator[Scene]:
    """Jobs that run, wait, are due, wait for a gate that has room, lost their worker, or are named by no entry; their
    organisation has a budget."""
    await flush(own_server.url)
    settings = StoreSettings(redis_url=own_server.url, lease_seconds=2.0)
    async with (
        open_store(settings, client_name="plain") as plain,
        open_store(settings, client_name="refused", routing=routing(A, B)) as store,
        RawRedis(own_server.url) as raw,
    ):
        await plain.organizations.change("org", {"month_nano_usd": 10**15}, ACTOR)
        await block_by_job(store)
        await unblock_gate(raw, A)
        await _fill(plain, raw)
        await plain.api_keys.create(new_key("k0"), ACTOR)
        await store.renew("w1", [])
        await store.workers.register("w1", WorkerEntry(host="h", release="1", slots=1))
        (over,) = await _claims(plain, "w1", 1)
        await complete(plain, over)
        (failed,) = await _claims(plain, "w1", 1)
        await fail(plain, failed)
        await plain.tasks.create(TaskPlan(kind="discard"), 1, ACTOR)
        (held,) = await _claims(plain, "w1", 1)
        (dropped,) = await _claims(plain, "gone", 1)
        await raw("XACK", KEYS.fixed("high"), "workers", dropped.token[1:])
        await raw("HSET", KEYS.job(dropped.job_id), "entry", "n1-1")
        yield Scene(store, plain, raw, own_server.folder, held, dropped.job_id, over.job_id, failed.job_id)


async def _fill(store: JobStore, raw: RawRedis) -> None:
    await store.renew("finder", [])
    await submit(store, 3)
    for losses in range(1, 4):
        (lost,) = await _claims(store, f"gone{losses}", 1)
        await raw("HSET", KEYS.job(lost.job_id), "losses", losses)
        await make_stale(raw, lost)
    await store.maintenance.recover("finder", [])
    await make_stale(raw, *await _claims(store, "gone again", 2))
    (due,) = await submit(store, delay_ms=60_000)
    await make_due(raw, due)


async def _claims(store: JobStore, consumer: str, count: int) -> list[Claim]:
    await submit(store, count, "high")
    claims = await claim(store, count, consumer, poll=False)
    assert len(claims) == count
    return claims


async def _everything(raw: RawRedis) -> dict[bytes, object]:
    """All keys but the one that ends by itself within the test."""
    keys = set(await raw("KEYS", "*")) - {KEYS.fixed("recoverer").encode()}
    return {key: await raw("DUMP", key) for key in sorted(keys)}


async def _spent_ms(raw: RawRedis) -> float:
    """On all scripts since the server's counts began."""
    text = (await raw("INFO", "commandstats")).decode()
    spent = [line.split("usec=")[1].split(",")[0] for line in text.splitlines() if line.startswith("cmdstat_eval")]
    return sum(map(int, spent)) / 1000


def test_every_script_is_tried() -> None:
    """A new script says here how it meets a refusal."""
    assert sorted(ACTS) == NAMES


@pytest.mark.parametrize("name", NAMES)
async def test_a_refused_write_is_reported_at_once_and_leaves_nothing(scene: Scene, name: str) -> None:
    """In the server's words, within 50 ms of its time, nothing half-written; and the same call passes afterwards."""
    before = await _everything(scene.raw)
    for refusal, refusing in REFUSALS.items():
        async with refusing(scene):
            await scene.raw("CONFIG", "RESETSTAT")
            if name in READING:
                await ACTS[name](scene)
            else:
                seen = scene.store.generation
                with pytest.raises(StoreUnavailable, match=refusal):
                    await ACTS[name](scene)
                assert scene.store.generation > seen, "nobody could renew: a break of view (I6)"
            assert await _spent_ms(scene.raw) < SLOWEST_MS
            assert await _everything(scene.raw) == before
    await ACTS[name](scene)
    await _go_on(scene)


@pytest.mark.parametrize("name", NAMES)
async def test_every_script_but_submit_passes_on_a_full_server(scene: Scene, name: str) -> None:
    """Running jobs end, lost ones are recovered and workers leave; new jobs alone are refused."""
    async with full(scene):
        await scene.raw("CONFIG", "RESETSTAT")
        if name == "submit":
            with pytest.raises(StoreFull):
                await ACTS[name](scene)
        else:
            await ACTS[name](scene)
        assert await _spent_ms(scene.raw) < SLOWEST_MS
    await _go_on(scene)


async def _go_on(scene: Scene) -> None:
    (job_id,) = await submit(scene.plain)
    claims = [one for _ in range(3) for one in await claim(scene.plain, 50, "after", suspect=False)]
    assert job_id in {one.job_id for one in claims}
