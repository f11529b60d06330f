"""The engine's door: every state change of a job is one method here and one script in `lua/`.

Beside them stand `overview`, which counts and lists, `upkeep`, which repairs, and `events` and `organization_events`,
the logs that are followed.
Nobody else holds a Redis client. Worker transitions are safe to repeat after StoreUnavailable: what this lease did
before answers as done, what another lease did raises LeaseLost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import msgspec

from shared.errors import IdempotencyConflict, JobNotFound, LeaseLost, PressworkError, StoreUnavailable
from shared.job import Claim, JobSnapshot, JobStatus, NewJob
from shared.settings import StoreSettings
from shared.store import backend
from shared.store.connection import server_errors
from shared.store.connection.connector import RedisSettings
from shared.store.connection.multiplexer import Observer
from shared.store.engine import arguments
from shared.store.engine.script_calls import ScriptCalls
from shared.store.keys import Keys, encode_id
from shared.store.maintenance import Maintenance, ServerClock
from shared.store.preflight.requirements import Role
from shared.store.pubsub.listeners import Messages
from shared.store.queries import Queries
from shared.store.reading import records
from shared.store.reading.commands import Reads
from shared.store.reading.event_log import EventLog
from shared.store.reading.organization_events import OrganizationLog
from shared.store.results import CallReport, CancelReply, Claimed, Renewed, Rerouted, Submitted, WakeUp
from shared.store.routing import Routing
from shared.store.transitions import Finish, Requeue, Reroute

PING_FRESH_S: Final = 300.0

_STATES: Final[dict[str, JobStatus]] = {status.value: status for status in JobStatus}
"""Of a job that was there before; a state that has no name here is as good as waiting."""


class JobStore:
    """Jobs in one shard of one Redis. Made by `open_store`; every method may raise StoreUnavailable."""

    def __init__(
        self,
        settings: StoreSettings,
        redis: RedisSettings,
        observer: Observer | None = None,
        routing: Routing | None = None,
        role: Role | None = None,
    ) -> None:
        self.settings = settings
        self.keys = Keys(prefix=settings.key_prefix)
        self._gates = routing.chain if routing else ()
        connections = backend.connections(settings, redis, self.keys, observer, role, gates=self._gates)
        self.vetting = connections.vetting
        self._socket, self._blocking_pop, self.subscriber = (
            connections.socket,
            connections.blocking_pop,
            connections.subscriber,
        )
        self._quota = connections.quota
        self._durable = connections.durable
        self._calls = ScriptCalls(settings, self.keys, connections, observer, routing)
        self._reads = Reads(connections.transport, observer, connections.refused)
        self.events = EventLog(self._reads, self.keys, deltas=settings.deltas)
        self.organization_events = OrganizationLog(self._reads, self.keys)
        self._pinged_at = -PING_FRESH_S
        self._clock = ServerClock()
        self.queries = Queries(self._calls, self._reads, self.keys)
        self.maintenance = Maintenance(self._calls, self._reads, self.keys, settings, self._clock)

    async def aclose(self) -> None:
        """Send what callers still wait for, then close every connection."""
        await self._calls.aclose()
        if self.vetting is not None:
            await self.vetting.aclose()
        await self._blocking_pop.aclose()
        await self._socket.aclose()
        if self._durable is not None:
            await self._durable.aclose()

    async def check(self) -> None:
        """SettingsInvalid when this server can never keep what the settings promise; one that is away is no reason.

        A server or a user that lacks something which can be mended is none either: `Vetting` tells of it meanwhile.
        """
        if self._durable is not None:
            await self._durable.check()

    # ---- the gateway's side -------------------------------------------------------------------------------------

    async def submit(self, job: NewJob) -> Submitted:
        """Queue a job; the same id or the same idempotency key with the same body again makes no second one.

        IdempotencyConflict: the key came with another body. OrganizationLimited: its organisation may submit no more
        now. StoreFull: no memory. Overloaded: too many callers wait.
        """
        key, key_ttl = "", 0
        if job.idempotency_key is not None:
            key = self.keys.idempotency(job.spec.organization_id, job.idempotency_key)
            key_ttl = job.delay_ms + job.deadline_ms + round((self.settings.result_ttl_seconds + 7200) * 1000)
        reply = await self._calls.submit(*arguments.submit(job, key, key_ttl))
        server_errors.check_item(reply)
        code, job_id, state = (part.decode() for part in reply)
        if code == "CONFLICT":
            raise IdempotencyConflict("this idempotency key came with another body before")
        if code == "LIMIT":
            raise server_errors.of_limit(state)
        return Submitted(job_id, code == "NEW", _STATES.get(state, JobStatus.QUEUED))

    async def submit_retry_of(self, job_id: str, job: NewJob) -> Submitted:
        """Queue `job` as the one retry of `job_id`; asked again, it answers the same new job."""
        # No client's key can begin like this: a header holds no NUL.
        return await self.submit(msgspec.structs.replace(job, idempotency_key=f"\0retry {job_id}", fingerprint="retry"))

    async def status(self, job_id: str) -> JobSnapshot | None:
        """The job as it stands; None when there is no record."""
        values = await self._reads.execute("HMGET", self.keys.job(job_id), *records.FIELDS)
        record = records.parse(job_id, values)
        return record.snapshot if record else None

    async def cancel(self, job_id: str, *, force: bool = False) -> CancelReply:
        """End a waiting job, or ask the worker of a running one to; `force` ends it here and takes the lease away."""
        reply = (await self._calls.run("cancel", [(job_id, int(force))]))[0]
        server_errors.check_item(reply)
        code, state = reply[0].decode(), reply[1].decode()
        if code == "MISSING":
            raise JobNotFound(job_id)
        if code == "FOREIGN":
            raise StoreUnavailable("the job's record is of a newer release: another gateway may end it")
        if code == "ENDED":
            return CancelReply("ended", JobStatus(state))
        return CancelReply("cancelled" if code == "CANCELLED" else "requested", JobStatus(state))

    async def delete(self, job_id: str, organization_id: str | None = None) -> bool:
        """Delete a job that has ended, with all that is kept of it; False: it has not ended.

        JobNotFound: there is none, or it is not of that organisation (None: of any). A job that was deleted within
        RESULT_TTL_SECONDS is answered as when it was.
        """
        owner = "" if organization_id is None else encode_id(organization_id)
        reply = (await self._calls.run("delete", [(job_id, owner)]))[0]
        server_errors.check_item(reply)
        if reply == b"MISSING":
            raise JobNotFound(job_id)
        return bool(reply == b"DELETED")

    @property
    def quota_exceeded(self) -> bool:
        """Whether the host refuses commands because a quota is used up."""
        return self._quota.refusals > 0

    async def ping(self) -> None:
        """Return when Redis answers; in the frugal profile, when it did within 5 minutes."""
        if self.settings.frugal and time.monotonic() < self._pinged_at + PING_FRESH_S:
            return
        self._pinged_at = -PING_FRESH_S
        await self._reads.execute("PING")
        self._pinged_at = time.monotonic()

    # ---- the worker's side --------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Counts connections and refused writes: unchanged means one unbroken view of the server."""
        return self._socket.generation + self._calls.refused + self._reads.refused

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
        """Take up to `limit` jobs. `look`: also suspects, `suspect` at most; if that is not 0, a worker that holds
        nothing (`alone`) may get one that must run alone, and nothing beside it.

        `known` (tokens this worker holds) is given when the answer of an earlier claim was lost: those jobs come again.
        """
        reply = await self._calls.run(
            "claim", [(token,) for token in known or ()], consumer=consumer, limit=limit, poll=int(poll),
            suspects_max=int(suspect), alone=int(alone), lost=int(known is not None),
        )  # fmt: skip
        more, now_ms, rows = bool(reply[0]), self._clock.note(reply[1]), reply[4:]
        next_ms = None if reply[2] < 0 else int(reply[2])
        claims, unreadable = records.parse_claims(rows, consumer, now_ms)
        if unreadable:
            await self._give_back(consumer, unreadable)
        return Claimed(claims, more, now_ms, next_ms, frozenset(name.decode() for name in reply[3]))

    async def _give_back(self, consumer: str, rows: Sequence[Sequence[Any]]) -> None:
        """Jobs this release cannot read: another one may. They fail when their attempts are used up."""
        back = [arguments.unreadable(consumer, row[0], row[1], self.settings.lease_ms) for row in rows]
        with contextlib.suppress(PressworkError):  # then they stay pending and are recovered
            await self._calls.run("requeue", back)

    async def renew(self, consumer: str, claims: Sequence[Claim]) -> Renewed:
        """Renew every lease given; none is ever taken back."""
        reply = await self._calls.run("renew", [(claim.token, claim.job_id) for claim in claims], consumer=consumer)
        lost, cancelled = (frozenset(text.decode() for text in part) for part in reply[1:])
        return Renewed(lost, cancelled, self._clock.note(reply[0]))

    async def append(self, claim: Claim, number: int, text: str) -> int:
        """Log one delta. `number` counts from 2 within the lease without holes. Answers how many readers heard."""
        encoded = text.encode("utf-8", "replace")
        reply = await self._calls.append((claim.consumer, claim.job_id, claim.token, number, encoded), len(encoded))
        server_errors.check_item(reply)
        if reply == b"LOST":
            raise LeaseLost(claim.job_id)
        return int(reply)

    async def finish(self, finish: Finish) -> None:
        """End the job. Unless it failed the prompt is forgotten.

        LeaseLost when the lease is gone; after a forced cancel usage and cost are kept nevertheless.
        """
        item, size = arguments.finish(finish)
        reply = await self._calls.finish(item, size)
        server_errors.check_item(reply)
        if reply not in (b"OK", b"ALREADY"):
            raise LeaseLost(finish.claim.job_id)

    async def requeue(self, requeue: Requeue) -> JobStatus:
        """Give the job back; answers QUEUED, or the state it ended in because its attempts or time were used up."""
        reply = await self._calls.requeue(arguments.requeue(requeue))
        server_errors.check_item(reply)
        if reply[0] == b"LOST":
            raise LeaseLost(requeue.claim.job_id)
        return JobStatus(reply[1].decode())

    async def reroute(self, reroute: Reroute) -> Rerouted:
        """Report a call that failed before its first token to its gate, and ask the candidates in order for room.

        A job that only blocked gates of its `chain` can run is throttled: no attempt is used up, the lease is over.
        """
        reply = await self._calls.reroute(arguments.reroute(reroute))
        server_errors.check_item(reply)
        code, name, number = reply[0].decode(), reply[1].decode(), int(reply[2])
        if code == "LOST":
            raise LeaseLost(reroute.claim.job_id)
        if code == "GO":
            return Rerouted("go", name, reserved=number)
        if code == "THROTTLED":
            return Rerouted("throttled", name, wait_ms=number)
        return Rerouted("stay", reroute.gate)

    async def report(
        self, gate: str, report: CallReport, *, retry_after_ms: int | None = None, tokens: int = 0
    ) -> None:
        """Tell a gate what became of a call. `tokens`: how many more were used than reserved, below 0: fewer."""
        server_errors.check_item(await self._calls.report(arguments.report(gate, report, retry_after_ms, tokens)))

    async def wait_for_work(self, timeout_ms: int) -> WakeUp:
        """Sleep until somebody rings, at most `timeout_ms`, on a connection of its own."""
        return await self._blocking_pop.sleep(timeout_ms)

    async def wake_to_poll(self) -> None:
        """Wake a sleeper for recovered work: a worker that is done with its suspect may take the next one."""
        await self._reads.execute("ZADD", self.keys.fixed("wake"), -1, WakeUp.POLL.value)

    async def pass_on(self) -> None:
        """Wake another sleeper: this one was woken and may take nothing."""
        for key in self.keys.wake(self._gates):
            await self._reads.execute("ZADD", key, -1, WakeUp.POLL.value, 0, WakeUp.JOB.value)
            if key != self.keys.fixed("wake"):
                await self._reads.execute("PEXPIRE", key, 3_600_000)

    @asynccontextmanager
    async def control(self, consumer: str) -> AsyncIterator[Messages]:
        """Job ids whose cancel was requested, as they come: `async for job_id in channel`."""
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
) -> AsyncIterator[JobStore]:
    """A store for the length of the block; its connections open with the first command that needs them.

    `role`: the service, whose needs Redis is looked at for before anything else; None: nothing is looked at.
    `routing`: which gates jobs may pass; a worker's store must know it, a gateway's its chain.
    """
    redis = RedisSettings(
        url=settings.redis_url, client_name=client_name,
        sentinel_username=settings.sentinel_username, sentinel_password=settings.sentinel_password,
    )  # fmt: skip
    store = JobStore(settings, redis, observer, routing, role)
    if store.vetting is not None:
        store.vetting.begin()
    async with aclosing(store.subscriber):
        try:
            yield store
        finally:
            await store.aclose()
