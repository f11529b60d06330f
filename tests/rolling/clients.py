"""Front ends behind a balancer that knows the replicas and nothing of their health: each call goes to the next one."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.clients import TERMINAL, Reading
from tests.support.sse import Stream


@dataclass
class Seen:
    """What the clients met. `calls` and `retried` count requests, `streams` and `resumed` event streams.

    `failures` are answers that a release may not cause; `slowest` is the longest submit in s, retries and all.
    """

    calls: int = 0
    retried: int = 0
    streams: int = 0
    resumed: int = 0
    open_streams: int = 0
    most_streams: int = 0
    slowest: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)


class Balanced:
    """Calls to the gateways and streams from the notifiers, in turn."""

    def __init__(self, client: httpx.AsyncClient, gateways: Sequence[str], notifiers: Sequence[str]) -> None:
        self._client = client
        self._gateways = itertools.cycle(gateways)
        self._notifiers = itertools.cycle(notifiers)
        self.seen = Seen()

    async def _call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """The document of a 2xx. Repeats what may be repeated: refused or broken connections, and 503."""
        while True:
            self.seen.calls += 1
            try:
                answer = await self._client.request(method, next(self._gateways) + path, **more)
                if answer.is_success:
                    return dict(answer.json())
                if answer.status_code != 503:
                    self.seen.failures[f"{method} {path.partition('?')[0]}: {answer.status_code}"] += 1
                    raise AssertionError(answer.text)
            except httpx.TransportError as error:
                if isinstance(error, httpx.TimeoutException):
                    self.seen.failures[f"{method} {path.partition('?')[0]}: {type(error).__name__}"] += 1
            self.seen.retried += 1
            await asyncio.sleep(0.05)

    async def submit(self, number: int, body: dict[str, Any]) -> str:
        """Submit a job under its idempotency key; answers its id."""
        began = time.monotonic()
        headers = {"Idempotency-Key": f"rolling-{number}"}
        answer = await self._call("POST", "/api/ai/generate-content", json=body, headers=headers)
        self.seen.slowest = max(self.seen.slowest, time.monotonic() - began)
        return str(answer["jobId"])

    async def ended(self, job_id: str) -> dict[str, Any]:
        """The status of a job once it has ended."""
        while True:
            status = await self._call("GET", f"/api/ai/job-status?jobId={job_id}&wait=5")
            if status["status"] in TERMINAL:
                return status

    async def follow(self, job_id: str) -> Reading:
        """Read a job's events to its end as EventSource does: come back with the last id after the wait it was told."""
        reading, last, pause = Reading(job_id), "", 0.2
        self.seen.open_streams += 1
        self.seen.most_streams = max(self.seen.most_streams, self.seen.open_streams)
        try:
            for attempt in itertools.count():
                self.seen.resumed += attempt > 0
                self.seen.streams += 1
                url = f"{next(self._notifiers)}/api/ai/job-events?jobId={job_id}"
                stream = Stream(url, last_event_id=last or None)
                if await self._read(stream, reading):
                    return reading
                last = stream.last_id
                pause = pause if stream.retry_ms is None else stream.retry_ms / 1000
                await asyncio.sleep(pause)
        finally:
            self.seen.open_streams -= 1
        raise AssertionError("unreachable")

    async def _read(self, stream: Stream, reading: Reading) -> bool:
        """Take events until the job or the connection ends; True: the job ended."""
        try:
            async with stream:
                if stream.status == 204:
                    return True
                if stream.status != 200:
                    self.seen.failures[f"GET /api/ai/job-events: {stream.status}"] += 1
                    return True
                while (event := await stream.next()) is not None:
                    if event.kind == "gap":
                        reading.gaps += 1
                        continue
                    reading.events.append((event.id, event.kind, event.data))
                    if event.kind in TERMINAL:
                        return True
        except ConnectionError:
            pass  # refused, or cut before or in the middle of the answer
        return False
