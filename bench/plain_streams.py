"""The way without a queue, beside bench/tokens.py: FastAPI passes on the stream of the OpenAI SDK, in one process.

Each stream needs its client there, for nothing is kept. Tokens count when a client has read them: at a rate above what
the process can pass on, the rest waits in its sockets, and the SDK's calls that are to begin fail for want of time.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import uvloop

from bench.machine import CpuMeter, proportional_set_size, wait_for_quiet
from bench.processes import PEER_PYTHON, free_port, running, wait_for_http
from bench.report import Report, Spread, percentile
from bench.services import Service
from bench.sizes import Sizes
from bench.stamps import Arrival, arrivals
from bench.stand_in import OPEN_SECONDS, endless, stand_in, until_open
from tests.support.llm import LlmServer, llm_server_at

TIMED: Final = 50
"""One client in so many notes when its tokens arrive."""

WAVE: Final = 50
"""Streams that begin at once: the SDK gives a connection five seconds."""

_EVENT: Final = re.compile(rb'data: \{"text": "([^"]*)"\}\n')


class PlainRun(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement at one rate: calls that were open; `tokens` a second that clients read; CPU in cores; memory in
    bytes; delays in s."""

    opened: int
    tokens: float
    service: float
    stand_in: float
    others: float
    memory_before: int
    memory_open: int
    at_client: list[float]


class _Client(asyncio.Protocol):
    """Reads one stream; `noted`: where a timed one leaves its arrivals."""

    def __init__(self, noted: list[Arrival] | None) -> None:
        self._noted = noted
        self._rest = b""
        self.tokens = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # a stream's is always a Transport
        self.transport.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._noted is None:
            self.tokens += data.count(b"data: ")
            return
        now, data = time.time(), self._rest + data
        end = 0
        for event in _EVENT.finditer(data):
            self._noted.extend(arrivals(event[1].decode(), now))
            self.tokens += 1
            end = event.end()
        self._rest = data[end:]


async def _open_all(connect: Callable[[int], Awaitable[None]], llm: LlmServer, streams: int) -> int:
    """Begin the streams after the first; answers how many calls are open when all are, or when time is over."""
    deadline = time.monotonic() + OPEN_SECONDS
    for first in range(1, streams, WAVE):
        wave = range(first, min(first + WAVE, streams))
        await asyncio.gather(*(connect(number) for number in wave))
        while (await llm.stats()).open <= wave[-1] and time.monotonic() < deadline:  # noqa: ASYNC110 - of a process
            await asyncio.sleep(0.05)
    return (await llm.stats()).open


async def _measure(service: Service, vendor: Service, sizes: Sizes, rate: float) -> PlainRun:
    loop = asyncio.get_running_loop()
    noted: list[Arrival] = []
    clients: list[_Client] = []

    async def connect(number: int) -> None:
        client = _Client(None if number % TIMED else noted)
        await loop.create_connection(lambda: client, "127.0.0.1", service.port)
        clients.append(client)

    async with llm_server_at(vendor.port) as llm:
        await llm.behave(endless(rate))
        await connect(0)
        await until_open(llm, 1)
        before = proportional_set_size(service.process.pid)
        await asyncio.to_thread(wait_for_quiet, sizes.quiet_wait)
        opened = await _open_all(connect, llm, sizes.token_streams)

        began, read = time.time(), sum(client.tokens for client in clients)
        meter = CpuMeter([service.process.pid, vendor.process.pid])
        await asyncio.sleep(sizes.token_window)
        (service_cores, vendor_cores), others = meter.cores()
        ended, read = time.time(), sum(client.tokens for client in clients) - read
        memory = proportional_set_size(service.process.pid)
        for client in clients:
            client.transport.abort()

    return PlainRun(
        opened=opened, tokens=read / (ended - began), service=service_cores, stand_in=vendor_cores, others=others,
        memory_before=before, memory_open=memory,
        at_client=[delay for at, delay in noted if began <= at <= ended],
    )  # fmt: skip


def measure(sizes: Sizes, rate: float) -> PlainRun:
    """A fresh service and vendor."""
    port = free_port()
    options = ["--loop", "uvloop", "--http", "httptools", "--log-level", "warning", "--no-access-log"]
    command = [str(PEER_PYTHON), "-m", "uvicorn", "bench.peers.openai_stream:app", "--port", str(port), *options]
    with stand_in() as vendor:
        environment = {"BENCH_OPENAI_URL": f"http://127.0.0.1:{vendor.port}/v1"}
        with running(command, environment) as process:
            wait_for_http(f"http://127.0.0.1:{port}/health/ready", process)
            return uvloop.run(_measure(Service(process, port), vendor, sizes, rate))


def add_to(report: Report, found: dict[float, list[PlainRun]]) -> None:
    """One more table."""
    rows = []
    for rate, runs in found.items():
        token = Spread.of(run.service / run.tokens * 1e6 for run in runs)
        delays = [Spread.of(percentile(run.at_client, share) * 1000 for run in runs) for share in (0.5, 0.99)]
        memory = Spread.of((run.memory_open - run.memory_before) / run.opened / 1024 for run in runs)
        cores = [
            Spread.of(getattr(run, name) for run in runs)
            for name in ("opened", "tokens", "service", "stand_in", "others")
        ]
        rows.append([f"{rate:g}/s", token, *cores, *delays, memory])
        report.figures |= {f"FastAPI + OpenAI SDK, {rate:g}/s: us a token": token}
    columns = [
        "us a token", "open", "tokens/s read", "cores", "stand-in cores", "others' cores", "at client p50 ms", "p99",
    ]  # fmt: skip
    report.add_table(["FastAPI + OpenAI SDK, each stream", *columns, "KiB a stream"], rows)
