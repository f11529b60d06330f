"""Workers note failed calls and chains, beside the jobs, and nothing when there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.worker.execution import recent_calls
from services.worker.providers import Action, Completion, GenerationRequest, ProviderError
from shared.job import JobError, JobStatus
from shared.store.job_store import JobStore
from shared.store.recent_calls import GateError
from tests.support.checks import RawRedis
from tests.support.store import KEYS, submit
from tests.support.worker import Scripted, answers, ended, raises, running_worker, until

DOWN = JobError(type="ProviderUnavailable", message="the provider does not answer", retryable=True)
REFUSED = JobError(type="ContentFiltered", message="the provider refused")
GATES = ("a:a", "b:b")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes are sent at once."""
    monkeypatch.setattr(recent_calls, "GATHERED_S", 0.05)


@pytest.mark.usefixtures("hurried")
async def test_a_call_that_failed_is_noted_with_its_chain(store: JobStore) -> None:
    """Also when the next provider of the chain answers and the job completes, and when no other may answer."""
    providers = {"a": Scripted(raises(ProviderError(DOWN, Action.RETRY)), gated=True), "b": Scripted(answers)}
    (job_id,) = await submit(store, route=GATES)
    async with running_worker(store.settings, providers):
        assert (await ended(store, job_id)).status is JobStatus.COMPLETED

        async def noted() -> bool:
            return "a:a" in await store.recent_calls.read()

        await until(noted)
    found = await store.recent_calls.read()
    assert found["a:a"].errors == [GateError("ProviderUnavailable", 1, 1)]
    assert found["a:a"].chains == found["b:b"].chains == [GATES]
    assert found["b:b"].errors == []


async def test_what_is_gathered_is_sent_at_the_end(store: JobStore) -> None:
    """A worker that leaves keeps no notes back."""
    (job_id,) = await submit(store, max_attempts=1)
    async with running_worker(store.settings, {"p": Scripted(raises(ProviderError(REFUSED, Action.FAIL)))}):
        assert (await ended(store, job_id)).status is JobStatus.FAILED
        assert dict(await store.recent_calls.read()) == {}
    errors = [one for calls in (await store.recent_calls.read()).values() for one in calls.errors]
    assert errors == [GateError("ContentFiltered", 1, 1)]


@pytest.mark.usefixtures("hurried")
async def test_jobs_that_succeed_cost_nothing(store: JobStore) -> None:
    """Without a chain of their own nothing is sent; a chain is noted once, however many jobs bring it."""
    async with (
        RawRedis(store.settings.redis_url) as raw,
        running_worker(store.settings, {"a": Scripted(answers), "b": Scripted(answers)}),
    ):
        for job_id in await submit(store, 5):
            await ended(store, job_id)
        assert await raw("KEYS", KEYS.prefix("recent_calls") + "*") == []
        (first, *_) = await submit(store, 5, route=GATES)
        await ended(store, first)

        async def noted() -> bool:
            return (await store.recent_calls.read()).keys() == set(GATES)

        await until(noted)
        (key,) = await raw("KEYS", KEYS.prefix("recent_calls") + "*")
        await raw("DEL", key)
        for job_id in await submit(store, 5, route=GATES):
            await ended(store, job_id)
    async with RawRedis(store.settings.redis_url) as raw:
        assert await raw("KEYS", KEYS.prefix("recent_calls") + "*") == []


async def _never(_: GenerationRequest) -> AsyncIterator[str | Completion]:
    await asyncio.Event().wait()
    yield ""


async def test_a_call_that_took_too_long_is_one_that_failed(store: JobStore) -> None:
    """A cancelled one is not."""
    late, unwanted = await submit(store, timeout_seconds=0.3, max_attempts=1), await submit(store, max_attempts=1)
    provider = Scripted(_never)
    async with running_worker(store.settings, {"p": provider}):
        await provider.called(2)
        await store.cancel(unwanted[0])
        await ended(store, late[0])
        await ended(store, unwanted[0])
    errors = [one for calls in (await store.recent_calls.read()).values() for one in calls.errors]
    assert errors == [GateError("Timeout", 1, 1)]
