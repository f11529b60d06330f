"""Status, waiting, cancel, retry, listing and counts."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime

import pytest

from shared.job import Claim, JobError, JobStatus, Outcome, Usage
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.store.transitions import Finish
from tests.support.budgets import priced
from tests.support.gates import block, routing, throttle_all
from tests.support.gateway import STATUS, SUBMIT, body, problem, running_gateway, subscribed
from tests.support.store import claim, settle, submit

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def _claim(store: JobStore) -> Claim:
    """Claim as a worker does first."""
    return (await store.claim("worker-1", 1, poll=True, suspect=True)).claims[0]


async def _end(store: JobStore, claim: Claim, status: JobStatus, outcome: Outcome) -> None:
    await store.finish(Finish(claim, status, outcome, number=1, offset=0, run_ms=5))


async def test_status_shows_the_result_and_what_it_cost(redis_url: str, store: JobStore) -> None:
    """A completed job's status holds the text as a plain string, and beside it provider, usage, cost and times."""
    done = Outcome(
        result="Great text", provider="demo", model="demo", usage=Usage(input_tokens=3, output_tokens=2),
        cost_usd=0.25, finish_reason="stop", metadata={"demo": True},
    )  # fmt: skip
    async with running_gateway(redis_url) as client:
        job_id = (await client.post(SUBMIT, json=body(metadata={"campaign": 7}))).json()["jobId"]
        await _end(store, await _claim(store), JobStatus.COMPLETED, done)
        job = (await client.get(STATUS, params={"jobId": job_id})).json()
    assert (job["status"], job["result"], job["finishReason"], job["attempt"]) == ("completed", "Great text", "stop", 1)
    assert (job["provider"], job["model"], job["costUsd"], job["metadata"]) == ("demo", "demo", 0.25, {"demo": True})
    assert job["usage"] == {"inputTokens": 3, "outputTokens": 2, "cachedTokens": 0, "estimated": False}
    assert job["requestMetadata"] == {"campaign": 7}
    assert all(ISO.fullmatch(job[name]) for name in ("createdAt", "startedAt", "endedAt", "deadlineAt"))
    assert "error" not in job


async def test_status_of_a_failed_job_tells_why_in_our_words(redis_url: str, store: JobStore) -> None:
    """A failed job's error has type, message and retryable."""
    error = JobError(type="ContentFiltered", message="the provider refused this text")
    async with running_gateway(redis_url) as client:
        job_id = (await client.post(SUBMIT, json=body())).json()["jobId"]
        await _end(store, await _claim(store), JobStatus.FAILED, Outcome(error=error))
        job = (await client.get(STATUS, params={"jobId": job_id})).json()
    assert job["status"] == "failed"
    assert job["error"] == {"type": error.type, "message": error.message, "retryable": False}
    assert "result" not in job


async def test_wait_answers_as_soon_as_the_job_ends(redis_url: str, store: JobStore) -> None:
    """A waiting status call answers when the job ends, not at the end of its wait of 30 s."""
    async with running_gateway(redis_url) as client:
        job_id = (await client.post(SUBMIT, json=body())).json()["jobId"]
        claim = await _claim(store)
        waiting = asyncio.create_task(client.get(STATUS, params={"jobId": job_id, "wait": 30}))
        async with store.subscriber.listen(store.keys.job_channel(job_id)):
            for number in range(2, 12):
                await store.append(claim, number, "word ")
                await asyncio.sleep(0.02)
        assert not waiting.done()
        ended = time.monotonic()
        await store.finish(
            Finish(claim, JobStatus.COMPLETED, Outcome(result="word " * 10), number=11, offset=50, run_ms=5)
        )
        answer = await waiting
        assert answer.json()["status"] == "completed"
        assert time.monotonic() - ended < 25


