"""Finds a job for a caller who may know of it."""

from __future__ import annotations

from services.gateway.http.responses import in_time
from shared.http.auth import Identity
from shared.http.urls import read_job_id
from shared.job import JobSnapshot
from shared.store.job_store import JobStore


class JobFinder:
    """Reads jobs; another organisation's job counts as not found."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def find(self, identity: Identity, job_id: str) -> JobSnapshot:
        """The job; JobNotFound also for a text that is no job id: such a text never becomes part of a key."""
        wanted = read_job_id(job_id)
        async with in_time():
            return await self._store.jobs_of(identity.organization_id).status(wanted)
