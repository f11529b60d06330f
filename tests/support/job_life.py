"""Leads one job through its life with the store's own calls, as a worker would, without a worker."""

from __future__ import annotations

from shared.job import Claim, JobError, JobSpec, JobStatus, Outcome, RetryReason
from shared.job_ids import new_job_id
from shared.store.job_store import JobStore
from shared.store.transitions import Finish, Requeue, Submit

WORKER = "worker-1"


class JobLife:
    """One job. `text` is that of its present lease; `events` the kinds a reader must have seen so far."""

    def __init__(self, store: JobStore, *, organization_id: str = "org-1") -> None:
        self._store = store
        self.organization_id = organization_id
        self.id = new_job_id()
        self.text = ""
        self.events: list[str] = []
        self._claim: Claim | None = None
        self._number = 1

    @property
    def claim(self) -> Claim:
        """The lease it runs under."""
        if self._claim is None:
            raise RuntimeError("the job does not run")
        return self._claim

    async def submit(self) -> JobLife:
        """Queue it."""
        spec = JobSpec(project_id="p", user_id="u", organization_id=self.organization_id, prompt="write")
        await self._store.submit(Submit(id=self.id, spec=spec))
        self.events.append("queued")
        return self

    async def start(self) -> JobLife:
        """Claim it; it must be the only one that waits."""
        claimed = await self._store.claim(WORKER, 1, poll=True, suspect=True)
        (self._claim,) = claimed.claims
        self._number, self.text = 1, ""
        self.events.append("processing")
        return self

    async def write(self, text: str) -> None:
        """Append one delta."""
        self._number += 1
        await self._store.append(self.claim, self._number, text)
        self.text += text
        self.events.append("delta")

    async def retry(self) -> None:
        """Hand it back; it can be started again at once."""
        error = JobError(type="ProviderError", message="busy", retryable=True)
        await self._store.requeue(Requeue(self.claim, RetryReason.ERROR, delay_ms=0, refund=False, error=error))
        self.events.append("retrying")

    async def complete(self, tail: str = "") -> None:
        """End it; `tail` is text that was not appended."""
        if tail:
            self.events.append("delta")
        outcome = Outcome(result=self.text + tail)
        await self._store.finish(
            Finish(self.claim, JobStatus.COMPLETED, outcome, number=self._number, offset=len(self.text), run_ms=5)
        )
        self.text += tail
        self.events.append("completed")
