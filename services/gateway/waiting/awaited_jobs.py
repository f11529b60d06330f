"""Jobs this gateway took in and got no notification of since: they have not ended, and waiting for one needs no read.

Only where one subscription covers all jobs (the pay-per-command profile): there a listener on a job's channel costs no
command.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final, NamedTuple

from services.gateway.waiting.long_poll import Read, until_ended, until_ended_at
from shared.http.auth import Identity
from shared.job import JobSnapshot
from shared.store.job_store import JobStore
from shared.store.pubsub.listeners import Listener
from shared.store.results import Submitted
from shared.store.transitions import Submit

LIMIT: Final = 1000
"""Jobs remembered, at about half a KiB each; of older ones the record is read."""

KEPT_S: Final = 300.0
"""Time for which a job is remembered, in s: listeners keep the subscription open, which an idle gateway should not pay
for."""


class _Job(NamedTuple):
    organization_id: str
    listener: Listener
    timer: asyncio.TimerHandle


class AwaitedJobs:
    """Keeps a listener for each job from before its submit until it is waited for. On a connection that broke unnoticed
    a wait takes its full time, and reads then."""

    def __init__(self, store: JobStore, kept_s: float = KEPT_S) -> None:
        self._store = store
        self._kept_s = kept_s
        self._jobs: OrderedDict[str, _Job] = OrderedDict()

    async def submit(self, job: Submit) -> Submitted:
        """`JobStore.submit`, with a listener from before."""
        listener = self._listen(job.id)
        if listener is None:
            return await self._store.submit(job)

        kept = False
        try:
            submitted = await self._store.submit(job)
            if kept := submitted.created:
                self._keep(job.id, job.spec.organization_id, listener)
            return submitted
        finally:
            if not kept:
                listener.leave()

    def _listen(self, job_id: str) -> Listener | None:
        channel = self._store.keys.job_channel(job_id)
        if not self._store.subscriber.receives_now(channel):
            return None
        listener = self._store.subscriber.listen(channel, patient=True)
        listener.take()
        listener.forget()  # it was notified of being subscribed; there is nothing to be read yet
        return listener

    def _keep(self, job_id: str, organization_id: str, listener: Listener) -> None:
        timer = asyncio.get_running_loop().call_later(self._kept_s, self._drop, job_id)
        self._jobs[job_id] = _Job(organization_id, listener, timer)
        if len(self._jobs) > LIMIT:
            self._drop(next(iter(self._jobs)))

    def _drop(self, job_id: str) -> None:
        self._take(job_id).leave()

    def _take(self, job_id: str) -> Listener:
        job = self._jobs.pop(job_id)
        job.timer.cancel()
        return job.listener

    async def until_ended(
        self, job_id: str, identity: Identity, seconds: float, stop: asyncio.Event, read: Read
    ) -> JobSnapshot | None:
        """`long_poll.until_ended`, without its first read for a job of these."""
        awaited, job = self._jobs.get(job_id), None
        if awaited is None or not identity.may_see(awaited.organization_id):
            return await until_ended(self._store, job_id, seconds, stop, read)

        listener = self._take(job_id)  # one caller waits here; a second one reads first
        try:
            job = await until_ended_at(listener, seconds, stop, read)
            return job
        finally:
            if job is None or job.status.terminal:
                listener.leave()
            else:
                self._keep(job_id, awaited.organization_id, listener)
