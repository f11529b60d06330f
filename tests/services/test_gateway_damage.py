"""Records that cannot be shown, and records that go: clear answers, for their own organisation alone."""

from __future__ import annotations

import asyncio

import httpx

from shared.http.auth import hash_token
from shared.settings import StoreSettings
from shared.store.keys import Keys
from tests.support.checks import RawRedis
from tests.support.gateway import STATUS, SUBMIT, body, problem, running_gateway, subscribed
from tests.support.notifier import RunningNotifier, running_notifier
from tests.support.sse import Stream

TOKENS = f"{hash_token('own')} org-789\n{hash_token('foreign')} other\n{hash_token('operator')}"


def _as(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


DAMAGES = [("spec", "{"), ("state", "paused"), ("created", "9" * 30)]


async def _is_unreadable(client: httpx.AsyncClient, notifier: RunningNotifier, job_id: str) -> None:
    """For those who may see the job; for another organisation it is as good as none."""
    for token in ("own", "operator"):
        answers = [
            await client.get(STATUS, params={"jobId": job_id, "wait": 0.01}, headers=_as(token)),
            await client.post(f"/api/ai/jobs/{job_id}/cancel", headers=_as(token)),
            await client.post(f"/api/ai/jobs/{job_id}/retry", headers=_as(token)),
        ]
        for answer in answers:
            assert problem(answer, 409, "job-unreadable")["jobId"] == job_id
        async with Stream(notifier.events(job_id), headers=_as(token)) as stream:
            assert stream.status == 409
    problem(await client.get(STATUS, params={"jobId": job_id}, headers=_as("foreign")), 404, "not-found")
    async with Stream(notifier.events(job_id), headers=_as("foreign")) as stream:
        assert stream.status == 404


async def test_a_record_that_cannot_be_shown_is_reported_as_such(redis_url: str) -> None:
    """Its status, cancel, retry and events are a 409 that names it, its row in the listing says why."""
    settings = StoreSettings(redis_url=redis_url)
    async with (
        running_gateway(redis_url, API_TOKENS=TOKENS) as client,
        running_notifier(settings, api_tokens=TOKENS) as notifier,
        RawRedis(redis_url) as raw,
    ):
        jobs = [(await client.post(SUBMIT, json=body(), headers=_as("own"))).json()["jobId"] for _ in range(5)]
        for job_id, (field, value) in zip(jobs[1:4], DAMAGES, strict=True):
            await raw("HSET", Keys().job(job_id), field, value)
            await _is_unreadable(client, notifier, job_id)
        rows = (await client.get("/api/ai/jobs", headers=_as("own"))).json()["jobs"]
        assert [row["jobId"] for row in rows] == jobs[::-1]
        assert {row["error"]["type"] for row in rows[1:4]} == {"Unreadable"}
        assert [row["jobStatus"] for row in rows[1:4]] == ["queued", "paused", "queued"]
        assert [rows[0]["status"], rows[4]["status"]] == ["queued", "queued"]


async def test_a_job_that_goes_while_its_end_is_waited_for_is_not_found(redis_url: str) -> None:
    """The record that was read before the wait is not answered as if it were there still."""
    async with running_gateway(redis_url) as client, RawRedis(redis_url) as raw:
        job_id = (await client.post(SUBMIT, json=body(delaySeconds=60))).json()["jobId"]
        waiting = asyncio.create_task(client.get(STATUS, params={"jobId": job_id, "wait": 20}))
        await subscribed(redis_url, Keys().job_channel(job_id))
        await raw("FLUSHALL")
        await raw("PUBLISH", Keys().job_channel(job_id), "0-0.2")
        problem(await waiting, 404, "not-found")


async def test_a_length_of_thousands_of_digits_is_no_error_of_ours(redis_url: str) -> None:
    """Python refuses to read such a number: the gateway does not ask it to."""
    async with running_gateway(redis_url) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        head = [
            "Host: localhost",
            "Content-Type: application/json",
            f"Content-Length: {'0' * 5000}1",
            "Connection: close",
        ]
        writer.write("\r\n".join([f"POST {SUBMIT} HTTP/1.1", *head, "", "1"]).encode())
        async with asyncio.timeout(30):
            status = int((await reader.readline()).split()[1])
        writer.close()
        assert status in (400, 413)
