"""Submits a minute of one organisation: counted once for all gateways, after idempotency, in the order of a batch."""

from __future__ import annotations

import asyncio

import httpx

from shared.store.job_store import JobStore
from tests.support.checks import RawRedis
from tests.support.gateway import BATCH, SUBMIT, body, problem, running_gateway
from tests.support.store import submit


def _refused(answer: httpx.Response, quota: int) -> None:
    assert problem(answer, 429, "organization-limit")["limit"] == "submitsPerMinute"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["ratelimit-policy"] == f'"submitsPerMinute";q={quota};w=60'
    assert answer.headers["ratelimit"] == f'"submitsPerMinute";r=0;t={answer.headers["retry-after"]}'


async def test_all_gateways_together_take_exactly_so_many(redis_url: str) -> None:
    """Of 60 jobs at once through two gateways 25 are taken; another organisation's job is taken too."""
    settings = {"ORGANIZATION_SUBMITS_PER_MINUTE": "25"}
    async with running_gateway(redis_url, **settings) as one, running_gateway(redis_url, **settings) as other:
        single = [client.post(SUBMIT, json=body()) for client in (one, other) for _ in range(20)]
        batch = other.post(BATCH, json={"jobs": [body()] * 20})
        *answers, batched = await asyncio.gather(*single, batch)
        taken = sum(answer.status_code == 202 for answer in answers)
        taken += sum("jobId" in answer for answer in batched.json()["jobs"])
        assert taken == 25

        _refused(await one.post(SUBMIT, json=body()), 25)
        assert (await other.post(SUBMIT, json=body(organizationId="another"))).status_code == 202
        assert (await one.get("/api/ai/queue-stats")).json()["stats"]["queued"] == 26
        metrics = (await one.get("/metrics")).text
        assert 'presswork_submits_refused_total{reason="organization-limit"}' in metrics


async def test_a_repetition_is_answered_and_counts_nothing(redis_url: str) -> None:
    """The same key gives the same job, also beyond the limit; a job that was refused may be submitted with it later."""
    async with running_gateway(redis_url, ORGANIZATION_SUBMITS_PER_MINUTE="2") as client, RawRedis(redis_url) as raw:

        async def post(key: str) -> httpx.Response:
            return await client.post(SUBMIT, json=body(), headers={"Idempotency-Key": key})

        first = await post("a")
        assert (await post("a")).json() == first.json()
        assert (await post("b")).status_code == 202
        _refused(await post("c"), 2)
        assert (await post("a")).json() == first.json()

        await raw("DEL", "pw:{0}:submits:org-789")
        assert (await post("c")).status_code == 202


async def test_a_batch_is_taken_as_far_as_there_is_room(redis_url: str) -> None:
    """Its jobs are checked in order: those that fit are taken, the others are refused by themselves."""
    async with running_gateway(redis_url, ORGANIZATION_SUBMITS_PER_MINUTE="3") as client:
        jobs = [body(), body(prompt=""), body(), body(organizationId="another"), body(), body(), body()]
        answers = (await client.post(BATCH, json={"jobs": jobs})).json()["jobs"]
        assert ["jobId" in answer for answer in answers] == [True, False, True, True, True, False, False]
        assert [answers[i]["error"].get("limit") for i in (1, 5)] == [None, "submitsPerMinute"]
        refused = (await client.post(BATCH, json={"jobs": [body()] * 2})).json()["jobs"]
        assert {answer["error"]["status"] for answer in refused} == {429}


async def test_a_minute_ends(redis_url: str) -> None:
    """The count lives for a minute from its first job on, and a refusal leaves nothing behind."""
    async with running_gateway(redis_url, ORGANIZATION_SUBMITS_PER_MINUTE="1") as client, RawRedis(redis_url) as raw:
        assert (await client.post(SUBMIT, json=body())).status_code == 202
        keys = set(await raw("KEYS", "*"))
        _refused(await client.post(SUBMIT, json=body()), 1)
        assert set(await raw("KEYS", "*")) == keys
        assert 50_000 < await raw("PTTL", "pw:{0}:submits:org-789") <= 60_000
        await raw("PEXPIRE", "pw:{0}:submits:org-789", 1)
        async with asyncio.timeout(10):
            while (await client.post(SUBMIT, json=body())).status_code == 429:
                await asyncio.sleep(0.01)


async def test_without_a_limit_nothing_is_counted(store: JobStore, redis_url: str) -> None:
    """No key is written, and no command spent."""
    await submit(store)
    async with RawRedis(redis_url) as raw:
        assert await raw("EXISTS", "pw:{0}:submits:org-789") == 0
