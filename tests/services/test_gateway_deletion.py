"""`DELETE /api/ai/jobs/{jobId}`: whatever state the job is in, and only for its own organisation."""

from __future__ import annotations

import httpx
import pytest

from shared.http.auth import hash_token
from shared.job_ids import new_job_id
from shared.store.job_store import JobStore
from tests.support.gateway import STATUS, SUBMIT, body, problem, running_gateway
from tests.support.store import claim, complete
from tests.support.worker import Scripted, running_worker, waits_for_ever

TOKENS = f"{hash_token('a')} org-a\n{hash_token('b')} org-b"
A, B = ({"Authorization": f"Bearer {token}"} for token in ("a", "b"))


async def _submit(client: httpx.AsyncClient, **more: object) -> str:
    answer = await client.post(SUBMIT, json=body(organizationId="org-a", **more), headers=A)
    return str(answer.json()["jobId"])


async def _delete(client: httpx.AsyncClient, job_id: str, headers: dict[str, str]) -> httpx.Response:
    return await client.delete(f"/api/ai/jobs/{job_id}", headers=headers)


@pytest.mark.parametrize("state", ["queued", "delayed", "processing", "completed", "cancelled"])
async def test_a_job_is_gone_whatever_its_state(store: JobStore, redis_url: str, state: str) -> None:
    """204, also the second time; then there is no such job, in its status and in the listing. One whose worker does
    not answer is ended without it."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        job_id = await _submit(client, delaySeconds=60 if state == "delayed" else 0)
        if state in ("processing", "completed"):
            (held,) = await claim(store)
            if state == "completed":
                await complete(store, held)
        if state == "cancelled":
            await client.post(f"/api/ai/jobs/{job_id}/cancel", headers=A)

        for _ in range(2):
            answer = await _delete(client, job_id, A)
            assert (answer.status_code, answer.content) == (204, b"")
        problem(await client.get(STATUS, params={"jobId": job_id}, headers=A), 404, "not-found")
        problem(await client.post(f"/api/ai/jobs/{job_id}/cancel", headers=A), 404, "not-found")
        listed = await client.get("/api/ai/jobs", params={"organizationId": "org-a"}, headers=A)
        assert listed.json()["jobs"] == []


async def test_a_job_of_another_organisation_is_none(store: JobStore, redis_url: str) -> None:
    """Alive, ended or deleted: the answer is byte for byte that of a job that never was, and nothing changes."""
    async with running_gateway(redis_url, API_TOKENS=TOKENS) as client:
        never = await _delete(client, new_job_id(), B)
        problem(never, 404, "not-found")
        for state in ("queued", "completed", "deleted"):
            job_id = await _submit(client)
            if state == "completed":
                for held in await claim(store):
                    await complete(store, held)
            if state == "deleted":
                await _delete(client, job_id, A)
            foreign = await _delete(client, job_id, B)
            assert (foreign.status_code, foreign.content) == (never.status_code, never.content)
            if state != "deleted":
                status = await client.get(STATUS, params={"jobId": job_id}, headers=A)
                assert status.json()["status"] == state
        problem(await _delete(client, "no-id", A), 404, "not-found")
        problem(await client.delete("/api/ai/jobs/no-id"), 401, "unauthorized")


async def test_a_running_job_is_ended_by_its_worker(store: JobStore, redis_url: str) -> None:
    """Its provider's stream is closed, and the worker takes the next job."""
    provider = Scripted(waits_for_ever)
    async with (
        running_gateway(redis_url, API_TOKENS=TOKENS, PROVIDERS="p:p") as client,
        running_worker(store.settings, {"p": provider}, worker_concurrency=1),
    ):
        for calls in (1, 2):
            job_id = await _submit(client)
            await provider.called(calls)
            assert (await _delete(client, job_id, A)).status_code == 204
        stats = (await client.get("/api/ai/queue-stats", headers=A)).json()["stats"]
        assert (stats["processing"], stats["cancelled"]) == (0, 2)
