"""The gateway on a Redis that bills each command: which reads it saves, and that nothing is answered wrongly for it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from services.gateway.waiting.awaited_jobs import LIMIT, AwaitedJobs
from shared.http.auth import ANONYMOUS, hash_token
from shared.job import Claim, JobStatus, Outcome
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.transitions import Finish
from tests.support.checks import RawRedis
from tests.support.gateway import BATCH, STATUS, SUBMIT, body, problem, running_gateway
from tests.support.store import claim, complete, new_job, submit

ALICE, BOB = "token-of-alice", "token-of-bob"
TOKENS = f"{hash_token(ALICE)} alice\n{hash_token(BOB)} bob"


async def _submitted(client: httpx.AsyncClient, **more: Any) -> str:
    answer = await client.post(SUBMIT, json=body(), **more)
    return str(answer.raise_for_status().json()["jobId"])


async def _waited(client: httpx.AsyncClient, job_id: str, wait: float = 20, **more: Any) -> httpx.Response:
    return await client.get(STATUS, params={"jobId": job_id, "wait": wait}, **more)


async def _claimed(store: JobStore) -> Claim:
    return (await claim(store, 1))[0]


async def _listening(client: httpx.AsyncClient) -> None:
    """The first wait opens the subscription that covers all jobs."""
    problem(await _waited(client, "ai-job-1737465123456-0bc123def", 0.1), 404, "not-found")


async def _reads(raw: RawRedis) -> int:
    """HMGETs outside of scripts: those that claims make are none of the gateway's."""
    text = (await raw("INFO", "commandstats")).decode()
    calls = dict(line.removeprefix("cmdstat_").split(":calls=") for line in text.splitlines() if ":calls=" in line)
    return int(calls.get("hmget", "0,").split(",")[0])


async def test_a_job_that_was_just_taken_in_is_read_once(redis_url: str) -> None:
    """A waiting job-status reads the record only when the job has ended, however early or late it comes."""
    settings = StoreSettings(redis_url=redis_url, frugal=True, deltas=False)
    async with (
        running_gateway(redis_url, FRUGAL="1") as client,
        open_store(settings, client_name="test") as store,
        RawRedis(redis_url) as raw,
    ):
        await _listening(client)
        for early in (True, False):
            job_id = await _submitted(client)
            held = await _claimed(store)
            before = await _reads(raw)
            waiting = asyncio.create_task(_waited(client, job_id))
            if early:
                await asyncio.sleep(0.3)  # long enough for a first read, had there been one
                assert await _reads(raw) == before
                await complete(store, held)
            else:
                await complete(store, held)
            answer = (await waiting).json()
            assert (answer["jobId"], answer["status"], answer["result"]) == (job_id, "completed", "text")
            assert await _reads(raw) == before + 1


async def test_a_job_that_ended_before_anybody_waited_is_answered_at_once(redis_url: str) -> None:
    """Its end was received: it is read, not waited for."""
    async with running_gateway(redis_url, FRUGAL="1") as client, _store(redis_url) as store:
        await _listening(client)
        job_id = await _submitted(client)
        await complete(store, await _claimed(store))
        assert (await _waited(client, job_id)).json()["status"] == "completed"
        assert (await _waited(client, job_id)).json()["status"] == "completed"


async def test_who_waits_in_vain_learns_how_the_job_stands_and_may_wait_again(redis_url: str) -> None:
    """After its seconds a wait answers the state of now; the next one receives the end."""
    async with running_gateway(redis_url, FRUGAL="1") as client, _store(redis_url) as store:
        await _listening(client)
        job_id = await _submitted(client)
        held = await _claimed(store)
        for _ in range(2):
            assert (await _waited(client, job_id, 0.2)).json()["status"] == "processing"
        both = [asyncio.create_task(_waited(client, job_id)) for _ in range(2)]
        await complete(store, held)
        assert [(await one).json()["status"] for one in both] == ["completed", "completed"]


async def test_an_end_during_a_broken_subscription_is_read(redis_url: str) -> None:
    """The subscription breaks, the job ends, the subscription is back: a call that waits then finds the end."""
    async with (
        running_gateway(redis_url, FRUGAL="1") as client,
        _store(redis_url) as store,
        RawRedis(redis_url) as raw,
    ):
        await _listening(client)
        cut_before, cut_while_waited = await _submitted(client), await _submitted(client)
        waiting = asyncio.create_task(_waited(client, cut_while_waited))
        await raw("CLIENT", "KILL", "TYPE", "pubsub")
        await complete(store, await _claimed(store))
        await complete(store, await _claimed(store))
        began = time.monotonic()
        assert (await _waited(client, cut_before)).json()["status"] == "completed"
        assert (await waiting).json()["status"] == "completed"
        assert time.monotonic() - began < 25


