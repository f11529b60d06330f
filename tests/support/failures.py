"""Failed jobs for tests, and what became of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

import httpx

from shared.job import JobError
from shared.store.job_store import JobStore
from tests.support.store import claim, fail, submit
from tests.support.worker import until

FAILURES: Final = "/api/admin/failures"


async def fail_jobs(store: JobStore, count: int, error: str, organization: str = "alice", **more: Any) -> list[str]:
    """Submit jobs and fail them with an error of this type; their ids in order."""
    ids = await submit(store, count, organization=organization, **more)
    left = set(ids)
    while left:
        held = [one for one in await claim(store, 50) if one.job_id in left]
        await asyncio.gather(*(fail(store, one, JobError(type=error, message="no")) for one in held))
        left -= {one.job_id for one in held}
    return ids


async def task_done(client: httpx.AsyncClient, task_id: str, seconds: float = 60.0) -> dict[str, Any]:
    """The task once it is done."""
    found: list[dict[str, Any]] = []

    async def over() -> bool:
        answer = await client.get(f"/api/admin/tasks/{task_id}")
        if answer.status_code == 200 and answer.json()["state"] == "done":
            found.append(answer.json())
        return bool(found)

    await until(over, seconds)
    return found[0]


async def origins(client: httpx.AsyncClient, organization: str) -> Counter[str]:
    """The number of jobs of an organisation that name each job as the one they retry."""
    counted: Counter[str] = Counter()
    cursor: str | None = None
    while True:
        params = {"organizationId": organization, "limit": "100"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/ai/jobs", params=params)).json()
        counted.update(job["retryOf"] for job in page["jobs"] if "retryOf" in job)
        cursor = page["cursor"]
        if cursor is None:
            return counted
