"""The store's count of commands is that of the server: every command, those inside scripts too."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from shared.job import JobStatus, Outcome, RetryReason
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.transitions import Finish, Requeue
from tests.support.checks import RawRedis
from tests.support.store import claim, complete, new_job

CONNECTING = frozenset({"client|setname", "info"})


async def _served(raw: RawRedis) -> Counter[str]:
    """Calls by command, without those of connecting and of the test's checks."""
    text = (await raw("INFO", "commandstats")).decode()
    lines = [line.removeprefix("cmdstat_").split(":calls=") for line in text.splitlines() if "calls=" in line]
    counted = {name: int(rest.split(",")[0]) for name, rest in lines}
    return Counter({name: calls for name, calls in counted.items() if name not in CONNECTING})


async def _live(store: JobStore) -> str:
    """Every call of the store at least once; the id of a job."""
    jobs = [new_job(idempotency_key=f"k{i}", fingerprint="f") for i in range(20)] + [new_job(delay_ms=60_000)]
    await asyncio.gather(*(store.submit(job) for job in jobs))
    assert (await store.wait_for_work(100)).value
    held = await claim(store, 10)
    await store.append(held[0], 2, "some")
    await complete(store, held[0], "some", number=2)
    await asyncio.gather(*(complete(store, one) for one in held[1:5]))
    await store.requeue(Requeue(held[5], RetryReason.ERROR, delay_ms=1, refund=False, error=None))
    await store.finish(Finish(held[6], JobStatus.CANCELLED, Outcome(), number=1, offset=0, run_ms=1))
    await store.cancel(jobs[-1].id)
    await store.cancel(held[7].job_id)
    await store.cancel(held[7].job_id, force=True)
    await store.renew("w1", held[8:])
    await store.maintenance.recover("w2", [])
    await store.maintenance.promote()
    await store.maintenance.unfinished()
    await store.queries.stats()
    await store.queries.oldest_waiting_ms()
    await store.queries.memory()
    await store.queries.jobs("org", limit=5)
    await store.maintenance.audit("w1")
    await store.ping()
    return jobs[0].id


async def _receive(store: JobStore, job_id: str, counted: Counter[str], *, unsubscribes: bool) -> None:
    async with store.subscriber.listen(store.keys.job_channel(job_id)) as listener:
        await listener.wait(5)
        await store.events.read(job_id, None)
    if unsubscribes:
        async with asyncio.timeout(30):
            while not counted["UNSUBSCRIBE"]:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("url", ["valkey", "redis"], indirect=True)  # a cluster bills nothing
@pytest.mark.parametrize("frugal", [False, True])
async def test_the_meter_agrees_with_the_server(url: str, raw: RawRedis, frugal: bool) -> None:
    """Through the life of jobs that complete, stream, retry, are cancelled, recovered and listed: not one is missed."""
    counted: Counter[str] = Counter()

    def observe(verb: str, commands: int) -> None:
        counted[verb] += commands

    settings = StoreSettings(redis_url=url, lease_seconds=2.0, frugal=frugal, deltas=not frugal)
    async with open_store(settings, client_name="first") as store:
        await claim(store)  # a script that fails, as this one does where no group is, does not report its commands
    await raw("SCRIPT", "FLUSH")
    before = await _served(raw)
    async with open_store(settings, client_name="metered", observer=observe) as store:
        await _receive(store, await _live(store), counted, unsubscribes=not frugal)
        await store.maintenance.leave("w1")
    # INFO is asked by both sides, so neither counts it.
    del counted["INFO"]
    served = await _served(raw) - before
    del served["script|flush"]
    # Nor does a greeting count, an EVAL and its HGET: only servers of one's own are greeted.
    greetings = served.pop("eval", 0)
    assert bool(greetings) is not frugal
    served["hget"] -= greetings
    assert counted.total() == served.total(), (counted, served)
    assert counted["claim"] > 10
