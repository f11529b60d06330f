"""The use of Presswork by a product through the edge: the guide's calls, a stream, and many jobs at once."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import httpx

from tests.support import front_end
from tests.support.readings import Reading
from tests.support.sse import TERMINAL, Event, Stream

GUIDE: dict[str, Any] = {
    "projectId": "project-123",
    "userId": "user-456",
    "organizationId": "org-789",
    "prompt": "Create a social media post about our new product",
    "parameters": {"tone": "professional", "length": "short", "platform": "linkedin"},
    "priority": "high",
}


class FrontEnd:
    """It knows one origin and nothing else."""

    def __init__(self, client: httpx.AsyncClient, origin: str) -> None:
        self.client = client
        self.origin = origin
        self._calls = front_end.FrontEnd(client, [origin], [origin])
        self._number = 0

    async def stats(self) -> dict[str, int]:
        """The guide's queue-stats call."""
        body = (await self.client.get(f"{self.origin}/api/ai/queue-stats")).raise_for_status().json()
        assert body["success"] is True
        return dict(body["stats"])

    async def submit(self, length: str = "short") -> str:
        """The guide's generate-content call; answers the job's id."""
        self._number += 1
        body = GUIDE | {"parameters": GUIDE["parameters"] | {"length": length}}
        return await self._calls.submit(self._number, body)

    async def guide(self) -> dict[str, Any]:
        """Submit, poll until completed, read the result, as the guide does it."""
        before = await self.stats()
        job_id = await self.submit()
        status = await self.end(job_id)
        after = await self.stats()
        assert (status["status"], after["completed"]) == ("completed", before["completed"] + 1)
        return status

    async def end(self, job_id: str) -> dict[str, Any]:
        """The status once the job has ended."""
        return await self._calls.end(job_id)

    async def follow(self, job_id: str) -> Reading:
        """Everything a browser sees of a job."""
        return await self._calls.follow(job_id)

    async def until_running(self, count: int, seconds: float = 20.0) -> None:
        """Wait until so many jobs run at once."""
        async with asyncio.timeout(seconds):
            while (await self.stats())["processing"] < count:
                await asyncio.sleep(0.1)

    async def live_stream(self) -> float:
        """Watch one job written live, as a browser that would accept gzip; answers over how many s its deltas came.

        AssertionError when the stream is compressed, incomplete, or held back until its end.
        """
        arrived: list[tuple[float, Event]] = []
        body = GUIDE | {"parameters": GUIDE["parameters"] | {"length": "long"}}
        answer = await self.client.post(f"{self.origin}/api/ai/generate-content", json=body)
        submitted = answer.raise_for_status().json()
        job_id, url = submitted["jobId"], self.origin + submitted["links"]["events"]
        async with asyncio.timeout(60), Stream(url, headers={"Accept-Encoding": "gzip, br"}) as stream:
            assert stream.status == 200
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert "content-encoding" not in stream.headers
            while (event := await stream.next()) is not None:
                arrived.append((time.monotonic(), event))
                if event.kind in TERMINAL:
                    break
        reading = Reading(job_id, [(event.id, event.kind, event.data) for _, event in arrived])
        assert reading.problems() == []
        deltas = [at for at, event in arrived if event.kind == "delta"]
        assert len(deltas) >= 10
        assert max(later - earlier for earlier, later in pairwise(deltas)) < 1.0
        return deltas[-1] - deltas[0]
