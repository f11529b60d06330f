"""A gateway inside the test's own process, on a real socket, against the real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from services.gateway.app import open_app
from services.gateway.settings import GatewaySettings
from shared.server import serve
from shared.setting_values import read
from tests.support.checks import RawRedis
from tests.support.plain import NO_TLS
from tests.support.processes import free_port

SUBMIT = "/api/ai/generate-content"
BATCH = "/api/ai/generate-content/batch"
STATUS = "/api/ai/job-status"
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
"""A time as the gateway writes it."""


def body(**changes: Any) -> dict[str, Any]:
    """A good body of a submit, with changes."""
    good = {"projectId": "project-123", "userId": "user-456", "organizationId": "org-789", "prompt": "Write a post"}
    return good | changes


@asynccontextmanager
async def running_gateway(redis_url: str, **settings: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with these settings (environment names), for the length of the block."""
    port = free_port()
    mapping: Mapping[str, str] = {"REDIS_URL": redis_url, "GATEWAY_PORT": str(port), **settings}
    stop = asyncio.Event()
    async with open_app(read(mapping, GatewaySettings), mapping, stop) as app:
        serving = asyncio.create_task(serve.serve(app, host="127.0.0.1", port=port, stop=stop, calm_collector=False))
        try:
            async with httpx.AsyncClient(verify=NO_TLS, base_url=f"http://127.0.0.1:{port}", timeout=35) as client:
                await _until_live(client, serving)
                yield client
        finally:
            stop.set()
            await serving


async def _until_live(client: httpx.AsyncClient, serving: asyncio.Task[None]) -> None:
    while not serving.done():
        try:
            if (await client.get("/health/live")).status_code == 200:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.01)
    serving.result()


async def subscribed(redis_url: str, channel: str) -> None:
    """Wait until a channel has a subscriber."""
    async with RawRedis(redis_url) as raw, asyncio.timeout(15):
        while not (await raw("PUBSUB", "NUMSUB", channel))[1]:
            await asyncio.sleep(0.01)


def problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem document of an answer, after checking that it is the expected one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"urn:presswork:problem:{slug}"
    assert document["status"] == status
    assert document["title"]
    return document


def fields(document: dict[str, Any]) -> set[str]:
    """The bad fields that a problem document names."""
    return {error["field"] for error in document["errors"]}
