"""State changes of a job: each is one method here and one script in `lua/`.

Beside them are `queries`, which counts and lists, `maintenance`, which repairs, and the logs that readers follow,
`events` and `organization_events`. No other object holds a Redis client. Worker transitions are safe to repeat after
StoreUnavailable: a repeated change by the same lease returns normally, a change by another lease raises LeaseLost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import msgspec

from shared.errors import JobNotFound, LeaseLost, PressworkError, StoreUnavailable
from shared.job import Claim, JobSnapshot, JobStatus
from shared.settings import StoreSettings
from shared.store.api_keys import ApiKeys
from shared.store.append_only_file import AppendOnlyFile
from shared.store.audit_trail import Actor, AuditTrail, entry
from shared.store.backend import Connections, connections
from shared.store.connection import server_errors
from shared.store.connection.multiplexer import Observer
from shared.store.engine.calls import Reads, ScriptCalls
from shared.store.engine.items import AppendItem, CancelItem, DeleteItem, KnownItem, RenewItem, ReportItem
from shared.store.erasure import Erasure
from shared.store.gates import Gates
from shared.store.keys import Keys, encode_id
from shared.store.maintenance import Maintenance
from shared.store.organizations import Organizations
from shared.store.preflight.requirements import Role
from shared.store.pubsub.listeners import Messages
from shared.store.queries import Queries
from shared.store.reading import records
from shared.store.reading.ended_jobs import EndedJobs
from shared.store.reading.event_log import EventLog
from shared.store.reading.organization_events import OrganizationLog
from shared.store.refusal_trail import RefusalTrail
from shared.store.repeats import Repeats
from shared.store.results import CallReport, CancelReply, Claimed, Renewed, Rerouted, Submitted, WakeUp
from shared.store.routing import Routing
from shared.store.tasks import Tasks
from shared.store.tenant_jobs import TenantJobs
from shared.store.ticket_secrets import TicketSecrets
from shared.store.traced_submits import submit_traced
from shared.store.transitions import Finish, Requeue, Reroute, RetryOf, Submit, requeue_unreadable
from shared.store.workers import Workers
from shared.tracing.spans import Tracer

PING_FRESH_S: Final = 300.0


class JobStore:
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
        self.settings = settings
        self._tracer = tracer
        self.keys = keys
        self._connections = connections
        self.vetting, self.subscriber = connections.vetting, connections.subscriber
        self._calls = ScriptCalls(
            settings, self.keys, routing, observer, transport=connections.transport, fenced=connections.fenced,
            confirmed=None if connections.durable is None else connections.submits, on_refusal=connections.refused,
        )  # fmt: skip
        self._reads = Reads(connections.transport, observer, connections.refused)
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

    # ---- the gateway's side -------------------------------------------------------------------------------------

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
        return submit.read(server_errors.check_item(reply))

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
        told = b"" if actor is None else entry("job.cancelled", actor, jobId=job_id)
        (reply,) = await self._calls.run("cancel", [CancelItem(job_id, int(force), owner, told)])
        server_errors.check_item(reply)
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
        told = b"" if actor is None else entry("job.deleted", actor, jobId=job_id)
        (reply,) = await self._calls.run("delete", [DeleteItem(job_id, owner, told)])
        server_errors.check_item(reply)
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

    # ---- the worker's side --------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Number of connections and refused writes so far: unchanged means one unbroken view of the server."""
        return self._connections.socket.generation + self._calls.refused + self._reads.refused

    async def claim(
        self,
        consumer: str,
        limit: int,
        *,
        poll: bool,
        suspect: int,
        alone: bool = True,
        known: Sequence[str] | None = None,
    ) -> Claimed:
        """Take up to `limit` jobs. `poll`: also suspects, at most `suspect`; if that is not 0, a worker that holds no
        job (`alone`) may get an isolated one, and nothing beside it.

        `known` (tokens this worker holds) is given when the reply to an earlier claim was lost: its jobs are returned
        again.
        """
        reply = await self._calls.run(
            "claim", [KnownItem(token) for token in known or ()], consumer=consumer, limit=limit, poll=int(poll),
            suspects_max=int(suspect), alone=int(alone), lost=int(known is not None),
        )  # fmt: skip
        more, now_ms, rows = bool(reply[0]), self._calls.clock.note(reply[1]), reply[4:]
        next_ms = None if reply[2] < 0 else int(reply[2])
        claims, unreadable = records.parse_claims(rows, consumer, now_ms)
        if unreadable:
            await self._requeue_unreadable(consumer, unreadable)
        return Claimed(claims, more, now_ms, next_ms, frozenset(name.decode() for name in reply[3]))

    async def _requeue_unreadable(self, consumer: str, rows: Sequence[Sequence[Any]]) -> None:
        """Requeue jobs that this release cannot read: another one may. They fail when their attempts are used up."""
        back = [requeue_unreadable(consumer, row[0], row[1], self.settings.lease_ms) for row in rows]
        with contextlib.suppress(PressworkError):  # then they stay pending and are recovered
            await self._calls.run("requeue", back)

    async def renew(self, consumer: str, claims: Sequence[Claim]) -> Renewed:
        """Renew every lease given; none is ever taken back."""
        items = [RenewItem(claim.token, claim.job_id) for claim in claims]
        reply = await self._calls.run("renew", items, consumer=consumer)
        lost, cancelled = (frozenset(text.decode() for text in part) for part in reply[1:3])
        return Renewed(lost, cancelled, self._calls.clock.note(reply[0]), bool(reply[3]), bool(reply[4]))

    async def append(self, claim: Claim, number: int, text: str) -> int:
        """Log one delta. `number` counts from 2 within the lease, without gaps. Returns how many clients were
        notified."""
        encoded = text.encode("utf-8", "replace")
        item = AppendItem(claim.consumer, claim.job_id, claim.token, number, encoded)
        reply = server_errors.check_item(await self._calls.append(item, len(encoded)))
        if reply == b"LOST":
            raise LeaseLost(claim.job_id)
        return int(reply)

    async def finish(self, finish: Finish) -> None:
        """End the job. The record of a completed one keeps no prompt.

        LeaseLost when the lease is gone; after a forced cancel usage and cost are still kept.
        """
        reply = await self._calls.finish(*finish.item())
        finish.read(server_errors.check_item(reply))

    async def requeue(self, requeue: Requeue) -> JobStatus:
        """Requeue the job. Returns QUEUED, or the state in which it ended because its attempts or time were used up."""
        reply = await self._calls.requeue(requeue.item())
        return requeue.read(server_errors.check_item(reply))

    async def reroute(self, reroute: Reroute) -> Rerouted:
        """Report a call that failed before its first token to its gate, and ask the candidates in order for room.

        A job that only blocked gates of its `chain` can run is throttled: no attempt is used up, the lease is over.
        """
        reply = await self._calls.reroute(reroute.item())
        return reroute.read(server_errors.check_item(reply))

    async def report(
        self,
        gate: str,
        report: CallReport,
        *,
        retry_after_ms: int | None = None,
        tokens: int = 0,
        organization_id: str = "",
        token_limit: int = 0,
    ) -> None:
        """Report the result of a call to its gate. `tokens`: tokens used less tokens reserved, by `organization_id`,
        which may use `token_limit` of them a minute; 0: no limit."""
        retry_ms = -1 if retry_after_ms is None else retry_after_ms
        item = ReportItem(gate, report, retry_ms, tokens, encode_id(organization_id), token_limit)
        server_errors.check_item(await self._calls.report(item))

    async def wait_for_work(self, timeout_ms: int) -> WakeUp:
        """Wait until a wake-up marker comes, at most `timeout_ms`, on a connection of its own."""
        return await self._connections.blocking_pop.sleep(timeout_ms)

    @asynccontextmanager
    async def control(self, consumer: str) -> AsyncIterator[Messages]:
        """Yield ids of jobs whose cancel was requested, and `ORDERED`: `async for job_id in channel`."""
        async with self.subscriber.messages(self.keys.control(consumer)) as messages:
            yield messages


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
