"""Obeys the messages for this worker: stops attempts whose jobs are to be cancelled, and drains."""

from __future__ import annotations

from services.worker.execution.attempt import StopReason
from services.worker.execution.pool import Pool
from services.worker.loops.registration import Registration
from shared.store.job_store import JobStore
from shared.store.workers import ORDERED


class CancelRequests:
    """Cancel loop of one worker. A request that it misses is repeated by the next renewal of the lease."""

    def __init__(self, store: JobStore, name: str, pool: Pool, registration: Registration) -> None:
        self._store = store
        self._name = name
        self._pool = pool
        self._registration = registration

    async def run(self) -> None:
        """Listen on the worker's control channel until cancelled."""
        async with self._store.control(self._name) as requests:
            async for job_id in requests:
                if job_id == ORDERED:
                    await self._registration.check()
                    continue
                self._pool.stop_job(job_id.decode(), StopReason.CANCELLED)