async def test_wait_answers_a_living_job_when_time_is_over(redis_url: str) -> None:
    """A job that doesn't end is answered as it stands after the wait, and one that has ended at once."""
    async with running_gateway(redis_url) as client:
        job = (await client.post(SUBMIT, json=body())).json()
        began = time.monotonic()
        assert (await client.get(STATUS, params={"jobId": job["jobId"], "wait": 0.5})).json()["status"] == "queued"
        assert 0.5 <= time.monotonic() - began < 25
        await client.post(job["links"]["cancel"])
        began = time.monotonic()
        ended = await client.get(STATUS, params={"jobId": job["jobId"], "wait": 30})
        assert ended.json()["status"] == "cancelled"
        assert time.monotonic() - began < 25


async def test_cancel_ends_a_waiting_job_at_once_and_twice_is_the_same(redis_url: str) -> None:
    """A queued and a delayed job end as cancelled; a repeated cancel answers the same."""
    async with running_gateway(redis_url) as client:
        for changes in ({}, {"delaySeconds": 600}):
            job = (await client.post(SUBMIT, json=body(**changes))).json()
            for _ in range(2):
                answer = await client.post(job["links"]["cancel"])
                assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        stats = (await client.get("/api/ai/queue-stats")).json()["stats"]
        assert (stats["queued"], stats["cancelled"]) == (0, 2)


async def test_cancel_waits_for_the_worker_of_a_running_job(redis_url: str, store: JobStore) -> None:
    """The worker receives the cancel request and ends the job with its partial text; the caller gets just that."""
    async with running_gateway(redis_url) as client:
        job = (await client.post(SUBMIT, json=body())).json()
        async with store.control("worker-1") as control:
            claim = await _claim(store)
            await subscribed(redis_url, store.keys.control("worker-1"))
            cancelling = asyncio.create_task(client.post(job["links"]["cancel"]))
            assert await asyncio.wait_for(anext(control), 30) == job["jobId"].encode()
            partial = Outcome(result="so far", usage=Usage(input_tokens=1, output_tokens=2), finish_reason="cancelled")
            await _end(store, claim, JobStatus.CANCELLED, partial)
        answer = await cancelling
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["result"]) == ("cancelled", "so far")


async def test_cancel_ends_a_job_whose_worker_does_not_react(redis_url: str, store: JobStore) -> None:
    """Without any answer of the worker the job ends by force, and keeps the text that was logged."""
    async with running_gateway(redis_url) as client:
        job = (await client.post(SUBMIT, json=body())).json()
        await store.append(await _claim(store), 2, "so far")
        answer = await client.post(job["links"]["cancel"])
        assert (answer.json()["status"], answer.json()["result"]) == ("cancelled", "so far")


async def test_a_completion_that_came_first_wins_over_cancel(redis_url: str, store: JobStore) -> None:
    """Cancelling a completed job is 409 and names its end."""
    async with running_gateway(redis_url) as client:
        job = (await client.post(SUBMIT, json=body())).json()
        await _end(store, await _claim(store), JobStatus.COMPLETED, Outcome(result="text"))
        document = problem(await client.post(job["links"]["cancel"]), 409, "job-ended")
        assert (document["jobStatus"], document["jobId"]) == ("completed", job["jobId"])


