"""The table of docs/provider-failures.md holds for a real worker: the error of a job, and its used attempts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator

from services.worker.providers import Action, Completion, GenerationRequest, ProviderError
from services.worker.providers.failures.classification import classify
from shared.job import JobError, JobStatus, Usage
from shared.store.job_store import JobStore
from tests.support.failures_page import ATTEMPTS, SHAPES
from tests.support.store import new_job, submit
from tests.support.worker import DONE, Scripted, ended, running_worker


async def test_every_shape_of_failure_ends_as_documented(store: JobStore) -> None:
    """Each known failure, at every call, or once where the job only waits: status, error and attempts are the
    table's."""
    verdicts = [classify(failure) for _, failure in SHAPES]
    calls: Counter[int] = Counter()

    async def fail(request: GenerationRequest) -> AsyncIterator[str | Usage | Completion]:
        index = int(request.prompt)
        calls[index] += 1
        verdict = verdicts[index]
        if verdict.action is Action.WAIT and calls[index] > 1:
            yield "fine"
            yield DONE
            return
        # Without its retry-after: the length of a wait is tested elsewhere.
        raise ProviderError(
            verdict.error, verdict.action, retry_after_s=0.05 if verdict.action is Action.WAIT else None
        )

    # A gate for each: no shape may block that of another. An organisation for each: one may wait with few chains.
    jobs = [
        new_job(prompt=str(index), organization=f"o{index}", max_attempts=3, route=(f"vendor{index}:vendor{index}",))
        for index in range(len(SHAPES))
    ]
    for job in jobs:
        await store.submit(job)
    vendors = {f"vendor{index}": Scripted(fail, gated=True) for index in range(len(jobs))}
    async with running_worker(store.settings, vendors, worker_concurrency=len(jobs)):
        for index, job in enumerate(jobs):
            shape, verdict = SHAPES[index][0], verdicts[index]
            seen = await ended(store, job.id, 30)
            if verdict.action is Action.WAIT:
                assert (seen.status, seen.attempt, calls[index]) == (JobStatus.COMPLETED, 1, 2), shape
                continue
            assert seen.outcome is not None
            assert (seen.status, seen.outcome.error) == (JobStatus.FAILED, verdict.error), shape
            assert seen.attempt == calls[index] == ATTEMPTS[verdict.action], shape


async def test_jobs_with_one_retry_after_do_not_return_together(store: JobStore) -> None:
    """Forty calls fail at once with the same Retry-After: none returns before it, and they return over a while."""
    failed_at, back_at = dict[str, float](), dict[str, float]()
    busy = JobError(type="ProviderUnavailable", message="the provider is busy", retryable=True)

    async def fails_once(request: GenerationRequest) -> AsyncIterator[str | Usage | Completion]:
        if request.attempt == 1:
            failed_at[request.job_id] = time.monotonic()
            raise ProviderError(busy, Action.RETRY, retry_after_s=1.0)
        back_at[request.job_id] = time.monotonic()
        yield "fine"
        yield DONE

    ids = await submit(store, 40)
    async with running_worker(store.settings, {"p": Scripted(fails_once)}):
        for job_id in ids:
            assert (await ended(store, job_id, 30)).status is JobStatus.COMPLETED
    waited = sorted(back_at[job_id] - failed_at[job_id] for job_id in ids)
    assert waited[0] >= 0.99  # the clocks of two processes
    together = max(sum(first <= one < first + 0.1 for one in waited) for first in waited)
    assert together < 20, waited
