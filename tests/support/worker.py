"""A worker inside the test's own process, with providers the test writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from services.worker.providers import Completion, GenerationRequest, Item, Provider
from services.worker.providers.registry import routing
from services.worker.settings import WorkerSettings
from services.worker.worker import Worker
from shared.job import JobSnapshot, Usage
from shared.settings import StoreSettings
from shared.store.job_store import JobStore, open_store
from shared.telemetry.metrics import WorkerMetrics, new_registry
from shared.tracing.spans import Tracer

DONE = Completion(usage=Usage(input_tokens=1, output_tokens=2), finish_reason="stop")

Stream = Callable[[GenerationRequest], AsyncIterator[Item]]


class Scripted:
    """A provider made of one async generator function; `price`: nano-USD a token, None: unknown; `calls` so far."""

    def __init__(self, stream: Stream, *, gated: bool = False) -> None:
        self._stream = stream
        self.gated = gated
        self.price: float | None = 10_000_000 / 3
        self.calls = 0

    def stream(self, request: GenerationRequest) -> AsyncIterator[Item]:
        """See `Provider`."""
        self.calls += 1
        return self._stream(request)

    async def called(self, times: int = 1) -> None:
        """Wait until it has been called so often.

        A job that is processing in Redis may be one whose claim is not answered yet: the worker does not know of it.
        """

        async def reached() -> bool:
            return self.calls >= times

        await until(reached)

    def cost(self, _: str, usage: Usage) -> int | None:
        """See `Provider`."""
        return None if self.price is None else round((usage.input_tokens + usage.output_tokens) * self.price)

    async def aclose(self) -> None:
        """See `Provider`."""


async def answers(request: GenerationRequest) -> AsyncIterator[str | Completion]:
    """Greets the prompt and is done."""
    yield "Hello "
    yield request.prompt
    yield DONE


async def waits_for_ever(_: GenerationRequest) -> AsyncIterator[str | Completion]:
    """Says a little and then nothing more."""
    yield "The beginning "
    await asyncio.Event().wait()
    yield DONE


def waits_until_closed(closed: asyncio.Event) -> Stream:
    """A provider's stream that says nothing until it is closed, which it reports."""

    async def waits(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        try:
            await asyncio.Event().wait()
            yield DONE
        finally:
            closed.set()

    return waits


def raises(error: Exception) -> Stream:
    """A provider's stream that fails before its first text."""

    async def fails(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        raise error
        yield ""

    return fails


@asynccontextmanager
async def running_worker(
    settings: StoreSettings, providers: Mapping[str, Provider], tracer: Tracer | None = None, /, **more: object
) -> AsyncIterator[tuple[Worker, asyncio.Event]]:
    """A worker on a connection of its own; on leaving it is stopped and waited for. `more`: worker settings."""
    chain = ",".join(f"{name}:{name}" for name in providers)
    worker_settings = WorkerSettings(**{"providers": chain, "drain_seconds": 0.2, **more})  # type: ignore[arg-type]  # names of fields
    stop = asyncio.Event()
    paths = routing(worker_settings, providers)
    async with open_store(settings, client_name="test-worker", routing=paths, tracer=tracer) as store:
        worker = Worker(worker_settings, store, WorkerMetrics(new_registry("worker")), providers, paths, tracer=tracer)
        task = asyncio.create_task(worker.run(stop))
        try:
            yield worker, stop
        finally:
            stop.set()
            await task


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Wait until an asynchronous condition holds; TimeoutError when it does not."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


async def ended(store: JobStore, job_id: str, seconds: float = 30.0) -> JobSnapshot:
    """The job once it has ended."""
    found: list[JobSnapshot] = []

    async def over() -> bool:
        snapshot = await store.status(job_id)
        if snapshot is not None and snapshot.status.terminal:
            found.append(snapshot)
        return bool(found)

    await until(over, seconds)
    return found[0]
