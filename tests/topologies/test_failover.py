"""The store's own connections over a change of the master: killed, gone without a word, or turned into a replica."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from shared.errors import StoreUnavailable
from shared.job import Claim, JobStatus
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from shared.store.results import WakeUp
from tests.support.fail_over import Servers, ask, claimed_again
from tests.support.store import complete, new_job, repeated, submit
from tests.topologies.conftest import RUNNING

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def _claim(store: JobStore, consumer: str = "w1") -> list[Claim]:
    """Claim all that can be claimed, as a worker does it."""
    claims, more = list[Claim](), True
    while more:
        claimed = await repeated(lambda: store.claim(consumer, 10, poll=True, suspect=True))
        claims, more = [*claims, *claimed.claims], claimed.more
    return claims


async def _status(store: JobStore, job_id: str) -> JobStatus:
    snapshot = await repeated(lambda: store.status(job_id))
    assert snapshot is not None
    return snapshot.status


async def test_jobs_survive_the_death_of_the_master(servers: Servers, store: JobStore) -> None:
    """Replicated jobs go on: the lease holds, the view is known to be broken, the waiting job is claimed."""
    (running,) = await submit(store, 1)
    (held,) = await _claim(store)
    (waiting,) = await submit(store, 1)
    generation = store.generation
    await servers.in_sync()
    await servers.kill_master()

    renewed = await repeated(lambda: store.renew("w1", [held]))
    assert (renewed.lost, store.generation > generation) == (frozenset(), True)
    await repeated(lambda: complete(store, held))
    assert await _status(store, running) is JobStatus.COMPLETED
    assert [one.job_id for one in await claimed_again(store, "w2", 10)] == [waiting]


async def _notified(store: JobStore) -> bool:
    """Whether a listener receives the notification published on the master."""
    return bool(await repeated(lambda: store._reads.execute("PUBLISH", store.keys.job_channel("job"), "x")))


async def test_nobody_waits_on_a_master_that_is_gone_without_a_word(servers: Servers, store: JobStore) -> None:
    """The old master stands still, its connections open: commands, the sleeping worker and the subscriber all move
    over."""
    assert await store.wait_for_work(1) is WakeUp.NONE
    sleeping = asyncio.create_task(_next_notification(store))
    async with store.subscriber.listen(store.keys.job_channel("job")) as listener:
        await listener.wait(5)
        assert await _notified(store)
        await servers.in_sync()
        old = await servers.master()
        old.pause()
        await servers.master(other_than=old)
        began = time.monotonic()
        await repeated(lambda: store.submit(new_job()))
        assert await asyncio.wait_for(sleeping, 60) is WakeUp.JOB
        while not await _notified(store):
            await asyncio.sleep(0.05)
        assert time.monotonic() - began < 60
        old.resume()
    assert len(await _claim(store)) == 1


async def _next_notification(store: JobStore) -> WakeUp:
    while (wake_up := await repeated(lambda: store.wait_for_work(60_000))) is WakeUp.NONE:
        pass
    return wake_up


async def test_everything_follows_a_master_that_hands_over(servers: Servers, store: JobStore) -> None:
    """The old master lives on as a replica: the commands find the new one, and the subscriber follows."""
    async with store.subscriber.listen(store.keys.job_channel("job")) as listener:
        await listener.wait(5)
        (job_id,) = await submit(store, 1)
        await servers.in_sync()
        await servers.hand_over()
        await repeated(lambda: store.submit(new_job()))
        async with asyncio.timeout(30):
            while not await _notified(store):
                await asyncio.sleep(0.05)
    claims = await _claim(store)
    assert job_id in {held.job_id for held in claims}
    assert len(claims) == 2


async def test_a_master_turned_into_a_replica_is_left(server: EmbeddedServer, store_of_one: JobStore) -> None:
    """READONLY, also when a script meets it in one of its items, ends the connection; the next one works again."""
    store = store_of_one
    await submit(store, 1)
    generation = store.generation
    await ask(server, "REPLICAOF", "127.0.0.1", 1)
    try:
        with pytest.raises(StoreUnavailable) as refused:
            await store.submit(new_job())
        assert (str(refused.value), refused.value.sent) == ("Redis refused: READONLY", False)
    finally:
        await ask(server, "REPLICAOF", "NO", "ONE")
    await repeated(lambda: store.submit(new_job()))
    assert store.generation > generation
    assert len(await _claim(store)) == 2


async def test_a_slot_on_its_way_costs_no_job(tmp_path: Path) -> None:
    """While the slot is moved to another node calls are refused as passing; nothing is done twice or by halves."""
    async with RUNNING["cluster"](tmp_path / "servers", replicas=0) as servers:
        settings = StoreSettings(redis_url=servers.url, lease_seconds=30.0)
        async with open_store(settings, client_name="test") as store:
            (first,) = await submit(store, 1)
            old, new = await servers.master(), servers.servers[0]
            ids = [(await ask(node, "CLUSTER", "MYID")).decode() for node in (old, new)]
            slot = await ask(old, "CLUSTER", "KEYSLOT", store.keys.fixed("round_robin"))
            await ask(new, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            await ask(old, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await store.submit(new_job())
            await _move_keys(old, new, int(slot))
            for node in (new, old):
                await ask(node, "CLUSTER", "SETSLOT", slot, "NODE", ids[1])
            (second,) = await repeated(lambda: submit(store, 1))
            assert {held.job_id for held in await _claim(store)} == {first, second}


async def _move_keys(old: EmbeddedServer, new: EmbeddedServer, slot: int) -> None:
    while names := await ask(old, "CLUSTER", "GETKEYSINSLOT", slot, 100):
        for name in names:
            await ask(old, "MIGRATE", "127.0.0.1", new.port, name.decode(), 0, 5000)
