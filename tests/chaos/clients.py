"""The outside world of the chaos run: front ends that submit and retry, and readers that follow a stream to its end."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import Any

import httpx

TERMINAL = ("completed", "failed", "cancelled")


@dataclass
class Reading:
    """What one reader saw of one job: (id, event, data) in order; `gaps` counts explicit gaps."""

    job_id: str
    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    gaps: int = 0

    def problems(self) -> list[str]:
        """Breaches of I2 and I10 in what was seen; [] is right."""
        found = []
        ids = [event_id for event_id, _, _ in self.events]
        if len(set(ids)) != len(ids):
            found.append(f"{self.job_id}: an event came twice: {ids}")
        kinds = [kind for _, kind, _ in self.events]
        if kinds[:1] != ["queued"] and not self.gaps:
            found.append(f"{self.job_id}: began with {kinds[:1]}")
        if sum(kind in TERMINAL for kind in kinds) != 1 or kinds[-1] not in TERMINAL:
            found.append(f"{self.job_id}: not exactly one end: {kinds}")
        if kinds[-1:] == ["completed"] and not self.gaps:
            last = max((i for i, kind in enumerate(kinds) if kind == "processing"), default=0)
            text = "".join(data["text"] for _, kind, data in self.events[last:] if kind == "delta")
            if text != self.events[-1][2]["result"]:
                found.append(f"{self.job_id}: the deltas do not add up to the result")
        return found


async def submit(client: httpx.AsyncClient, gateway: str, number: int, body: dict[str, Any]) -> str:
    """Submit until a 202 names the job; the idempotency key makes that safe. Answers the job id."""
    while True:
        try:
            answer = await client.post(
                f"{gateway}/api/ai/generate-content", json=body, headers={"Idempotency-Key": f"chaos-{number}"}
            )
            if answer.status_code == 202:
                return str(answer.json()["jobId"])
            assert answer.status_code in (429, 503), (answer.status_code, answer.text)
        except httpx.TransportError:
            pass
        await asyncio.sleep(random.uniform(0.05, 0.3))


async def follow(client: httpx.AsyncClient, notifier: str, job_id: str) -> Reading:
    """Read a job's events to the end as a browser does: reconnect with the last id whenever the stream ends."""
    reading, last = Reading(job_id), ""
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        url = f"{notifier}/api/ai/job-events"
        try:
            async with client.stream("GET", url, params={"jobId": job_id}, headers=headers) as answer:
                if answer.status_code == 204:
                    return reading
                assert answer.status_code == 200, answer.status_code
                last = await _read(answer, reading, last)
        except httpx.TransportError:
            pass
        if reading.events and reading.events[-1][1] in TERMINAL:
            return reading
        await asyncio.sleep(random.uniform(0.05, 0.2))


async def _read(answer: httpx.Response, reading: Reading, last: str) -> str:
    event: dict[str, str] = {}
    try:
        async for line in answer.aiter_lines():
            name, _, value = line.partition(":")
            if line and name:
                event[name] = value.removeprefix(" ")
            elif not line and "event" in event:
                if event["event"] == "gap":
                    reading.gaps += 1
                else:
                    last = event["id"]
                    reading.events.append((last, event["event"], json.loads(event["data"])))
                event = {}
            elif not line:
                event = {}
    except httpx.TransportError:
        pass
    return last


async def final_status(client: httpx.AsyncClient, gateway: str, job_id: str) -> dict[str, Any]:
    """The job's status once it is terminal."""
    while True:
        try:
            answer = await client.get(f"{gateway}/api/ai/job-status", params={"jobId": job_id, "wait": 10})
            if answer.status_code == 200 and answer.json()["status"] in TERMINAL:
                return dict(answer.json())
            assert answer.status_code in (200, 503), (answer.status_code, answer.text)
        except httpx.TransportError:
            pass
        await asyncio.sleep(random.uniform(0.05, 0.2))
