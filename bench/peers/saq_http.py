"""FastAPI in front of saq, as its documentation shows it: a validated body, one enqueue per job, 202 with the id."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from fastapi import FastAPI  # type: ignore[import-not-found,unused-ignore]
from pydantic import BaseModel, Field  # type: ignore[import-not-found,unused-ignore]
from saq import Queue  # type: ignore[import-not-found,unused-ignore]

queue: Any = Queue.from_url(os.environ["BENCH_REDIS_URL"])


class Body(BaseModel):  # type: ignore[misc,unused-ignore]
    """A submit as the guide shows it."""

    projectId: str = Field(max_length=64)  # noqa: N815 - the public contract is camelCase
    userId: str = Field(max_length=64)  # noqa: N815 - the public contract is camelCase
    organizationId: str = Field(max_length=64)  # noqa: N815 - the public contract is camelCase
    prompt: str = Field(max_length=65536)
    parameters: dict[str, str | int | float | bool] = {}
    priority: Literal["high", "normal", "low"] = "normal"


class Batch(BaseModel):  # type: ignore[misc,unused-ignore]
    """Many of them."""

    jobs: list[Body] = Field(max_length=500)


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:  # noqa: ARG001 - FastAPI passes it
    """Connect and disconnect."""
    await queue.connect()
    yield
    await queue.disconnect()


app: Any = FastAPI(lifespan=lifespan)


async def _enqueue(body: Body) -> dict[str, str]:
    job = await queue.enqueue("generate", job=body.model_dump())
    return {"jobId": job.id, "status": "queued"}


@app.post("/api/ai/generate-content", status_code=202)  # type: ignore[untyped-decorator,unused-ignore]
async def submit(body: Body) -> dict[str, str]:
    """One job."""
    return await _enqueue(body)


@app.post("/api/ai/generate-content/batch", status_code=202)  # type: ignore[untyped-decorator,unused-ignore]
async def submit_batch(batch: Batch) -> dict[str, list[dict[str, str]]]:
    """Many jobs: saq has no batch call, so all are enqueued at once."""
    return {"jobs": list(await asyncio.gather(*(_enqueue(body) for body in batch.jobs)))}


@app.get("/health/ready")  # type: ignore[untyped-decorator,unused-ignore]
async def ready() -> dict[str, str]:
    """The process serves."""
    return {"status": "ok"}
