"""(g) Memory of the notifier per idle stream, and how long a job's end takes to reach a client among them.

Idle streams watch jobs that are delayed by hours. Memory is the growth of the notifier's proportional set size. The
delay is from the moment the provider's text ended in the worker process to the arrival of the terminal event here, so
the write to Redis is in it.
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from pathlib import Path
from typing import Final

import uvloop

from bench.load import Records, new_job
from bench.machine import cpu_seconds, proportional_set_size
from bench.report import Report, Spread, percentile
from bench.server import Probe, fresh_server
from bench.services import Service, service
from bench.sizes import Sizes
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store

HOURS_MS: Final = 6 * 3_600_000
OPEN_AT_ONCE: Final = 64
RUN_MS: Final = 150
"""Running time of a timed job: its stream is open long before it ends."""


class Stream:
    """One browser's connection: HTTP/1.1 over a socket, as little memory here as possible."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, job_id: str) -> Stream:
        """Connect and wait for the first event; RuntimeError when refused."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        path = f"/api/ai/job-events?jobId={job_id}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
        status = await reader.readline()
        if b" 200 " not in status:
            writer.close()
            raise RuntimeError(f"the notifier answered {status!r}")
        await reader.readuntil(b"event: queued")
        return cls(reader, writer)

    async def end(self) -> float:
        """When the `completed` event arrived, in s since the epoch."""
        await self._reader.readuntil(b"event: completed")
        at = time.time()
        self.writer.close()
        return at


async def _open_idle(store: JobStore, notifier: Service, streams: int) -> list[Stream]:
    gate = asyncio.Semaphore(OPEN_AT_ONCE)

    async def one() -> Stream:
        async with gate:
            submitted = await store.submit(new_job(delay_ms=HOURS_MS))
            return await Stream.open(notifier.port, submitted.job_id)

    return list(await asyncio.gather(*(one() for _ in range(streams))))


async def _ends(store: JobStore, notifier: Service, sizes: Sizes) -> dict[str, float]:
    """When each timed job's end arrived, by job id."""
    arrived: dict[str, float] = {}

    async def one() -> None:
        submitted = await store.submit(new_job())
        stream = await Stream.open(notifier.port, submitted.job_id)
        arrived[submitted.job_id] = await stream.end()

    async with asyncio.TaskGroup() as group:
        for _ in range(sizes.stream_jobs):
            group.create_task(one())
            await asyncio.sleep(1 / sizes.rate)
    return arrived


class Run:
    """One measurement: bytes a stream, delays in ms, CPU of the idle notifier in cores."""

    def __init__(self, bytes_a_stream: float, delays: list[float], idle_cores: float) -> None:
        self.bytes_a_stream = bytes_a_stream
        self.delays = delays
        self.idle_cores = idle_cores


async def _measure(probe: Probe, notifier: Service, ends: Records, sizes: Sizes) -> Run:
    async with open_store(StoreSettings(redis_url=probe.url), client_name="bench-streams") as store:
        # Memory that the first streams allocate once (buffers, code, caches) belongs to the process, not to a stream.
        first = await _open_idle(store, notifier, min(50, sizes.streams))
        await asyncio.sleep(sizes.settle)
        before = proportional_set_size(notifier.process.pid)
        idle = await _open_idle(store, notifier, sizes.streams)
        await asyncio.sleep(sizes.settle)
        after = proportional_set_size(notifier.process.pid)
        cpu = cpu_seconds(notifier.process.pid)
        await asyncio.sleep(sizes.settle)
        cpu = (cpu_seconds(notifier.process.pid) - cpu) / sizes.settle
        arrived = await _ends(store, notifier, sizes)
        for stream in (*first, *idle):
            stream.writer.close()
    ended = ends.by_job()
    return Run((after - before) / sizes.streams, [(at - ended[job]) * 1000 for job, at in arrived.items()], cpu)


def run(sizes: Sizes) -> Report:
    """A fresh notifier per repetition."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    runs = []
    for _ in range(sizes.repetitions):
        with tempfile.TemporaryDirectory(prefix="presswork-bench-") as folder, fresh_server() as probe:
            ends = Records(Path(folder) / "ends")
            worker = service("worker", probe.url, BENCH_ENDS=str(ends.path), BENCH_RUN_MS=str(RUN_MS))
            with service("notifier", probe.url) as notifier, worker:
                runs.append(uvloop.run(_measure(probe, notifier, ends, sizes)))
    report = Report(
        name="streams", title=f"{sizes.streams:,} idle streams, {sizes.stream_jobs} ends at {sizes.rate:g}/s"
    )
    memory = Spread.of(run.bytes_a_stream / 1024 for run in runs)
    delays = [Spread.of(percentile(run.delays, share) for run in runs) for share in (0.5, 0.99)]
    idle = Spread.of(run.idle_cores for run in runs)
    columns = ["KiB a stream", "end to client p50 ms", "p99 ms", "notifier cores while idle"]
    report.add_table(columns, [[memory, *delays, idle]])
    report.figures = {"KiB a stream": memory, "end to client p50 ms": delays[0], "end to client p99 ms": delays[1]}
    return report
