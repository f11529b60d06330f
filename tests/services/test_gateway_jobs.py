"""Status, waiting, cancel, retry and listing."""

from __future__ import annotations

import asyncio
import time

from shared.job import Claim, JobError, JobStatus, Outcome, Usage
from shared.store.job_store import JobStore
from shared.store.transitions import Finish
from tests.support.gateway import ISO, STATUS, SUBMIT, body, problem, running_gateway, subscribed


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
