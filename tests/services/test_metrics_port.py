"""Metrics on a port of their own: not where the world calls, and nothing else is there."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from shared.errors import SettingsInvalid
from shared.store.job_store import JobStore
from tests.support.gateway import SUBMIT, body, problem, running_gateway
from tests.support.notifier import running_notifier
from tests.support.plain import NO_TLS
from tests.support.processes import free_port


async def test_the_gateway_shows_its_metrics_there_alone(redis_url: str) -> None:
    """With METRICS_PORT the gateway's own port has no `/metrics`, neither in its document; health stays."""
    port = free_port()
    async with running_gateway(redis_url, METRICS_PORT=str(port)) as client:
        assert (await client.post(SUBMIT, json=body())).status_code == 202
        problem(await client.get("/metrics"), 404, "not-found")
        assert "/metrics" not in (await client.get("/openapi.json")).json()["paths"]
        assert (await client.get("/health/ready")).status_code == 200

        apart = f"http://127.0.0.1:{port}"
        text = (await client.get(f"{apart}/metrics")).text
        assert 'presswork_jobs_submitted_total{priority="normal"} 1.0' in text
        assert 'presswork_queue_jobs{state="queued"} 1.0' in text
        for path in ("/api/ai/queue-stats", "/health/live", "/docs", "/metrics/"):
            assert (await client.get(f"{apart}{path}")).status_code == 404
        assert (await client.get(f"{apart}/metrics", headers={"Host": "rebound.example"})).status_code == 421
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_the_notifier_shows_its_metrics_there_alone(store: JobStore) -> None:
    """The same for the notifier."""
    port = free_port()
    async with (
        running_notifier(store.settings, metrics_port=port) as notifier,
        httpx.AsyncClient(verify=NO_TLS) as client,
    ):
        problem(await client.get(f"{notifier.url}/metrics"), 404, "not-found")
        assert "presswork_sse_connections 0.0" in (await client.get(f"http://127.0.0.1:{port}/metrics")).text


async def test_a_port_that_is_taken_stops_the_service(redis_url: str) -> None:
    """One line that names the address, as for the service's own port."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SettingsInvalid, match="in use"):
        async with running_gateway(redis_url, METRICS_PORT=str(taken.getsockname()[1])):
            pass
