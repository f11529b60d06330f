"""The deletion of one organisation under a worker's lease: passes two leases apart, two at least."""

from __future__ import annotations

import time
from typing import Final

import anyio
import msgspec

from shared.errors import LeaseLost
from shared.store.erasure import Receipt
from shared.store.job_store import JobStore
from shared.store.tasks import Task

REST: Final = 4.0
"""Times of its own work that it rests for, so that others are served."""


class ErasureRun:
    """The work on one task. A worker that takes it over begins the pass again, and goes on counting: what is gone stays
    gone. Its position is the receipt so far; of a lost worker's last piece it may know nothing."""

    def __init__(self, store: JobStore, task: Task, holder: str) -> None:
        self._store = store
        self._task = task
        self._holder = holder
        self._organization = task.plan.organization_id or ""
        counted = map(int, task.position.split()) if task.position else (0, 0, 0)
        self._erased = dict(zip(("jobs", "keys", "entries"), counted, strict=True))

    async def run(self) -> None:
        """Do all of it. LeaseLost: another worker has it."""
        await self._pass()
        # What a lease that was taken away still writes comes within its time. A job that cannot be deleted yet, such as
        # one of a newer release, is met again: until then the task is not done.
        await self._pause(2 * self._store.settings.lease_seconds)
        while await self._pass():
            await self._pause(2 * self._store.settings.lease_seconds)

        receipt = Receipt(**self._erased)
        secret = await self._store.maintenance.attribution_secret()
        await self._store.erasure.close(self._organization, receipt, secret)
        encoded = msgspec.json.encode(receipt)
        await self._store.tasks.advance(self._task.id, self._holder, self._position, ended=True, receipt=encoded)

    @property
    def _position(self) -> str:
        return " ".join(map(str, self._erased.values()))

    async def _pass(self) -> int:
        """Delete what is found; answers how many jobs are left."""
        erasure, left = self._store.erasure, 0
        async for jobs, names in erasure.pieces(self._organization):
            began = time.monotonic()
            erased = await erasure.erase_jobs(self._organization, jobs)
            self._erased["jobs"] += erased
            left += len(jobs) - erased
            self._erased["keys"] += await erasure.erase_keys(names)
            if jobs or names:
                await self._advance()
            await anyio.sleep(REST * (time.monotonic() - began))
        self._erased["entries"] += await erasure.erase_entries(self._organization)
        await self._advance()
        return left

    async def _pause(self, seconds: float) -> None:
        until, slice_s = time.monotonic() + seconds, self._store.settings.lease_seconds / 3
        while (left := until - time.monotonic()) > 0:
            await anyio.sleep(min(left, slice_s))
            await self._advance()

    async def _advance(self) -> None:
        if not await self._store.tasks.advance(self._task.id, self._holder, self._position):
            raise LeaseLost(self._task.id)
