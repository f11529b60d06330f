"""One task under a worker's lease: job by job, at a rate that leaves room for new work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, TypeVar

import anyio

from shared.chain import permitted
from shared.errors import JobNotFound, JobUnreadable, LeaseLost, OrganizationLimited, OrganizationPaused, UserBlocked
from shared.job import JobSnapshot, JobStatus
from shared.store.job_store import JobStore
from shared.store.reading.ended_jobs import EndedAs, EndedJob
from shared.store.retries import retry_of
from shared.store.tasks import Task

PIECE: Final = 16
"""Jobs that are redriven at once, in one call of Redis."""

REDRIVES_PER_SECOND: Final = 100.0
DISCARDS_PER_SECOND: Final = 5000.0

LOOK_S: Final = 1.0
"""Seconds between two looks at how many jobs wait."""

T = TypeVar("T")


class TaskRun:
    """The work on one task. Errors of the store end it; the worker that takes the task then goes on from there."""

    def __init__(self, store: JobStore, task: Task, holder: str) -> None:
        self._store = store
        self._task = task
        self._plan = task.plan
        self._holder = holder
        self._position = task.position
        self._looked_at = -LOOK_S
        self._crowded = False
        self._prompts_gone = 0

    async def run(self) -> None:
        """Do all of it. LeaseLost: another worker has it."""
        while refused_s := await self._pass():
            await self._pause(refused_s)
        await self._store.tasks.advance(self._task.id, self._holder, self._position, ended=True)

    async def _pass(self) -> float:
        """Handle all that is left; answers as `_handle`. The position stays before the first job that was refused."""
        refused_s = 0.0
        async for after, jobs in self._pieces():
            began, self._prompts_gone = time.monotonic(), 0
            refused_s = max(refused_s, await self._handle(jobs))
            if not refused_s:
                self._position = after
            # Pieces after the position are handled again, and counted then.
            await self._advance(prompts_gone=0 if refused_s else self._prompts_gone)
            await anyio.sleep(max(0.0, len(jobs) / self._rate - (time.monotonic() - began)))
        return refused_s

    @property
    def _rate(self) -> float:
        return REDRIVES_PER_SECOND if self._plan.kind == "redrive" else DISCARDS_PER_SECOND

    async def _pieces(self) -> AsyncIterator[tuple[str, Sequence[EndedJob]]]:
        """Jobs after the position, each piece with the position after it."""
        plan, position = self._plan, self._position
        if plan.job_ids:
            done = int(position or 0)
            for ids in _batched(plan.job_ids[done:]):
                done += len(ids)
                yield str(done), await self._named(ids)
            return

        found = self._store.ended_jobs.oldest(
            EndedAs.FAILED, plan.organization_id, plan.wanted, after=position or None, until=plan.until
        )
        async for jobs in found:
            for piece in _batched(jobs):
                yield piece[-1].id, piece

    async def _named(self, ids: Sequence[str]) -> list[EndedJob]:
        """Jobs that were named one by one; those of other organisations are left out."""
        jobs = await asyncio.gather(*map(self._read, ids))
        return [
            EndedJob(id="", job_id=job.id, organization_id=job.organization_id)
            for job in jobs
            if job is not None and self._plan.organization_id in (None, job.organization_id)
        ]

    async def _handle(self, jobs: Sequence[EndedJob]) -> float:
        """Redrive or discard them; answers the time after which those that were refused may be tried again, in s, 0:
        none was."""
        if self._plan.kind == "discard":
            await self._store.tasks.discard(list(jobs), self._task.id)
            return 0.0
        while await self._too_many_wait():
            await self._pause(LOOK_S)
        return max(await asyncio.gather(*map(self._redrive, jobs)), default=0.0)

    async def _redrive(self, entry: EndedJob) -> float:
        plan, job = self._plan, await self._read(entry.job_id)
        if job is None or job.retried_as is not None:
            # Of no job that can be redriven: the record is gone, or another one redrove it.
            await self._store.tasks.discard([entry] if entry.id else [], "")
            return 0.0

        spec = permitted(job.spec, plan.chain, plan.models)
        if job.status is not JobStatus.FAILED or spec is None:
            return 0.0
        if not spec.prompt:
            self._prompts_gone += 1
            return 0.0

        retry = retry_of(job, spec, chain=plan.chain, deadline_ms=plan.deadline_ms)
        try:
            await self._store.submit_retry_of(job, retry, task=self._task.id)
        except OrganizationLimited as limited:
            return max(limited.retry_after_s, LOOK_S)
        except (JobNotFound, OrganizationPaused, UserBlocked):
            pass  # deleted meanwhile; or it stays among the failures
        return 0.0

    async def _read(self, job_id: str) -> JobSnapshot | None:
        try:
            return await self._store.status(job_id)
        except JobUnreadable:
            return None

    async def _too_many_wait(self) -> bool:
        """Whether half of all jobs that may wait do: the other half of the room is for new ones."""
        if time.monotonic() - self._looked_at >= LOOK_S:
            self._looked_at = time.monotonic()
            self._crowded = 2 * (await self._store.queries.stats()).queued >= self._plan.queued_max
        return self._crowded

    async def _pause(self, seconds: float) -> None:
        """Wait, and keep the lease."""
        until, slice_s = time.monotonic() + seconds, self._store.settings.lease_seconds / 3
        while (left := until - time.monotonic()) > 0:
            await anyio.sleep(min(left, slice_s))
            await self._advance()

    async def _advance(self, *, prompts_gone: int = 0) -> None:
        advance = self._store.tasks.advance
        if not await advance(self._task.id, self._holder, self._position, prompts_gone=prompts_gone):
            raise LeaseLost(self._task.id)


def _batched(given: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(given), PIECE):
        yield given[first : first + PIECE]
