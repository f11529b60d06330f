"""DURABILITY=replicated and fsync: a submit is confirmed when replicas or the disk have it, and only then."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.setting_values import read
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from tests.support.fail_over import claimed_again
from tests.support.gateway import STATUS, SUBMIT, body, problem, running_gateway
from tests.support.processes import ServiceProcess
from tests.support.store import claim, new_job, repeated, submit
from tests.support.topologies import Pair, running_pair

REDIS = shutil.which("redis-server")


def _settings(url: str, durability: str, **more: object) -> StoreSettings:
    return read({"DURABILITY": durability}, StoreSettings, redis_url=url, **more)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """A master and its replica."""
    async with running_pair(tmp_path / "servers") as running:
        yield running


@pytest.fixture
async def store(pair: Pair) -> AsyncIterator[JobStore]:
    """A store that wants every submit on the replica."""
    async with open_store(_settings(pair.master.url, "replicated", timeout_seconds=0.5), client_name="test") as opened:
        yield opened


async def _refused(store: JobStore, **more: object) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as refused:
        await store.submit(new_job(**more))  # type: ignore[arg-type]  # fields of any type
    return refused.value


async def test_a_submit_waits_for_the_replica_and_nobody_else_does(pair: Pair, store: JobStore) -> None:
    """While the replica stands still submits are refused as perhaps sent, in time; other calls are as fast as ever."""
    await submit(store, 5)
    pair.replica.pause()
    refusal, pings = asyncio.create_task(_refused(store)), 0
    async with asyncio.timeout(30):
        while not refusal.done():
            await store.ping()
            pings += 1
    assert refusal.result().sent
    # It waited for a third of a second; behind it, the first ping would have been the last.
    assert pings > 5
    pair.replica.resume()
    await repeated(lambda: store.submit(new_job()))
    assert (await store.queries.stats()).queued == 7


@pytest.mark.parametrize("key", [None, "key"])
async def test_a_repeated_submit_asks_for_its_confirmation_again(pair: Pair, store: JobStore, key: str | None) -> None:
    """It makes no second job, and is refused as long as the first one is on the master alone."""
    job = new_job(idempotency_key=key, fingerprint="print")
    pair.replica.pause()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.submit(job)
    async with open_store(store.settings, client_name="another") as another:
        # Another connection has written nothing: for Valkey 9 nothing is left to be confirmed there.
        with pytest.raises(StoreUnavailable):
            await another.submit(job)
    pair.replica.resume()
    submitted = await repeated(lambda: store.submit(job))
    assert (submitted.job_id, submitted.created) == (job.id, False)
    assert len(await claim(store)) == 1


async def test_an_unconfirmed_job_is_named_to_the_client(pair: Pair) -> None:
    """Over HTTP: 503 with the job's id, under which it is found; the same key then answers 202 for the same job."""
    async with running_gateway(pair.master.url, DURABILITY="replicated") as client:
        headers = {"Idempotency-Key": "one"}
        pair.replica.pause()
        document = problem(await client.post(SUBMIT, json=body(), headers=headers), 503, "store-unavailable")
        found = (await client.get(STATUS, params={"jobId": document["jobId"]})).json()
        assert found["status"] == "queued"
        pair.replica.resume()
        async with asyncio.timeout(30):
            while (answer := await client.post(SUBMIT, json=body(), headers=headers)).status_code == 503:
                await asyncio.sleep(0.05)
    assert (answer.status_code, answer.json()["jobId"]) == (202, document["jobId"])


async def test_fsync_confirms_on_the_disk_of_the_master(tmp_path: Path) -> None:
    """With an append-only file submits pass, and are there after a kill -9; replicas count when they are asked for."""
    with EmbeddedServer(tmp_path / "data") as server:
        async with open_store(_settings(server.url, "fsync"), client_name="test") as store:
            await store.check()
            ids = await submit(store, 200)
            server.kill()
            server.start()
            assert {held.job_id for held in await claimed_again(store, "w1", 300)} == set(ids)
        more = _settings(server.url, "fsync", wait_replicas=1)
        async with open_store(more, client_name="test") as store:
            assert (await _refused(store)).sent


async def test_fsync_without_an_append_only_file_stops_the_gateway(redis_url: str, tmp_path: Path) -> None:
    """The start ends with one clear line instead of a gateway that refuses every job."""
    gateway = ServiceProcess("gateway", {"REDIS_URL": redis_url, "DURABILITY": "fsync"}, tmp_path / "log")
    gateway.start()
    assert await gateway.wait() == 2
    assert gateway.log.read_text().splitlines() == ["gateway: DURABILITY: fsync needs a server with `appendonly yes`"]


@pytest.mark.skipif(REDIS is None, reason="redis-server is not installed on this machine")
async def test_redis_7_0_replicates_but_has_no_waitaof(tmp_path: Path) -> None:
    """`replicated` works on Redis 7.0; `fsync` is refused at the start, with the name of the missing part."""
    async with running_pair(tmp_path / "servers", binary=Path(str(REDIS))) as pair:
        async with open_store(_settings(pair.master.url, "replicated"), client_name="test") as store:
            await submit(store, 5)
            pair.replica.pause()
            assert (await _refused(store)).sent
            pair.replica.resume()
        async with open_store(_settings(pair.master.url, "fsync"), client_name="test") as store:
            with pytest.raises(SettingsInvalid, match="needs WAITAOF"):
                await store.check()


def test_settings_that_cannot_be_kept_are_refused() -> None:
    """An unknown durability, and replication that no replica confirms, stop the process."""
    with pytest.raises(SettingsInvalid, match="DURABILITY"):
        _settings("redis://h", "always")
    with pytest.raises(SettingsInvalid, match="WAIT_REPLICAS"):
        _settings("redis://h", "replicated", wait_replicas=0)
