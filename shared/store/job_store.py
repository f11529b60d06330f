"""State changes of a job: each is one method, here or in `worker_transitions.py`, and one script in `lua/`.

Beside them are `queries`, which counts and lists, `maintenance`, which repairs, and the logs that readers follow,
`events` and `organization_events`. No other object holds a Redis client.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import msgspec

from shared.errors import JobNotFound, StoreUnavailable
from shared.job import JobSnapshot, JobStatus
from shared.settings import StoreSettings
from shared.store.api_keys import ApiKeys
from shared.store.append_only_file import AppendOnlyFile
from shared.store.audit_trail import Actor, AuditTrail, entry
from shared.store.backend import Connections, connections
from shared.store.connection.multiplexer import Observer
from shared.store.engine.calls import Reads, ScriptCalls, check_item
from shared.store.engine.items import CancelItem, DeleteItem
from shared.store.erasure import Erasure
from shared.store.gates import Gates
from shared.store.keys import Keys, encode_id
from shared.store.maintenance import Maintenance
from shared.store.organizations import Organizations
from shared.store.preflight.requirements import Role
from shared.store.queries import Queries
from shared.store.reading import records
from shared.store.reading.ended_jobs import EndedJobs
from shared.store.reading.event_log import EventLog
from shared.store.reading.organization_events import OrganizationLog
from shared.store.recent_calls import RecentCalls
from shared.store.refusal_trail import RefusalTrail
from shared.store.repeats import Repeats
from shared.store.results import CancelReply, Submitted
from shared.store.routing import Routing
from shared.store.tasks import Tasks
from shared.store.tenant_jobs import TenantJobs
from shared.store.ticket_secrets import TicketSecrets
from shared.store.traced_submits import submit_traced
from shared.store.transitions import RetryOf, Submit
from shared.store.worker_transitions import WorkerTransitions
from shared.store.workers import Workers
from shared.tracing.spans import Tracer

PING_FRESH_S: Final = 300.0


class JobStore(WorkerTransitions):
    """Jobs in one shard of one Redis. Made by `open_store`; every method may raise StoreUnavailable."""

    def __init__(
        self,
        settings: StoreSettings,
        keys: Keys,
        connections: Connections,
        observer: Observer | None,
        routing: Routing | None,
        *,
        tracer: Tracer | None = None,
    ) -> None:
        calls = ScriptCalls(
            settings, keys, routing, observer, transport=connections.transport, fenced=connections.fenced,
            confirmed=None if connections.durable is None else connections.submits, on_refusal=connections.refused,
        )  # fmt: skip
        reads = Reads(connections.transport, observer, connections.refused)
        super().__init__(settings, keys, connections, calls, reads)
        self._tracer = tracer
        self.vetting = connections.vetting

        self.events = EventLog(self._reads, self.keys, deltas=settings.deltas)
        self.organization_events = OrganizationLog(self._reads, self.keys)
        self._pinged_at = -PING_FRESH_S
        self.audit_trail = AuditTrail(self._reads, self.keys)
        self.refusal_trail = RefusalTrail(self._calls)
        self.ticket_secrets = TicketSecrets(self._reads, self.keys)
        self.repeats = Repeats(self._reads, self.keys)
        self.api_keys = ApiKeys(self._calls, self._reads, self.keys)
        self.ended_jobs = EndedJobs(self._reads, self.keys, settings)
        self.tasks = Tasks(self._calls, self._reads, self.keys)
        self.organizations = Organizations(self._calls, self._reads, self.keys)
        self.gates = Gates(self._calls, self._reads, self.keys)
        self.recent_calls = RecentCalls(self._calls, self._reads, self.keys)
        self.workers = Workers(self._calls, self._reads, self.keys, settings)
        self.queries = Queries(self._calls, self._reads, self.keys)
        self.append_only_file = AppendOnlyFile(connections.transport)
        self.erasure = Erasure(self._calls, self._reads, self.keys)
        self.maintenance = Maintenance(self._calls, self._reads, self.keys, settings, routing or Routing())

    async def aclose(self) -> None:
        """Send the calls that are still awaited, then close every connection."""
        await self._calls.aclose()
        await self._connections.aclose()

    async def check(self) -> None:
        """Raise SettingsInvalid when this server can never keep the promises of the settings; not when it cannot be
        reached.

        Nor when the server or its user lacks something that can be mended: `Vetting` reports that meanwhile.
        """
        if self._connections.durable is not None:
            await self._connections.durable.check()

    async def submit(self, submit: Submit) -> Submitted:
        """Queue a job; the same id or the same idempotency key with the same body again makes no second one.

        IdempotencyConflict: the key came with another body. OrganizationLimited: its organisation may submit no more
        now; OrganizationPaused: nor until an operator lets it. StoreFull: no memory. Overloaded: too many callers wait.
        """
        if self._tracer is not None:
            return await submit_traced(self._tracer, submit, self._submit)
        return await self._submit(submit)

    async def _submit(self, submit: Submit) -> Submitted:
        reply = await self._calls.submit(*submit.item(round(self.settings.result_ttl_seconds * 1000)))
        return submit.read(check_item(reply))

    async def submit_retry_of(self, ended: JobSnapshot, submit: Submit, *, task: str = "") -> Submitted:
        """Queue a job as the one retry of a job that ended; asked again, it answers the same new job, also when that is
        gone. `task`: counts it as done. JobNotFound: the job that ended is gone. Errors as of `submit`."""
        # For releases that do not know `retried_as`. No client's key can begin like this: a header holds no NUL.
        key = f"\0retry {ended.id}"
        retry = RetryOf(ended, task)
        return await self.submit(msgspec.structs.replace(submit, idempotency_key=key, fingerprint="retry", retry=retry))

    async def status(self, job_id: str) -> JobSnapshot | None:
        """Read the job's present state; None when there is no record."""
        values = await self._reads.execute("HMGET", self.keys.job(job_id), *records.FIELDS)
        record = records.parse(job_id, values)
        return record.snapshot if record else None

    def jobs_of(self, organization_id: str | None) -> TenantJobs:
        """Jobs as this organisation may know them; None: an operator's view, of all."""
        return TenantJobs(organization_id, status=self.status, cancel=self.cancel, events=self.events)

    async def cancel(
        self, job_id: str, *, force: bool = False, organization_id: str | None = None, actor: Actor | None = None
    ) -> CancelReply:
        """End a waiting job, or ask the worker of a running one to; `force` ends it here and takes the lease away.

        `actor`: is named in the trail. JobNotFound also when the job is not of `organization_id` (None: of any).
        """
        owner = "" if organization_id is None else encode_id(organization_id)
        trail_entry = b"" if actor is None else entry("job.cancelled", actor, jobId=job_id)
        (reply,) = await self._calls.run("cancel", [CancelItem(job_id, int(force), owner, trail_entry)])
        check_item(reply)
        code, state = reply[0].decode(), reply[1].decode()
        if code == "MISSING":
            raise JobNotFound(job_id)
        if code == "FOREIGN":
            raise StoreUnavailable("the job's record is of a newer release: another gateway may end it")
        if code == "ENDED":
            return CancelReply("ended", JobStatus(state))
        return CancelReply("cancelled" if code == "CANCELLED" else "requested", JobStatus(state))

    async def delete(self, job_id: str, organization_id: str | None = None, *, actor: Actor | None = None) -> bool:
        """Delete a job that has ended, with all that is kept of it; False: it has not ended. `actor`: is named in the
        trail.

        JobNotFound: there is none, or it is not of that organisation (None: of any). A job that was deleted within
        RESULT_TTL_SECONDS is answered as when it was.
        """
        owner = "" if organization_id is None else encode_id(organization_id)
        trail_entry = b"" if actor is None else entry("job.deleted", actor, jobId=job_id)
        (reply,) = await self._calls.run("delete", [DeleteItem(job_id, owner, trail_entry)])
        check_item(reply)
        if reply == b"MISSING":
            raise JobNotFound(job_id)
        return bool(reply == b"DELETED")

    @property
    def quota_exceeded(self) -> bool:
        """Whether the host refuses commands because a quota is used up."""
        return self._connections.quota.refusals > 0

    async def ping(self) -> None:
        """Return when Redis answers; in the pay-per-command profile, when it did within 5 minutes."""
        if self.settings.frugal and time.monotonic() < self._pinged_at + PING_FRESH_S:
            return
        self._pinged_at = -PING_FRESH_S
        await self._reads.execute("PING")
        self._pinged_at = time.monotonic()


@asynccontextmanager
async def open_store(
    settings: StoreSettings,
    *,
    client_name: str,
    observer: Observer | None = None,
    routing: Routing | None = None,
    role: Role | None = None,
    tracer: Tracer | None = None,
) -> AsyncIterator[JobStore]:
    """Open a store for the length of the block; its connections open with the first command that needs them.

    `role`: the service whose needs are checked before anything else; None: no check. `routing`: the gates that jobs may
    pass; a worker's store must know them all, a gateway's its chain. `tracer`: begins a span for each submit.
    """
    keys, gates = Keys(prefix=settings.key_prefix), routing.chain if routing else ()
    opened = connections(settings, client_name, keys, observer, role, gates=gates)
    store = JobStore(settings, keys, opened, observer, routing, tracer=tracer)
    if store.vetting is not None:
        store.vetting.begin()
    async with aclosing(store.subscriber):
        try:
            yield store
        finally:
            await store.aclose()
