"""Submits single jobs at an even rate with a little jitter, over the store or over HTTP, and notes when."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import time
from collections.abc import Iterator

import uvloop

from bench.load import PAYLOAD, new_job
from shared.settings import StoreSettings
from shared.store.job_store import open_store


def _beats(jobs: int, rate: float) -> Iterator[float]:
    """Moments to submit at, in s of the monotonic clock. The jitter keeps timers elsewhere from falling in step."""
    start = time.monotonic() + 0.05
    for i in range(jobs):
        yield start + (i + random.uniform(0.0, 0.5)) / rate


def over_http(port: int, jobs: int, rate: float) -> dict[str, float]:
    """Submit to a gateway on loopback; time of each job's request in s since the epoch. RuntimeError when refused."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    sent = {}
    for beat in _beats(jobs, rate):
        time.sleep(max(0.0, beat - time.monotonic()))
        at = time.time()
        connection.request("POST", "/api/ai/generate-content", PAYLOAD, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 202:
            raise RuntimeError(f"the gateway answered {answer.status}")
        sent[json.loads(body)["jobId"]] = at
    connection.close()
    return sent


def over_store(redis_url: str, jobs: int, rate: float) -> dict[str, float]:
    """Submit with the store itself from this process; time of each call in s since the epoch."""

    async def submit() -> dict[str, float]:
        sent = {}
        async with open_store(StoreSettings(redis_url=redis_url), client_name="producer") as store:
            await store.ping()
            for beat in _beats(jobs, rate):
                await asyncio.sleep(max(0.0, beat - time.monotonic()))
                job = new_job()
                sent[job.id] = time.time()
                await store.submit(job)
        return sent

    return uvloop.run(submit())
