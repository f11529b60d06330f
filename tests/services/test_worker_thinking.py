"""A model that thinks: it is not silent, it has a time of its own, and its thoughts are paid for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog

from services.worker.providers import Action, Completion, GenerationRequest, ProviderError, Thought, Whole
from shared.job import JobError, JobStatus, Usage
from shared.store.job_store import JobStore
from tests.support.store import submit
from tests.support.worker import DONE, Scripted, Stream, ended, running_worker

PATIENCE = {"first_token_seconds": 0.5, "token_gap_seconds": 0.5, "thinking_seconds": 60.0}


async def thoughts(seconds: float, characters: int = 40) -> AsyncIterator[Thought]:
    """Thoughts of so many characters, ten a second, for so long."""
    for _ in range(round(seconds * 10)):
        yield Thought(characters)
        await asyncio.sleep(0.1)


async def test_a_model_that_thinks_is_not_silent(store: JobStore) -> None:
    """It may think for longer than it may be silent, before its text and in the middle of it; that is in the usage."""

    async def thinks(_: GenerationRequest) -> AsyncIterator[str | Thought | Completion]:
        async for thought in thoughts(1.2):
            yield thought
        yield "some "
        async for thought in thoughts(1.2):
            yield thought
        yield "text"
        yield Completion(usage=Usage(input_tokens=1, output_tokens=250, reasoning_tokens=240), finish_reason="stop")

    async with running_worker(store.settings, {"p": Scripted(thinks)}, **PATIENCE):
        (job_id,) = await submit(store)
        job = await ended(store, job_id)
    assert job.outcome is not None
    assert (job.status, job.attempt, job.outcome.result) == (JobStatus.COMPLETED, 1, "some text")
    assert job.outcome.usage == Usage(input_tokens=1, output_tokens=250, reasoning_tokens=240)


async def test_a_whole_answer_is_not_silent(store: JobStore) -> None:
    """A server that holds its connection behind the finish reason loses no text that was paid for."""

    async def lingers(_: GenerationRequest) -> AsyncIterator[str | Whole | Completion]:
        yield "text"
        yield Whole()
        await asyncio.sleep(1.2)
        yield Completion(usage=Usage(input_tokens=1, output_tokens=1), finish_reason="stop")

    async with running_worker(store.settings, {"p": Scripted(lingers)}, **PATIENCE):
        (job_id,) = await submit(store)
        job = await ended(store, job_id)
    assert (job.status, job.attempt) == (JobStatus.COMPLETED, 1)


async def _thinks_on(_: GenerationRequest) -> AsyncIterator[str | Thought | Completion]:
    async for thought in thoughts(60.0):
        yield thought


async def _thinks_and_stops(_: GenerationRequest) -> AsyncIterator[str | Thought | Completion]:
    yield Thought(400)
    await asyncio.Event().wait()


async def _thinks_and_breaks(_: GenerationRequest) -> AsyncIterator[str | Thought | Completion]:
    yield Thought(400)
    raise ProviderError(JobError(type="Broken", message="", retryable=True), Action.RETRY)


@pytest.mark.parametrize(
    ("stream", "patience", "error_type", "thought"),
    [
        (_thinks_on, PATIENCE | {"thinking_seconds": 1.0}, "ThinkingTimeout", 50),
        (_thinks_and_stops, PATIENCE, "FirstTokenTimeout", 100),
        (_thinks_and_breaks, PATIENCE, "Broken", 100),
    ],
)
async def test_what_was_thought_for_nothing_is_paid(
    store: JobStore, stream: Stream, patience: dict[str, float], error_type: str, thought: int
) -> None:
    """A thought that is too long, that stops, or whose call breaks, is estimated from its characters."""
    async with running_worker(store.settings, {"p": Scripted(stream)}, **patience):
        (job_id,) = await submit(store, max_attempts=1)
        job = await ended(store, job_id)
    assert job.outcome is not None
    assert job.outcome.error is not None
    assert job.outcome.error.type == error_type
    usage = job.outcome.usage
    assert usage is not None
    assert thought <= usage.output_tokens <= 300
    assert (usage.reasoning_tokens, usage.estimated) == (usage.output_tokens, True)


async def test_a_cancelled_thought_is_paid(store: JobStore) -> None:
    """A job that is cancelled before its text has cost its thoughts."""
    begun = asyncio.Event()

    async def thinks(_: GenerationRequest) -> AsyncIterator[str | Thought | Completion]:
        yield Thought(400)
        begun.set()
        await asyncio.Event().wait()

    async with running_worker(store.settings, {"p": Scripted(thinks)}):
        (job_id,) = await submit(store)
        async with asyncio.timeout(30):
            await begun.wait()
        await store.cancel(job_id)
        job = await ended(store, job_id)
    assert job.outcome is not None
    assert job.status is JobStatus.CANCELLED
    assert job.outcome.usage == Usage(input_tokens=1, output_tokens=100, reasoning_tokens=100, estimated=True)


async def test_an_unknown_finish_reason_is_passed_on_and_logged_once(store: JobStore) -> None:
    """Each answer counts; the log names a reason once, without characters that cannot be in a name."""

    async def ends_oddly(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield request.prompt
        yield Completion(usage=DONE.usage, finish_reason="new {reason}")

    with structlog.testing.capture_logs() as logs:
        async with running_worker(store.settings, {"p": Scripted(ends_oddly)}) as (worker, _):
            for job_id in await submit(store, 3):
                job = await ended(store, job_id)
                assert job.outcome is not None
                assert (job.status, job.outcome.finish_reason) == (JobStatus.COMPLETED, "new {reason}")
            counted = worker._metrics.calls.unknown_finish_reasons.labels("p", "p")
            assert counted._value.get() == 3
    found = [line for line in logs if line["event"] == "unknown_finish_reason_received"]
    assert [(line["provider"], line["finish_reason"]) for line in found] == [("p", "new ?reason?")]
