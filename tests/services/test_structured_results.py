"""Jobs with a schema: the result fits it, or one repair is bought, or the job fails; nothing is lost or paid twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from services.worker.providers import Action, Completion, GenerationRequest, Item, ProviderError
from shared.errors import LeaseLost
from shared.events import EventKind
from shared.job import JobError, JobSnapshot, JobStatus, RetryReason, Usage
from shared.store.job_store import JobStore
from shared.store.results import WaitReason
from shared.store.transitions import Requeue
from tests.support.checks import RawRedis
from tests.support.store import claim, lose, settle, submit, usage_rows
from tests.support.worker import DONE, Scripted, Stream, ended, running_worker, until

SCHEMA = {"type": "object", "properties": {"headline": {"type": "string"}}, "required": ["headline"]}
GOOD = '{"headline": "Spring"}'
BAD = '{"title": "Spring"}'
PAID = Usage(input_tokens=1, output_tokens=1000)


def saying(*texts: str, finish: str = "stop") -> tuple[Stream, list[GenerationRequest]]:
    """A stream that says one text after the other, the last one again and again; and the requests that it got."""
    asked: list[GenerationRequest] = []

    async def says(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        asked.append(request)
        yield texts[min(len(asked), len(texts)) - 1]
        yield Completion(usage=Usage(input_tokens=1, output_tokens=2), finish_reason=finish)

    return says, asked


async def run(store: JobStore, stream: Stream, **more: Any) -> JobSnapshot:
    """A job with a schema, once it has ended."""
    async with running_worker(store.settings, {"p": Scripted(stream)}):
        (job_id,) = await submit(store, **{"response_schema": SCHEMA, **more})
        return await ended(store, job_id)


async def test_a_text_that_fits_is_the_result(store: JobStore) -> None:
    """One call, whose provider knows the schema."""
    stream, asked = saying(GOOD)
    job = await run(store, stream)
    assert job.outcome is not None
    assert (job.status, job.outcome.result, len(asked)) == (JobStatus.COMPLETED, GOOD, 1)
    assert (asked[0].response_schema, asked[0].mismatch) == (SCHEMA, "")


async def test_a_fence_is_taken_away_and_told(store: JobStore) -> None:
    """The result is JSON as it stands."""
    job = await run(store, saying(f"```json\n{GOOD}\n```")[0])
    assert job.outcome is not None
    assert (job.outcome.result, job.outcome.metadata) == (GOOD, {"unwrapped": True})


async def test_a_mismatch_is_repaired_once_and_both_calls_are_paid(store: JobStore) -> None:
    """Also when one attempt is all that the job may have; the provider gets the mismatch."""
    stream, asked = saying(BAD, GOOD)
    job = await run(store, stream, max_attempts=1)
    assert job.outcome is not None
    assert (job.status, job.attempt, job.outcome.result) == (JobStatus.COMPLETED, 1, GOOD)
    assert job.outcome.usage == Usage(input_tokens=2, output_tokens=4)
    assert job.outcome.cost_usd == pytest.approx(0.02)
    assert [request.mismatch for request in asked] == ["", "the text does not fit: see #/required"]
    (row,) = await usage_rows(store, "org", 0, 40_000)
    assert (row.jobs, row.cost_nano_usd) == (1, 20_000_000)


async def test_a_second_mismatch_fails_the_job(store: JobStore) -> None:
    """With attempts left: they would say the same. The failure is in our own words."""
    stream, asked = saying(BAD)
    job = await run(store, stream, max_attempts=5)
    assert job.outcome is not None
    assert job.outcome.error is not None
    assert (job.status, job.outcome.error.type, job.outcome.error.retryable) == (
        JobStatus.FAILED,
        "SchemaMismatch",
        False,
    )
    assert "#/required" in job.outcome.error.message
    assert (len(asked), job.outcome.result) == (2, None)
    assert job.outcome.usage == Usage(input_tokens=2, output_tokens=4)


async def test_a_text_that_was_cut_says_so(store: JobStore) -> None:
    """Its reader knows what to raise."""
    job = await run(store, saying('{"headline": "Spr', finish="length")[0])
    assert job.outcome is not None
    assert job.outcome.error is not None
    assert "limit of tokens" in job.outcome.error.message


async def test_readers_see_the_text_of_the_repair_alone(store: JobStore) -> None:
    """`retrying` says why, and `processing` begins the text again, as for every call that is repeated."""
    stream, _ = saying(BAD, GOOD)
    job = await run(store, stream)
    page = await store.events.read(job.id, None)
    kinds = [event.kind for event in page.events if event.kind is not EventKind.DELTA]
    assert kinds == ["queued", "processing", "retrying", "processing", "completed"]
    told = [json.loads(event.data) for event in page.events if event.kind == "retrying"]
    assert [data["reason"] for data in told] == [RetryReason.SCHEMA_MISMATCH]
    last = max(i for i, event in enumerate(page.events) if event.kind is EventKind.PROCESSING)
    shown = [json.loads(event.data)["text"] for event in page.events[last:] if event.kind is EventKind.DELTA]
    assert "".join(shown) == GOOD


async def test_a_failed_call_in_between_leaves_the_repair_the_only_one(store: JobStore) -> None:
    """The provider is down when the repair is asked for: that is retried, and a second mismatch still ends the job."""
    calls: list[str] = []

    async def stumbles(request: GenerationRequest) -> AsyncIterator[str | Completion]:
        calls.append(request.mismatch)
        if len(calls) == 2:
            raise ProviderError(JobError(type="Broken", message="", retryable=True), Action.RETRY, retry_after_s=0.0)
        yield BAD
        yield DONE

    job = await run(store, stumbles)
    assert job.outcome is not None
    assert job.outcome.error is not None
    assert (job.outcome.error.type, [bool(told) for told in calls]) == ("SchemaMismatch", [False, True, True])


async def test_a_worker_that_dies_before_the_repair_loses_nothing(store: JobStore) -> None:
    """The mismatch is in the record with its cost: the next worker repairs, and a repair that dies is no second one."""
    (job_id,) = await submit(store, response_schema=SCHEMA, max_attempts=1)
    (first,) = await claim(store)
    repair = Requeue(first, RetryReason.SCHEMA_MISMATCH, delay_ms=0, refund=True, mismatch="see #/required")
    assert await store.requeue(repair) is JobStatus.QUEUED
    assert await store.requeue(repair) is JobStatus.QUEUED  # its answer was lost

    (second,) = await claim(store, consumer="w2")
    assert (second.attempt, second.mismatch) == (1, "see #/required")
    with pytest.raises(LeaseLost):
        await store.requeue(Requeue(first, RetryReason.ERROR, delay_ms=0, refund=False))
    async with RawRedis(store.settings.redis_url) as raw:
        await lose(store, raw, second)

    stream, asked = saying(BAD)
    async with running_worker(store.settings, {"p": Scripted(stream)}):
        job = await ended(store, job_id)
    assert job.outcome is not None
    assert job.outcome.error is not None
    assert (len(asked), asked[0].mismatch, job.outcome.error.type) == (1, "see #/required", "SchemaMismatch")


async def test_a_repair_needs_room_in_the_budget(store: JobStore) -> None:
    """It reserves as every attempt does: the job waits until its organisation may spend that much again."""
    stream, asked = saying(BAD, GOOD)

    async def costs(request: GenerationRequest) -> AsyncIterator[Item]:
        async for item in stream(request):
            yield msgspec.structs.replace(item, usage=PAID) if isinstance(item, Completion) else item

    provider = Scripted(costs)
    provider.price = 100.0
    await settle(store, "org", day_nano_usd=150_000, month_nano_usd=150_000)
    async with running_worker(store.settings, {"p": provider}):
        (job_id,) = await submit(store, response_schema=SCHEMA, max_tokens=1000)

        async def held() -> bool:
            reason = await store.queries.waiting(job_id)
            return reason is not None and reason.reason is WaitReason.BUDGET

        await until(held)
        assert len(asked) == 1
        await settle(store, "org", day_nano_usd=350_000, month_nano_usd=350_000)
        job = await ended(store, job_id)
    assert job.outcome is not None
    assert job.outcome.result == GOOD
    assert job.outcome.cost_usd == pytest.approx(2 * 100_100 / 1e9)


async def test_a_cancel_between_text_and_repair_ends_the_job(store: JobStore) -> None:
    """Nothing more is bought."""
    stream, asked = saying(BAD)

    async def cancels(request: GenerationRequest) -> AsyncIterator[Item]:
        async for item in stream(request):
            if isinstance(item, Completion):
                await store.cancel(request.job_id)
            yield item

    job = await run(store, cancels)
    assert (job.status, len(asked)) == (JobStatus.CANCELLED, 1)


async def test_limits_of_a_platform_are_not_measured_on_json(store: JobStore) -> None:
    """Braces and names are no characters of a post."""
    job = await run(store, saying(GOOD)[0], parameters={"platform": "x"})
    assert job.outcome is not None
    assert job.outcome.metadata is None
