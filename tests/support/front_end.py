"""The outside world over HTTP: front ends that submit and retry, and readers that follow a stream to its end.

Replicas are called in turn, as by a balancer that knows nothing of their health.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.support.readings import Reading
from tests.support.sse import TERMINAL, until_end

Caller = Callable[[], Mapping[str, str]]
"""Headers of a caller."""


@dataclass
class Seen:
    """Experience of a front end. `calls` counts requests, `repeated` the reasons for sending some again: a status or an
    error's name.

    `resumed`: further connections for a stream; `slowest`: the longest submit in s, retries and all.
    """

    calls: int = 0
    repeated: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    open_streams: int = 0
    most_streams: int = 0
    slowest: float = 0.0


class FrontEnd:
    """Calls to gateways and streams from notifiers, by their addresses; `seen` records the answers.

    A reader whose stream broke comes back after `pause_s`; None: after the wait that the notifier asks for.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        gateways: Sequence[str],
        notifiers: Sequence[str],
        *,
        pause_s: float | None = 0.1,
    ) -> None:
        self._client = client
        self._gateways = itertools.cycle(gateways)
        self._notifiers = itertools.cycle(notifiers)
        self._pause_s = pause_s
        self._queries: dict[str, str] = {}
        self.seen = Seen()

    async def call(
        self,
        method: str,
        path: str,
        good: Collection[int],
        *,
        busy: Collection[int] = (503,),
        caller: Caller | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """The first answer with a `good` status; repeats requests that a client may repeat. AssertionError for other
        answers. `caller`: asked before each request, for more headers."""
        while True:
            self.seen.calls += 1
            asked = {**(headers or {}), **(caller() if caller else {})}
            try:
                answer = await self._client.request(method, next(self._gateways) + path, headers=asked, **more)
            except httpx.TransportError as error:
                self.seen.repeated[type(error).__name__] += 1
            else:
                if answer.status_code in good:
                    return answer
                assert answer.status_code in busy, (method, path, answer.status_code, answer.text)
                self.seen.repeated[str(answer.status_code)] += 1
            await asyncio.sleep(random.uniform(0.05, 0.2))

    async def submit(self, number: int, body: dict[str, Any], *, caller: Caller | None = None) -> str:
        """Submit until a 202 names the job; the idempotency key, made of `number`, makes that safe. The job's id.

        `caller`: its headers; another key is asked for where one is refused.
        """
        began = time.monotonic()
        headers, busy = {"Idempotency-Key": f"job-{number}"}, (429, 503) if caller is None else (401, 429, 503)
        path = "/api/ai/generate-content"
        answer = await self.call("POST", path, (202,), busy=busy, json=body, headers=headers, caller=caller)
        self.seen.slowest = max(self.seen.slowest, time.monotonic() - began)
        job_id = str(answer.json()["jobId"])
        self._queries[job_id] = urlsplit(answer.json()["links"]["events"]).query
        return job_id

    async def take_ticket(self, job_id: str) -> None:
        """Read a job's events with a ticket of this client from now on."""
        answer = await self.call("POST", "/api/ai/event-tickets", (201,), json={"jobId": job_id})
        self._queries[job_id] = urlsplit(answer.json()["events"]).query

    async def cancel(self, job_id: str) -> None:
        """Cancel a job; that it has ended already is no error."""
        await self.call("POST", f"/api/ai/jobs/{job_id}/cancel", (200, 202, 409))

    async def end_or_loss(self, job_id: str) -> dict[str, Any] | None:
        """The job's status once it has ended; None when the job is unknown."""
        while True:
            answer = await self.call("GET", "/api/ai/job-status", (200, 404), params={"jobId": job_id, "wait": 10})
            if answer.status_code == 404:
                return None
            if answer.json()["status"] in TERMINAL:
                return dict(answer.json())

    async def end(self, job_id: str) -> dict[str, Any]:
        """The job's status once it has ended."""
        status = await self.end_or_loss(job_id)
        assert status is not None, f"{job_id} is unknown"
        return status

    async def ends(self, job_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The status of each job once it has ended."""
        gate = asyncio.Semaphore(50)

        async def one(job_id: str) -> dict[str, Any]:
            async with gate:
                return await self.end(job_id)

        return dict(zip(job_ids, await asyncio.gather(*map(one, job_ids)), strict=True))

    async def follow(self, job_id: str) -> Reading:
        """Read a job's events to its end as a browser does: by the link of the submit's answer, with its ticket where
        there is one, and with the last id whenever the stream ends."""
        reading = Reading(job_id)
        self.seen.open_streams += 1
        self.seen.most_streams = max(self.seen.most_streams, self.seen.open_streams)
        try:
            async for event in until_end(self._streams(job_id), pause_s=self._pause_s):
                if event.kind == "gap":
                    reading.gaps += 1
                else:
                    reading.events.append((event.id, event.kind, event.data))
        finally:
            self.seen.open_streams -= 1
        return reading

    def _streams(self, job_id: str) -> Iterator[str]:
        for attempt, notifier in enumerate(self._notifiers):
            self.seen.resumed += attempt > 0
            yield f"{notifier}/api/ai/job-events?{self._queries.get(job_id) or f'jobId={job_id}'}"
