"""A worker that meets unforeseen errors: in a provider, at an end, in its own loops (I12)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from services.worker import liveness
from services.worker.loops import lease_renewal
from services.worker.providers import Completion, GenerationRequest
from services.worker.worker import Worker
from shared.job import JobStatus
from shared.settings import StoreSettings
from shared.store.embedded.server import EmbeddedServer
from shared.store.job_store import JobStore
from tests.support.faults import breaks
from tests.support.store import claim, submit
from tests.support.worker import DONE, Scripted, answers, ended, running_worker, until, waits_until_closed

RAISED = [
    RuntimeError("a prompt"), MemoryError(), RecursionError(), SystemExit(3), KeyboardInterrupt(),
    asyncio.CancelledError(), StopAsyncIteration(), ExceptionGroup("two", [OSError(), ValueError()]),
    BaseExceptionGroup("both", [asyncio.CancelledError(), SystemExit()]),
]  # fmt: skip


async def _finalized(worker: Worker) -> bool:
    return not worker._pool.attempts and worker._pool.free == worker._settings.worker_concurrency


def _lines(lines: list[Any], job_id: str) -> list[Any]:
    return [line for line in lines if line.get("job_id") == job_id]


@pytest.mark.parametrize("text", ["", "some text"], ids=["before the text", "after it"])
async def test_any_exception_of_a_provider_costs_one_attempt(store: JobStore, text: str) -> None:
    """Exceptions of every sort, those too that end processes: the job is tried again, the worker lives, one line names
    type and place and no word of the exception's own."""

    async def raises_once(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        if request.attempt == 1:
            if text:
                yield text
                await asyncio.sleep(0.01)
            raise RAISED[int(request.prompt)]
        yield "fine"
        yield DONE

    with structlog.testing.capture_logs() as lines:
        async with running_worker(store.settings, {"p": Scripted(raises_once)}) as (worker, _):
            ids = [(await submit(store, prompt=str(index)))[0] for index in range(len(RAISED))]
            for job_id in ids:
                seen = await ended(store, job_id)
                assert (seen.status, seen.attempt) == (JobStatus.COMPLETED, 2)
            await until(lambda: _finalized(worker))
    for index, job_id in enumerate(ids):
        first, second = _lines(lines, job_id)
        assert (first["event"], first["log_level"], second["log_level"]) == ("attempt_finalized", "error", "info")
        name = "RuntimeError" if isinstance(RAISED[index], StopAsyncIteration) else type(RAISED[index]).__name__
        assert first["cause"].startswith(name)
    assert "a prompt" not in repr(lines)


@pytest.mark.parametrize(
    ("times", "status", "error"),
    [(1, JobStatus.COMPLETED, None), (1000, JobStatus.FAILED, "InternalError")],
    ids=["once", "always"],
)
async def test_an_end_that_cannot_be_written_is_repeated_and_then_another(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, times: int, status: JobStatus, error: str | None
) -> None:
    """The transition raises an error that is no refusal of the store: it is repeated, and where that never works the
    attempt is used up by the other transition."""
    breaks(monkeypatch, JobStore, "finish", times)
    with structlog.testing.capture_logs() as lines:
        async with running_worker(store.settings, {"p": Scripted(answers)}) as (worker, _):
            (job_id,) = await submit(store, max_attempts=1)
            seen = await ended(store, job_id)
            await until(lambda: _finalized(worker))
    assert seen.outcome is not None
    assert (seen.status, seen.outcome.error and seen.outcome.error.type) == (status, error)
    assert len(_lines(lines, job_id)) == 1


async def test_what_no_transition_can_end_is_left_to_its_lease(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither end can be written for a while, as when the release has vanished: the slot is free, the lease is renewed
    no more, one line says so, and the job is run again once it has run out."""
    breaks(monkeypatch, JobStore, "finish", 2)
    breaks(monkeypatch, JobStore, "requeue", 2)
    quick = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=1.0)
    with structlog.testing.capture_logs() as lines:
        async with running_worker(quick, {"p": Scripted(answers)}, worker_concurrency=1) as (worker, _):
            (job_id,) = await submit(store)

            async def left() -> bool:
                return any(line["event"] == "attempt_abandoned" for line in lines)

            await until(left)
            assert await _finalized(worker)
            assert (await ended(store, job_id)).status is JobStatus.COMPLETED
    first, second = _lines(lines, job_id)
    assert (first["log_level"], second["event"]) == ("error", "attempt_finalized")
    assert first["cause"].startswith("FileNotFoundError at ")


class _Deaf:
    """A provider that swallows every cancellation until `released`."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.gone = asyncio.Event()

    async def stream(self, _: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield "text"
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        self.gone.set()
        yield DONE


async def test_a_provider_that_ignores_its_time_out_keeps_no_slot(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It swallows the cancellation: its job ends as `Timeout` within time-out plus lease, its only slot runs the next
    job, live fails while the task is there, and its writes after it wakes up change nothing."""
    monkeypatch.setattr(liveness, "MARGIN_S", -1.5)
    quick = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=1.0)
    deaf = _Deaf()
    try:
        with structlog.testing.capture_logs() as lines:
            async with running_worker(
                quick, {"deaf": Scripted(deaf.stream), "p": Scripted(answers)}, worker_concurrency=1
            ) as (worker, _):
                (job_id,) = await submit(store, max_attempts=1, timeout_seconds=0.3)
                seen = await ended(store, job_id)
                assert seen.outcome is not None
                assert seen.outcome.error is not None
                assert seen.outcome.error.type == "Timeout"
                await until(lambda: _finalized(worker))

                async def dead() -> bool:
                    return not await worker.live()

                await until(dead)
                deaf.released.set()
                await deaf.gone.wait()
                await until(worker.live)
                (later,) = await submit(store, max_attempts=1)
                assert (await ended(store, later)).status is JobStatus.COMPLETED
                assert await store.status(job_id) == seen
    finally:
        deaf.released.set()
    (line,) = _lines(lines, job_id)
    assert (line["stuck"], line["log_level"]) == (True, "error")
    assert line["run_seconds"] < 0.3 + 1.0 + 10.0


async def test_a_drain_also_releases_jobs_that_ignore_it(store: JobStore) -> None:
    """The worker leaves in time, and the job of a task that does not end is queued again, without an attempt used."""
    patient = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=60.0)
    deaf = _Deaf()
    try:
        provider = Scripted(deaf.stream)
        async with running_worker(patient, {"p": provider}) as (_, stop):
            await submit(store)
            await provider.called()
            stop.set()
            left = time.monotonic()
        assert time.monotonic() - left < 30.0
        stats = await store.queries.stats()
        assert (stats.queued, stats.processing) == (1, 0)
        (again,) = await claim(store)
        assert again.attempt == 1
    finally:
        deaf.released.set()


async def test_after_two_leases_without_a_renewal_nothing_is_paid_for(
    server: EmbeddedServer, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does not answer: providers' streams are closed after two leases, not before, while it is still
    away."""
    monkeypatch.setattr(lease_renewal, "RECONNECT_SECONDS", 0.1)
    quick = StoreSettings(redis_url=store.settings.redis_url, lease_seconds=1.0, timeout_seconds=0.3)
    closed = asyncio.Event()
    provider = Scripted(waits_until_closed(closed))
    async with running_worker(quick, {"p": provider}) as (worker, _):
        await submit(store)
        await provider.called()
        server.pause()
        try:
            async with asyncio.timeout(30):
                await closed.wait()
            assert time.monotonic() - worker._renewal._renewed_at >= 2.0
        finally:
            server.resume()
