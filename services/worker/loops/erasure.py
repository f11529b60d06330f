"""The deletion of one organisation under a worker's lease: passes two leases apart, two at least."""

from __future__ import annotations

import time
from typing import Final

import anyio
import msgspec

from shared.errors import LeaseLost
from shared.store.append_only_file import FileState
from shared.store.erasure import StoredReceipt, entry_of, hash_of
from shared.store.job_store import JobStore
from shared.store.tasks import Task, TaskPlan

REST: Final = 4.0
"""Times of its own work that it rests for, so that others are served."""

REWRITE_S: Final = 600.0
"""Longest wait for the server to rewrite its append-only file, in s. A later end shows when the task is read."""

CHECK_S: Final = 1.0


class ErasureRun:
    """The work on one task. A worker that takes it over begins the pass again: what is gone stays gone, and was counted
    by the task."""

    def __init__(self, store: JobStore, task: Task, holder: str) -> None:
        self._store = store
        self._task = task
        self._holder = holder
        self._organization = task.plan.organization_id
        self._position = task.position

    async def run(self) -> None:
        """Do all of it. LeaseLost: another worker has it."""
        if self._organization is not None:
            await self._erase(self._organization)
        before, rewritten = await self._rewrite_file()
        counted = await self._store.tasks.read(self._task.id)
        receipt = StoredReceipt(
            jobs=counted.jobs, keys=counted.keys, entries=counted.entries, append_only_file_rewritten=rewritten,
            run_id=before.run_id if before else "", rewrites=before.rewrites if before else 0,
        )  # fmt: skip
        await self._store.tasks.advance(
            self._task.id, self._holder, "", ended=True, receipt=msgspec.json.encode(receipt),
            trail_entry=entry_of(self._position, receipt.shown(None)),
        )  # fmt: skip

    async def _erase(self, organization: str) -> None:
        """Delete all of it, then its name in the order."""
        await self._pass(organization)
        # What a lease that was taken away still writes comes within its time. A job that cannot be deleted yet, such as
        # one of a newer release, is met again: until then the task is not done.
        await self._pause(2 * self._store.settings.lease_seconds)
        while await self._pass(organization):
            await self._pause(2 * self._store.settings.lease_seconds)

        secret = await self._store.maintenance.attribution_secret()
        await self._store.erasure.close(organization, self._task.id)
        self._position = hash_of(organization, secret)
        await self._advance(TaskPlan(kind="erase"))

    async def _pass(self, organization: str) -> int:
        """Delete all that is found; answers how many jobs are left."""
        erasure, task, left = self._store.erasure, self._task.id, 0
        async for jobs, names in erasure.pieces(organization):
            began = time.monotonic()
            left += len(jobs) - await erasure.erase_jobs(organization, jobs, task)
            await erasure.erase_keys(names, task)
            if jobs or names:
                await self._advance()
            await anyio.sleep(REST * (time.monotonic() - began))
        await erasure.erase_entries(organization, task)
        await self._advance()
        return left

    async def _rewrite_file(self) -> tuple[FileState | None, bool]:
        """The state of the server's file when all was deleted, None: not known; and whether it was rewritten since:
        this has it rewritten where the server lets it."""
        file = self._store.append_only_file
        state = before = await file.state()
        until, asked = time.monotonic() + REWRITE_S, False

        while before is not None and before.enabled and state is not None and time.monotonic() < until:
            if state.shows_rewrite_since(before.run_id, before.rewrites):
                return before, True
            if not state.busy and (asked or not await file.rewrite()):
                break
            # One that was under way had begun before: another one follows.
            asked = asked or not state.busy
            await self._pause(CHECK_S)
            state = await file.state()
        return before, False

    async def _pause(self, seconds: float) -> None:
        until, slice_s = time.monotonic() + seconds, self._store.settings.lease_seconds / 3
        while (left := until - time.monotonic()) > 0:
            await anyio.sleep(min(left, slice_s))
            await self._advance()

    async def _advance(self, plan: TaskPlan | None = None) -> None:
        if not await self._store.tasks.advance(self._task.id, self._holder, self._position, plan=plan):
            raise LeaseLost(self._task.id)