async def test_another_tenant_waits_for_nothing(redis_url: str) -> None:
    """An expected job is as good as none for a token of another organisation, at once (I9), and stays expected."""
    async with running_gateway(redis_url, FRUGAL="1", API_TOKENS=TOKENS) as client, _store(redis_url) as store:
        alice, bob = ({"Authorization": f"Bearer {token}"} for token in (ALICE, BOB))
        await client.get(STATUS, params={"jobId": "ai-job-1737465123456-0bc123def", "wait": 0.1}, headers=alice)
        answer = await client.post(SUBMIT, json=body(organizationId="alice"), headers=alice)
        job_id = answer.raise_for_status().json()["jobId"]
        async with asyncio.timeout(15):  # less than it would wait
            problem(await _waited(client, job_id, headers=bob), 404, "not-found")
        waiting = asyncio.create_task(_waited(client, job_id, headers=alice))
        await complete(store, await _claimed(store))
        assert (await waiting).json()["status"] == "completed"


async def test_only_so_many_jobs_are_expected(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than that the oldest are forgotten, and read first like any other."""
    keep, held = AwaitedJobs._keep, list[int]()

    def counted(self: AwaitedJobs, *arguments: Any) -> None:
        keep(self, *arguments)
        held.append(len(self._jobs))

    monkeypatch.setattr(AwaitedJobs, "_keep", counted)
    async with running_gateway(redis_url, FRUGAL="1") as client, _store(redis_url) as store:
        await _listening(client)
        job_id = await _submitted(client)
        for start in range(0, LIMIT, 500):
            jobs = [body(priority="low")] * min(500, LIMIT - start)
            assert len((await client.post(BATCH, json={"jobs": jobs})).raise_for_status().json()["jobs"]) == 500
        assert max(held) == LIMIT
        waiting = asyncio.create_task(_waited(client, job_id))
        mine = await _claimed(store)
        assert mine.job_id == job_id
        await complete(store, mine)
        assert (await waiting).json()["status"] == "completed"


async def test_jobs_are_listed_when_that_is_asked_for(redis_url: str) -> None:
    """In the frugal profile the listing says that it is off; LISTING=1 brings it back."""
    async with running_gateway(redis_url, FRUGAL="1") as client:
        await _submitted(client)
        document = problem(await client.get("/api/ai/jobs", params={"organizationId": "org-789"}), 404, "listing-off")
        assert "LISTING" in document["detail"]
    async with running_gateway(redis_url, FRUGAL="1", LISTING="1") as client:
        job_id = await _submitted(client)
        listed = (await client.get("/api/ai/jobs", params={"organizationId": "org-789"})).json()["jobs"]
        assert [job["jobId"] for job in listed] == [job_id]


async def test_jobs_without_a_guard_live_like_others(redis_url: str) -> None:
    """Submitted frugally, a job is claimed, fails, and can be cancelled: its record lacks nothing."""
    async with _store(redis_url) as store:
        ids = await submit(store, 3)
        held = [await _claimed(store), await _claimed(store)]
        await complete(store, held[0])
        await store.finish(Finish(held[1], JobStatus.FAILED, Outcome(), number=1, offset=-1, run_ms=1))
        assert (await store.cancel(ids[2])).state == "cancelled"
        found = [await store.status(job_id) for job_id in ids]
        assert [job.status for job in found if job] == ["completed", "failed", "cancelled"]


def _store(redis_url: str) -> Any:
    return open_store(StoreSettings(redis_url=redis_url, frugal=True, deltas=False, listing=False), client_name="test")


async def test_counts_of_an_organization_are_kept(redis_url: str, raw: RawRedis) -> None:
    """A tenant who asks again and again costs nothing while nothing is submitted here, however long; a submit is seen
    as soon as the counts are old enough."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS, FRUGAL="1", STATS_KEPT_SECONDS="0.2") as client:
        key = {"Authorization": f"Bearer {ALICE}"}
        first = (await client.get("/api/ai/queue-stats", headers=key)).raise_for_status().json()
        before = await _scripts(raw)
        for _ in range(5):
            await asyncio.sleep(0.1)
            assert (await client.get("/api/ai/queue-stats", headers=key)).json() == first
        assert await _scripts(raw) == before
        (await client.post(SUBMIT, json=body(organizationId="alice"), headers=key)).raise_for_status()
        async with asyncio.timeout(20):
            while (await client.get("/api/ai/queue-stats", headers=key)).json()["stats"]["queued"] != 1:
                await asyncio.sleep(0.05)


async def _scripts(raw: RawRedis) -> int:
    """Calls of scripts so far."""
    text = (await raw("INFO", "commandstats")).decode()
    return int(text.partition("cmdstat_evalsha:calls=")[2].partition(",")[0] or 0)


async def test_an_idle_gateway_listens_for_nobody(redis_url: str) -> None:
    """After a while jobs are expected no longer: an unneeded subscription is not opened again."""
    job = new_job()
    async with _store(redis_url) as store:
        async with store.subscriber.listen(store.keys.job_channel("any")) as first:
            await first.wait(5)
            expected = AwaitedJobs(store, kept_s=0.1)
            await expected.submit(job)
            assert expected._jobs
            async with asyncio.timeout(30):
                while expected._jobs:
                    await asyncio.sleep(0.02)
        assert not store.subscriber._subscriptions.channels
        waiting = asyncio.create_task(
            expected.until_ended(job.id, ANONYMOUS, 20, asyncio.Event(), lambda: store.status(job.id))
        )
        await complete(store, await _claimed(store))
        ended = await waiting
        assert ended is not None
        assert ended.status == "completed"
