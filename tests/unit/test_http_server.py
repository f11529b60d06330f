"""The server: ops routes, an orderly end, and addresses that cannot be used."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket

import httpx
import pytest
from litestar import get
from litestar.types import ASGIApp

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.http.health import ops_routes
from shared.server import serve
from shared.server.sockets import listen
from shared.telemetry.metrics import new_registry
from tests.support.plain import NO_TLS
from tests.support.processes import free_port


class _Service:
    """A service whose health a test decides."""

    def __init__(self) -> None:
        self.alive, self.connected, self.scrapes = True, True, 0
        self.entered = asyncio.Event()
        self.stop = asyncio.Event()
        self.port = free_port()

    async def _live(self) -> bool:
        return self.alive

    async def _ready(self) -> None:
        if not self.connected:
            raise StoreUnavailable("gone")

    async def _before_scrape(self) -> None:
        self.scrapes += 1

    def app(self) -> ASGIApp:
        @get("/slow")
        async def slow() -> str:
            self.entered.set()
            await self.stop.wait()
            await asyncio.sleep(0.05)
            return "done"

        @get("/broken")
        async def broken() -> str:
            raise RuntimeError("secret")

        ops = ops_routes(
            ready=self._ready, live=self._live, registry=new_registry("test"), before_scrape=self._before_scrape
        )
        return serve.application([slow, broken, *ops])

    async def start(self, client: httpx.AsyncClient) -> asyncio.Task[None]:
        serving = asyncio.create_task(
            serve.serve(self.app(), host="127.0.0.1", port=self.port, stop=self.stop, calm_collector=False)
        )
        while not serving.done():
            try:
                await client.get("/health/live")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.01)
        return serving


def _client(service: _Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=NO_TLS, base_url=f"http://127.0.0.1:{service.port}", timeout=10)


async def test_ops_routes_show_the_state_of_the_service() -> None:
    """live and ready follow the service's answers, metrics refresh first, and an unforeseen error is a bare 500."""
    service = _Service()
    async with _client(service) as client:
        serving = await service.start(client)
        assert (await client.get("/health/live")).json() == {"status": "live"}
        assert (await client.get("/health/ready")).json() == {"status": "ready"}
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=")
        assert "presswork_build_info" in metrics.text
        assert service.scrapes == 1
        service.alive, service.connected = False, False
        live, ready = await client.get("/health/live"), await client.get("/health/ready")
        assert (live.status_code, live.json()["type"]) == (503, "urn:presswork:problem:not-live")
        assert (ready.status_code, ready.json()["type"]) == (503, "urn:presswork:problem:store-unavailable")
        broken = await client.get("/broken")
        assert (broken.status_code, broken.headers["content-type"]) == (500, "application/problem+json")
        assert "secret" not in broken.text
    service.stop.set()
    await asyncio.wait_for(serving, 30)


async def test_a_signal_lets_open_answers_finish() -> None:
    """SIGTERM sets the stop event; an answer under way is completed, then `serve` returns and handlers are restored."""
    service = _Service()
    before = signal.getsignal(signal.SIGTERM)
    async with _client(service) as client:
        with serve.set_by_signals(service.stop):
            serving = await service.start(client)
            slow = asyncio.create_task(client.get("/slow"))
            await asyncio.wait_for(service.entered.wait(), 30)
            os.kill(os.getpid(), signal.SIGTERM)
            assert (await asyncio.wait_for(slow, 30)).text == "done"
            await asyncio.wait_for(serving, 30)
    assert signal.getsignal(signal.SIGTERM) == before
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", service.port)) != 0


async def test_an_address_in_use_is_one_clear_line() -> None:
    """A taken port and an unknown host are invalid settings that name the address."""
    (taken,) = listen("127.0.0.1", 0)
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsInvalid, match=f"127.0.0.1:{port}"):
            listen("127.0.0.1", port)
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(SettingsInvalid, match=rf"cannot listen on {re.escape(host)}:"):
            listen(host, port)


def _families() -> list[str]:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return ["127.0.0.1", "::1"]
    except OSError:
        return ["127.0.0.1"]


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", ["127.0.0.1"]), ("::1", ["::1"]), ("::", ["127.0.0.1", "::1"]), ("localhost", ["127.0.0.1"]),
        ("0.0.0.0", ["127.0.0.1"]),  # noqa: S104 - an operator may write it
    ],
)  # fmt: skip
def test_every_address_of_a_host_is_served(host: str, reached: list[str]) -> None:
    """`::` serves both families, a name all addresses it stands for, on one port."""
    if ":" in host and "::1" not in _families():
        pytest.skip("this machine has no IPv6")
    with contextlib.ExitStack() as closing:
        bound = [closing.enter_context(held) for held in listen(host, 0)]
        (port,) = {held.getsockname()[1] for held in bound}
        named = {str(found[4][0]) for found in socket.getaddrinfo("localhost", None)} & set(_families())
        for address in named if host == "localhost" else reached:
            with socket.create_connection((address, port), timeout=5):
                pass
