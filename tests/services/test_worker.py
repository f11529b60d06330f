"""A worker on a real server, with providers that behave badly in every way."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.worker.execution.attempt import Attempt
from services.worker.loops.consumer import CLAIM_MOST
from services.worker.providers import Action, Completion, GenerationRequest, ProviderError
from shared.events import EventKind
from shared.job import JobError, JobStatus
from shared.store.job_store import JobStore
from shared.store.results import Claimed
from tests.support.store import new_job, submit
from tests.support.worker import (
    DONE,
    Scripted,
    Stream,
    answers,
    ended,
    running_worker,
    until,
    waits_for_ever,
)

BUSY = JobError(type="ProviderUnavailable", message="the provider is busy", retryable=True)


async def test_a_job_runs_and_its_events_add_up(store: JobStore) -> None:
    """queued, processing, deltas, completed; the outcome has text, usage, cost and who answered."""
    async with running_worker(store.settings, {"p": Scripted(answers)}):
        (job_id,) = await submit(store)
        snapshot = await ended(store, job_id)
        assert snapshot.outcome is not None
        assert (snapshot.status, snapshot.outcome.result) == (JobStatus.COMPLETED, "Hello x")
        assert (snapshot.outcome.provider, snapshot.outcome.cost_usd) == ("p", 0.01)
        events = (await store.events.read(job_id, None)).events
        deltas = [json.loads(event.data)["text"] for event in events if event.kind is EventKind.DELTA]
        assert "".join(deltas) == "Hello x"
        assert [events[0].kind, events[1].kind, events[-1].kind] == ["queued", "processing", "completed"]


async def _answers_slowly(request: GenerationRequest) -> AsyncIterator[str | Completion]:
    yield "Hello "
    await asyncio.sleep(0.02)
    yield request.prompt
    yield DONE


async def _refuses(_: GenerationRequest) -> AsyncIterator[str | Completion]:
    yield "Hello "
    raise ProviderError(JobError(type="InvalidRequest", message="refused"), Action.FAIL)


@pytest.mark.parametrize("stream", [answers, _answers_slowly, _refuses], ids=["at once", "with deltas", "failed"])
async def test_what_a_run_held_goes_with_its_end(store: JobStore, stream: Stream) -> None:
    """Prompt and text of an ended job do not wait in the worker's memory for the collector of cycles."""

    def attempts() -> set[int]:
        return {id(item) for item in gc.get_objects() if type(item) is Attempt}

    async def forgotten() -> bool:
        return attempts() <= before

    gc.collect()
    gc.disable()
    before = attempts()  # of tests that leave a stuck one behind
    try:
        async with running_worker(store.settings, {"p": Scripted(stream)}):
            (job_id,) = await submit(store)
            await ended(store, job_id)
            await until(forgotten)
    finally:
        gc.enable()


async def test_many_free_slots_are_filled_in_several_claims(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """No claim takes more jobs than can be begun in one iteration of the event loop; still all slots are filled."""
    limits = []
    claim = JobStore.claim

    async def noting(self: JobStore, consumer: str, limit: int, **more: Any) -> Claimed:
        limits.append(limit)
        return await claim(self, consumer, limit, **more)

    monkeypatch.setattr(JobStore, "claim", noting)
    await submit(store, 200)
    provider = Scripted(waits_for_ever)
    async with running_worker(store.settings, {"p": provider}, worker_concurrency=200):
        await provider.called(200)
    assert max(limits) == CLAIM_MOST


async def test_a_retryable_failure_is_tried_again_after_its_wait(store: JobStore) -> None:
    """The provider's retry-after is kept; the second attempt completes; the stream gives the reason."""

    async def fails_once(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        if request.attempt == 1:
            raise ProviderError(BUSY, Action.WAIT, retry_after_s=0.2)
        yield "done"
        yield DONE

    async with running_worker(store.settings, {"p": Scripted(fails_once)}):
        (job_id,) = await submit(store)
        snapshot = await ended(store, job_id)
    assert (snapshot.status, snapshot.attempt) == (JobStatus.COMPLETED, 2)
    events = (await store.events.read(job_id, None)).events
    retry = next(json.loads(event.data) for event in events if event.kind is EventKind.RETRYING)
    assert (retry["reason"], "nextAttemptAt" in retry) == ("rate_limited", True)


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (ProviderError(JobError(type="InvalidRequest", message="refused"), Action.FAIL), "InvalidRequest"),
        (ProviderError(BUSY, Action.RETRY, retry_after_s=0.0), "ProviderUnavailable"),
    ],
)
async def test_failures_end_the_job_with_their_error(store: JobStore, raised: ProviderError, error: str) -> None:
    """A permanent error at once, a retryable one after the last attempt."""

    async def fails(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield "some text"
        raise raised

    async with running_worker(store.settings, {"p": Scripted(fails)}):
        (job_id,) = await submit(store, max_attempts=2)
        snapshot = await ended(store, job_id)
    assert snapshot.outcome is not None
    assert snapshot.outcome.error is not None
    assert (snapshot.status, snapshot.outcome.error.type) == (JobStatus.FAILED, error)
    assert snapshot.attempt == (2 if raised.error.retryable else 1)


async def test_a_truncated_stream_is_a_failure(store: JobStore) -> None:
    """A stream that ends without a completion must not pass for a result."""

    async def stops(_: GenerationRequest) -> AsyncIterator[str | Completion]:
        yield "half a sen"

    async with running_worker(store.settings, {"p": Scripted(stops)}):
        (job_id,) = await submit(store, max_attempts=1)
        snapshot = await ended(store, job_id)
    assert snapshot.outcome is not None
    assert snapshot.outcome.error is not None
    assert snapshot.outcome.error.type == "StreamTruncated"


async def test_an_attempt_that_takes_too_long_is_cut(store: JobStore) -> None:
    """`timeoutSeconds` bounds the attempt; the job's deadline bounds it too and is final."""
    async with running_worker(store.settings, {"p": Scripted(waits_for_ever)}):
        (slow,) = await submit(store, max_attempts=1, timeout_seconds=0.2)
        (late,) = await submit(store, deadline_ms=300)
        errors = []
        for job_id in (slow, late):
            snapshot = await ended(store, job_id)
            assert snapshot.outcome is not None
            assert snapshot.outcome.error is not None
            errors.append(snapshot.outcome.error.type)
    assert errors == ["Timeout", "DeadlineExceeded"]


async def test_an_idle_worker_checks_no_attempts(store: JobStore) -> None:
    """The timer that checks all attempts stops with the last attempt and starts again with the next."""
    async with running_worker(store.settings, {"p": Scripted(waits_for_ever)}) as (worker, _):
        for _ in range(2):
            (job_id,) = await submit(store, max_attempts=1, timeout_seconds=0.2)
            assert (await ended(store, job_id)).status is JobStatus.FAILED

            async def rests() -> bool:
                return worker._pool._watchdog._timer is None

            await until(rests)


async def test_a_job_for_a_provider_that_this_worker_lacks_is_left_to_another_one(store: JobStore) -> None:
    """A worker of another release may have it; no other provider answers instead; it fails in the end,
    and has used up no attempt."""
    async with running_worker(store.settings, {"p": Scripted(answers)}):
        job = new_job(provider="nobody", model="nothing", route=("nobody:nothing",), max_attempts=1)
        await store.submit(job)
        snapshot = await ended(store, job.id)
    assert snapshot.outcome is not None
    assert snapshot.outcome.error is not None
    assert (snapshot.outcome.error.type, snapshot.attempt) == ("ProviderNotConfigured", 0)
