"""A server that comes back without its last second: no token serves two (I4), readers see no event twice (I10)."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import Redis

from shared.errors import LeaseLost
from shared.events import EventKind
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore, open_store
from tests.support.breaches import breaches
from tests.support.checks import RawRedis
from tests.support.fail_over import claimed_again
from tests.support.store import KEYS, claim, complete, repeated, submit

AOF = "appendonlydir"


class ForgetfulServer:
    """A server of its own whose last writes can be lost, as those that were not on the disk when the host died."""

    def __init__(self, folder: Path, binary: str | None) -> None:
        self._folder = folder
        self.server = EmbeddedServer(folder / "data", binary=Path(binary) if binary else None)

    def save(self) -> None:
        """Its present data will survive. While the disk is slow, a write is answered before it is in the file."""
        with Redis.from_url(self.server.url) as client:
            while client.info("persistence")["aof_buffer_length"] > 0:
                time.sleep(0.01)
        shutil.copytree(self._folder / "data" / AOF, self._folder / "saved")

    def die(self) -> None:
        """Kill it and start it again with the saved data."""
        self.server.kill()
        shutil.rmtree(self._folder / "data" / AOF)
        shutil.move(self._folder / "saved", self._folder / "data" / AOF)
        self.server.start()


@pytest.fixture(params=["valkey-server", "redis-server"])
def forgetful(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ForgetfulServer]:
    """A running one, of each kind that is there."""
    binary = None if request.param == "valkey-server" else shutil.which("redis-server")
    if request.param == "redis-server" and binary is None:
        pytest.skip("redis-server is not installed")
    made = ForgetfulServer(tmp_path, binary)
    with made.server:
        yield made


@pytest.fixture
async def store(forgetful: ForgetfulServer) -> AsyncIterator[JobStore]:
    """A store on it."""
    async with open_store(StoreSettings(redis_url=forgetful.server.url), client_name="test") as opened:
        yield opened


async def test_a_claim_that_was_lost_is_no_lease_beside_the_next(forgetful: ForgetfulServer, store: JobStore) -> None:
    """The entry is delivered again, under a new token; who still runs the job is refused at the next word."""
    (job_id,) = await submit(store)
    forgetful.save()
    (lost,) = await claim(store, 1, "before")
    await store.append(lost, 2, "never to be read again")
    forgetful.die()
    (held,) = await claimed_again(store, "after")
    assert (held.job_id, held.attempt) == (job_id, 1)
    assert held.token != lost.token
    assert (await store.renew("before", [lost])).lost == {lost.token}
    assert (await store.renew("after", [held])).lost == set()
    for write in (store.append(lost, 3, "of nobody"), complete(store, lost, "of nobody")):
        with pytest.raises(LeaseLost):
            await write
    await complete(store, held)
    async with RawRedis(forgetful.server.url) as raw:
        assert await breaches(store, raw, [job_id]) == []


async def test_a_run_whose_end_was_lost_is_repeated_under_a_new_token(
    forgetful: ForgetfulServer, store: JobStore
) -> None:
    """A worker has done with a job, the server forgot it, and an answer to the next claim is lost: the job comes again,
    as its first attempt, and nothing of the second run has a number that a browser knows from the first."""
    (job_id,) = await submit(store)
    (first,) = await claim(store)
    forgetful.save()
    await store.append(first, 2, "one text")
    cursor = (await store.events.read(job_id, None)).cursor
    await complete(store, first, "one text")
    forgetful.die()
    (second,) = await repeated(lambda: claimed_again(store, "w1"))
    assert (second.job_id, second.attempt) == (job_id, 1)
    assert second.token != first.token
    await store.append(second, 2, "another")
    page = await store.events.read(job_id, cursor)
    assert page.events[0].kind is EventKind.GAP
    await complete(store, second, "another")
    async with RawRedis(forgetful.server.url) as raw:
        assert await breaches(store, raw, [job_id]) == []


async def test_an_event_that_was_read_and_lost_is_followed_by_a_gap(
    forgetful: ForgetfulServer, store: JobStore
) -> None:
    """A delta is lost that a browser has: no later event of the job has its number."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    await store.append(held, 2, "kept")
    forgetful.save()
    await store.append(held, 3, "lost")
    cursor = (await store.events.read(job_id, None)).cursor
    forgetful.die()
    await repeated(lambda: store.cancel(job_id, force=True))
    page = await store.events.read(job_id, cursor)
    assert [event.kind for event in page.events] == [EventKind.GAP, EventKind.CANCELLED]


async def test_a_worker_whose_claim_survived_goes_on(forgetful: ForgetfulServer, store: JobStore) -> None:
    """A restart that lost nothing ends no lease: the job runs once."""
    (job_id,) = await submit(store)
    (held,) = await claim(store)
    forgetful.save()
    forgetful.die()
    assert (await repeated(lambda: store.renew("w1", [held]))).lost == set()
    await complete(store, held)
    snapshot = await store.status(job_id)
    assert snapshot is not None
    assert snapshot.status == "completed"


async def test_what_waits_keeps_its_order_through_a_restart(forgetful: ForgetfulServer, store: JobStore) -> None:
    """Waiting jobs get new entries when their turn comes, high before normal before low, each runs once."""
    ids = {queue: await submit(store, 20, queue) for queue in ("low", "normal", "high")}
    forgetful.save()
    forgetful.die()
    order = []
    for _ in range(60):
        (held,) = await claimed_again(store, "w1")
        order.append(held.job_id)
        await complete(store, held)
    assert sorted(order) == sorted(job_id for queue in ids.values() for job_id in queue)
    assert set(order[:10]) & set(ids["high"])
    assert len(set(order[:30]) & set(ids["high"])) >= 20
    async with RawRedis(forgetful.server.url) as raw:
        assert await breaches(store, raw, order) == []
        assert await raw("HLEN", KEYS.fixed("failover")) > 1


async def test_a_server_that_bills_commands_is_not_greeted(forgetful: ForgetfulServer) -> None:
    """In the pay-per-command profile a connection costs no command of its own: its host keeps confirmed writes."""
    settings = StoreSettings(redis_url=forgetful.server.url, frugal=True)
    async with open_store(settings, client_name="test") as frugal, RawRedis(forgetful.server.url) as raw:
        await raw("CONFIG", "RESETSTAT")
        await frugal.ping()
        stats = (await raw("INFO", "commandstats")).decode()
    assert "cmdstat_eval" not in stats
    assert "cmdstat_info" not in stats