async def test_retry_makes_one_new_job_of_a_failed_one(redis_url: str, store: JobStore) -> None:
    """However often a failed job is retried, also at once, there is one new job, and it asks for the same."""
    async with running_gateway(redis_url) as client:
        job = (await client.post(SUBMIT, json=body(parameters={"tone": "warm"}, priority="high"))).json()
        await _end(store, await _claim(store), JobStatus.FAILED, Outcome(error=JobError(type="X", message="y")))
        retry = f"/api/ai/jobs/{job['jobId']}/retry"
        answers = await asyncio.gather(*(client.post(retry) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {202}
        (new,) = {answer.json()["jobId"] for answer in answers}
        assert answers[0].headers["location"] == f"{STATUS}?jobId={new}"
        status = (await client.get(STATUS, params={"jobId": new})).json()
        assert (status["retryOf"], status["status"], status["priority"]) == (job["jobId"], "queued", "high")
        found = await store.status(new)
        assert found is not None
        assert (found.spec.prompt, found.spec.parameters) == ("Write a post", {"tone": "warm"})
        assert (await client.get("/api/ai/queue-stats")).json()["stats"]["queued"] == 1


async def test_a_cancelled_job_can_be_retried_an_unfinished_one_cannot(redis_url: str, store: JobStore) -> None:
    """Retrying is 409 while a job waits or when it completed; of a cancelled one it makes one new job."""
    async with running_gateway(redis_url) as client:
        job = (await client.post(SUBMIT, json=body())).json()
        retry = f"/api/ai/jobs/{job['jobId']}/retry"
        assert problem(await client.post(retry), 409, "job-not-failed")["jobStatus"] == "queued"
        await client.post(job["links"]["cancel"])
        first, second = await client.post(retry), await client.post(retry)
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json()["jobId"] == second.json()["jobId"]
        status = (await client.get(STATUS, params={"jobId": first.json()["jobId"]})).json()
        assert (status["retryOf"], status["status"]) == (job["jobId"], "queued")
        await _end(store, await _claim(store), JobStatus.COMPLETED, Outcome(result="text"))
        retry = f"/api/ai/jobs/{first.json()['jobId']}/retry"
        assert problem(await client.post(retry), 409, "job-not-failed")["jobStatus"] == "completed"
        assert (await client.get("/api/ai/queue-stats")).json()["stats"]["queued"] == 0


async def test_the_listing_pages_through_all_jobs_newest_first(redis_url: str) -> None:
    """Pages follow each other without a hole or a repetition while jobs are submitted; texts are left out."""
    async with running_gateway(redis_url) as client:
        made = [(await client.post(SUBMIT, json=body())).json()["jobId"] for _ in range(7)]
        await client.post(SUBMIT, json=body(organizationId="another"))
        seen: list[str] = []
        cursor: str | None = None
        while True:
            params = {"organizationId": "org-789", "limit": "3"} | ({"cursor": cursor} if cursor else {})
            page = (await client.get("/api/ai/jobs", params=params)).json()
            seen += [job["jobId"] for job in page["jobs"]]
            cursor = page["cursor"]
            if cursor is None:
                break
            await client.post(SUBMIT, json=body())
        assert seen == made[::-1]
        assert "result" not in page


async def test_the_listing_filters_by_status(redis_url: str) -> None:
    """`status` selects; jobs of other states are not in the page."""
    async with running_gateway(redis_url) as client:
        jobs = [(await client.post(SUBMIT, json=body())).json() for _ in range(3)]
        await client.post(jobs[1]["links"]["cancel"])
        params = {"organizationId": "org-789", "status": "cancelled"}
        page = (await client.get("/api/ai/jobs", params=params)).json()
        assert [job["jobId"] for job in page["jobs"]] == [jobs[1]["jobId"]]


async def test_queue_stats_have_the_guides_shape(redis_url: str, store: JobStore) -> None:
    """`success`, the four counts of the guide and an ISO time with milliseconds; the five states add up (I3)."""
    async with running_gateway(redis_url) as client:
        empty = (await client.get("/api/ai/queue-stats")).json()
        assert empty["success"] is True
        assert {name: empty["stats"][name] for name in ("queued", "processing", "completed", "failed")} == {
            "queued": 0, "processing": 0, "completed": 0, "failed": 0,
        }  # fmt: skip
        assert ISO.fullmatch(empty["timestamp"])
        for _ in range(4):
            job = (await client.post(SUBMIT, json=body())).json()
        await client.post(job["links"]["cancel"])
        await _end(store, await _claim(store), JobStatus.COMPLETED, Outcome(result="x"))
        await _claim(store)
        stats = (await client.get("/api/ai/queue-stats")).json()["stats"]
        assert (stats["queued"], stats["processing"], stats["completed"], stats["cancelled"]) == (1, 1, 1, 1)
        assert stats["failed"] == 0


async def test_the_backlog_is_what_workers_are_scaled_on(redis_url: str, store: JobStore) -> None:
    """It counts the jobs that could be claimed and those that run, not those that wait for their time or have ended."""
    async with running_gateway(redis_url) as client:

        async def stats() -> dict[str, int]:
            return dict((await client.get("/api/ai/queue-stats")).json()["stats"])

        assert (await stats())["backlog"] == 0
        for more in ({}, {}, {"delaySeconds": 600}):
            await client.post(SUBMIT, json=body(**more))
        assert (await stats())["backlog"] == 2
        claim = await _claim(store)
        counts = await stats()
        assert (counts["queued"], counts["delayed"], counts["processing"], counts["backlog"]) == (2, 1, 1, 2)
        await _end(store, claim, JobStatus.COMPLETED, Outcome(result="x"))
        await _end(store, await _claim(store), JobStatus.COMPLETED, Outcome(result="x"))
        assert (await stats())["backlog"] == 0
        schemas = (await client.get("/docs/openapi.json")).json()["components"]["schemas"]
    assert schemas["Counts"]["properties"]["backlog"] == {"type": "integer"}
    assert "backlog" in schemas["Counts"]["required"]


@pytest.mark.parametrize("frugal", ["0", "1"])
async def test_a_queued_job_says_why_it_waits(redis_url: str, store: JobStore, frugal: str) -> None:
    """Behind 30 of its own organisation it says so; when it runs, nothing. A caller who waits is told where
    commands are not billed."""
    async with running_gateway(redis_url, FRUGAL=frugal) as client:
        ids = await submit(store, 31, organization="org-789")
        job = (await client.get(STATUS, params={"jobId": ids[-1]})).json()
        assert job["waiting"] == {"reason": "queued", "ahead": 30}
        job = (await client.get(STATUS, params={"jobId": ids[-1], "wait": 0.1})).json()
        assert ("waiting" in job) is (frugal == "0")
        await _claim(store)
        assert "waiting" not in (await client.get(STATUS, params={"jobId": ids[0]})).json()


async def test_a_job_behind_a_429_names_gate_and_second(redis_url: str) -> None:
    """The provider asked to wait for 120 s: `until` is that time."""
    gate = "demo:demo"
    async with (
        running_gateway(redis_url) as client,
        open_store(StoreSettings(redis_url=redis_url), client_name="worker", routing=routing(gate)) as worker,
    ):
        (job_id,) = await submit(worker, organization="org-789")
        await block(worker, gate, ms=120_000)
        until = time.time() + 120
        await throttle_all(worker)
        waiting = (await client.get(STATUS, params={"jobId": job_id})).json()["waiting"]
    assert (waiting["reason"], waiting["gate"], waiting["ahead"]) == ("rate_limited", gate, 0)
    assert abs(datetime.fromisoformat(waiting["until"]).timestamp() - until) < 5


async def test_a_job_over_its_budget_says_so(redis_url: str) -> None:
    """It was taken before the budget was spent; `ahead` is its place among those of its organisation."""
    async with (
        running_gateway(redis_url) as client,
        open_store(StoreSettings(redis_url=redis_url), client_name="worker", routing=priced("demo:demo")) as worker,
    ):
        ids = await submit(worker, 3, organization="org-789")
        await settle(worker, "org-789", day_nano_usd=0)
        assert await claim(worker, 5) == []
        found = [(await client.get(STATUS, params={"jobId": job_id})).json()["waiting"] for job_id in ids]
    assert [(one["reason"], one["ahead"]) for one in found] == [("budget", 0), ("budget", 1), ("budget", 2)]
