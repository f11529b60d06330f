"""The engine's door: every state change of a job is one method here and one script in `lua/`.

Nobody else holds a Redis client. Worker transitions are safe to repeat after StoreUnavailable: what this lease did
before answers as done, what another lease did raises LeaseLost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from redis.exceptions import ResponseError

from shared.chain import split
from shared.errors import IdempotencyConflict, JobNotFound, LeaseLost, PressworkError
from shared.job import Claim, JobError, JobSnapshot, JobSpec, JobStatus, NewJob, Outcome, RetryReason, Spent
from shared.settings import MAX_DEADLINE_SECONDS, StoreSettings
from shared.store import listing, records, refusals, stats, usage, wiring
from shared.store.coalesce import Coalescer
from shared.store.connection import RedisSettings
from shared.store.durable import BATCHES
from shared.store.event_log import EventLog
from shared.store.keys import Keys
from shared.store.listeners import Messages
from shared.store.reads import Reads
from shared.store.replies import (
    Audited,
    CallReport,
    CancelReply,
    Claimed,
    GateState,
    JobPage,
    MemoryUse,
    Promoted,
    QueueStats,
    Recovered,
    Renewed,
    Rerouted,
    Ring,
    Submitted,
)
from shared.store.routing import Routing
from shared.store.scripts import Scripts
from shared.store.shared_socket import Observer
from shared.store.usage import UsageRow

LOSSES_MAX: Final = 3
HANDBACKS_MAX: Final = 20
"""How often a job may lose its worker or be handed back before it fails (I7)."""

INDEX_LENGTH: Final = 20_000
"""Newest jobs of one organisation and day that the listing remembers."""

CONSUMER_IDLE_MS: Final = 3_600_000
AUDIT_SLACK_S: Final = 100.0
PING_FRESH_S: Final = 300.0

Item = tuple[bytes | str | int | float, ...]
_encode: Final = msgspec.json.Encoder().encode


def _kept(spec: JobSpec, status: JobStatus) -> JobSpec:
    """What an ended job's record keeps of its spec: only a failed one can be retried, nobody else needs the prompt."""
    if status is JobStatus.FAILED:
        return spec
    return msgspec.structs.replace(spec, prompt="", parameters={})


def _ended_after(failure: JobError, claim: Claim, spent: Spent | None) -> Outcome:
    """How a job ends whose tries are used up: what they cost was spent all the same."""
    if spent is None:
        return Outcome(error=failure)
    provider, model = split(claim.gate)
    cost = None if spent.cost is None else spent.cost / 1e9
    return Outcome(error=failure, provider=provider, model=model, usage=spent.usage, cost_usd=cost)


class JobStore:
    """Jobs in one shard of one Redis. Made by `open_store`; every method may raise StoreUnavailable."""

    def __init__(
        self,
        settings: StoreSettings,
        redis: RedisSettings,
        observer: Observer | None = None,
        routing: Routing | None = None,
    ) -> None:
        self.settings = settings
        self.keys = Keys()
        wires = wiring.wires(settings, redis, self.keys, observer)
        self._socket, self._sleeper, self.bell = wires.socket, wires.sleeper, wires.bell
        self._quota = wires.quota
        self._durable = wires.durable
        constants = {
            "lease_ms": settings.lease_ms,
            "result_ttl": round(settings.result_ttl_seconds * 1000),
            "log_ttl": round(settings.log_ttl_seconds * 1000),
            "organization_events": int(settings.organization_events),
            "quiet": int(settings.quiet),
            "usage_ttl": round(settings.usage_ttl_days * 86_400_000),
            "index_ttl": round((86_400 + MAX_DEADLINE_SECONDS + settings.result_ttl_seconds) * 1000),
            "index_length": INDEX_LENGTH,
            "losses_max": LOSSES_MAX,
            "handbacks_max": HANDBACKS_MAX,
            "consumer_idle_ms": CONSUMER_IDLE_MS,
            "moves": int(wires.moves),
            **(routing or Routing()).constants,
        }
        self._scripts = Scripts(wires.transport, self.keys, constants, observer)
        self._submit_scripts = self._scripts
        if wires.durable is not None:
            self._submit_scripts = Scripts(wires.submits, self.keys, constants, observer)
        self._reads = Reads(wires.transport, observer)
        self.events = EventLog(self._reads, self.keys, deltas=settings.deltas)
        # Two at a time: the server serves one batch while this process makes the next. What waits for a submit is
        # shared out among both; the ends of jobs do better in full batches (measured with 50 callers each).
        # Who sleeps for minutes is rung for every due time, not only for those within a lease.
        ring_within = MAX_DEADLINE_SECONDS * 1000 if settings.frugal else settings.lease_ms
        waits = wires.durable is not None
        self._submit = self._coalesce(
            "submit", in_flight=BATCHES if waits else 2, shares=not waits, patience_s=settings.timeout_seconds,
            lease_ms=ring_within,
        )  # fmt: skip
        # A thousand streams append 2,000 times a second and more: one batch at a time would need every answer within
        # 32 ms, and a busy event loop needs several of its turns to see one.
        self._append = self._coalesce("append", in_flight=16, full_only=True)
        self._finish = self._coalesce("finish", in_flight=2)
        self._requeue = self._coalesce("requeue", lease_ms=ring_within)
        self._reroute = self._coalesce("reroute")
        self._report = self._coalesce("report")
        self._looks = 0
        self._pinged_at = -PING_FRESH_S
        self._server_clock = (0, 0.0)

    def _coalesce(
        self,
        script: str,
        *,
        in_flight: int = 1,
        shares: bool = False,
        full_only: bool = False,
        patience_s: float | None = None,
        **argv: int,
    ) -> Coalescer[Item, Any]:
        async def flush(items: list[Item]) -> list[Any]:
            replies: list[Any] = await self._call(script, items, **argv)
            return replies

        return Coalescer(flush, patience_s=patience_s, in_flight=in_flight, shares=shares, full_only=full_only)

    async def _call(self, script: str, items: Sequence[Item] = (), **argv: bytes | str | int | float) -> Any:
        scripts = self._submit_scripts if script == "submit" else self._scripts
        try:
            return await scripts.call(script, items, **argv)
        except ResponseError as error:
            raise refusals.of_call(error) from None

    async def aclose(self) -> None:
        """Send what callers still wait for, then close every connection."""
        for coalescer in (self._submit, self._append, self._finish, self._requeue, self._reroute, self._report):
            await coalescer.aclose()
        await self._sleeper.aclose()
        await self._socket.aclose()
        if self._durable is not None:
            await self._durable.aclose()

    async def check(self) -> None:
        """SettingsInvalid when this server can never keep what the settings promise; one that is away is no reason."""
        if self._durable is not None:
            await self._durable.check()

    # ---- the gateway's side -------------------------------------------------------------------------------------

    async def submit(self, job: NewJob) -> Submitted:
        """Queue a job; the same id or the same idempotency key with the same body again makes no second one.

        IdempotencyConflict: the key came with another body. StoreFull: no memory. Overloaded: too many callers wait.
        """
        spec, body = job.spec, _encode(job.spec)
        key, key_ttl = "", 0
        if job.idempotency_key is not None:
            key = self.keys.idempotency(spec.organization_id, job.idempotency_key)
            key_ttl = job.delay_ms + job.deadline_ms + round((self.settings.result_ttl_seconds + 7200) * 1000)
        item = (
            job.id, spec.organization_id, body, spec.priority[0], job.delay_ms, job.deadline_ms, spec.max_attempts,
            " ".join(job.route), spec.max_tokens or "", key, job.fingerprint, key_ttl,
        )  # fmt: skip
        reply = await self._submit(item, len(body))
        refusals.check_item(reply)
        code, job_id, state = (part.decode() for part in reply)
        if code == "CONFLICT":
            raise IdempotencyConflict("this idempotency key came with another body before")
        return Submitted(job_id, code == "NEW", JobStatus(state))

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
        reply = (await self._call("cancel", [(job_id, int(force))]))[0]
        refusals.check_item(reply)
        code, state = reply[0].decode(), reply[1].decode()
        if code == "MISSING":
            raise JobNotFound(job_id)
        if code == "ENDED":
            return CancelReply("ended", JobStatus(state))
        return CancelReply("cancelled" if code == "CANCELLED" else "requested", JobStatus(state))

    async def jobs(
        self, organization_id: str, *, status: JobStatus | None = None, cursor: str | None = None, limit: int = 50
    ) -> JobPage:
        """An organisation's jobs, newest first. ValueError for a cursor that this method did not make."""
        return await listing.page(self._reads, self.keys, organization_id, status=status, cursor=cursor, limit=limit)

    async def usage(self, organization_id: str, first_day: int, last_day: int) -> list[UsageRow]:
        """What an organisation's jobs used that ended from `first_day` to `last_day` (days since the epoch, Redis's
        clock): one row per day, project and model, in this order. StoreRejected: a day of it is damaged."""
        return await usage.read(self._call, organization_id, first_day, last_day)

    async def stats(self) -> QueueStats:
        """Exact counts of all states at one moment (I3)."""
        return stats.parse(await self._call("stats"))

    async def gates(self) -> list[GateState]:
        """The gates of all providers that jobs asked for."""
        flat, clock = await asyncio.gather(
            self._reads.execute("HGETALL", self.keys.fixed("gates")), self._reads.execute("TIME")
        )
        return stats.parse_gates(flat, int(clock[0]) * 1000 + int(clock[1]) // 1000)

    async def oldest_waiting_ms(self) -> int:
        """Age of the oldest job that could be claimed, in ms; 0 when none waits."""
        return int(await self._call("oldest"))

    async def usage_of_memory(self) -> MemoryUse:
        """What the server says of its memory."""
        return stats.parse_memory(await self._reads.execute("INFO", "memory"))

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
        """Counts connections: unchanged means one unbroken view of the server."""
        return self._socket.generation

    async def claim(
        self, consumer: str, limit: int, *, look: bool, suspect: bool, known: Sequence[str] | None = None
    ) -> Claimed:
        """Take up to `limit` jobs. `look`: also from the recovered lane, one and only if `suspect` allows it.

        `known` (tokens this worker holds) is given when the answer of an earlier claim was lost: those jobs come again.
        """
        reply = await self._call(
            "claim", [(token,) for token in known or ()], consumer=consumer, limit=limit, look=int(look),
            suspect_allowed=int(suspect), lost=int(known is not None),
        )  # fmt: skip
        more, now_ms, rows = bool(reply[0]), self._note_time(reply[1]), reply[4:]
        next_ms = None if reply[2] < 0 else int(reply[2])
        claims, unreadable = records.parse_claims(rows, consumer, now_ms)
        if unreadable:
            await self._give_back(consumer, unreadable)
        return Claimed(claims, more, now_ms, next_ms, frozenset(name.decode() for name in reply[3]))

    async def _give_back(self, consumer: str, rows: Sequence[Sequence[Any]]) -> None:
        """Jobs this release cannot read: another one may. They fail when their attempts are used up."""
        end = _encode(Outcome(error=JobError(type="Unreadable", message="no worker could read the job")))
        how = ("n", RetryReason.ERROR, self.settings.lease_ms, 0, end, "", "")
        items: list[Item] = [(consumer, row[0], row[1], *how) for row in rows]
        with contextlib.suppress(PressworkError):  # then they stay pending and are recovered
            await self._call("requeue", items)

    async def renew(self, consumer: str, claims: Sequence[Claim]) -> Renewed:
        """Renew every lease given; none is ever taken back."""
        reply = await self._call("renew", [(claim.token, claim.job_id) for claim in claims], consumer=consumer)
        lost, cancelled = (frozenset(text.decode() for text in part) for part in reply[1:])
        return Renewed(lost, cancelled, self._note_time(reply[0]))

    async def append(self, claim: Claim, number: int, text: str) -> int:
        """Log one delta. `number` counts from 2 within the lease without holes. Answers how many readers heard."""
        encoded = text.encode("utf-8", "replace")
        reply = await self._append((claim.consumer, claim.job_id, claim.token, number, encoded), len(encoded))
        refusals.check_item(reply)
        if reply == b"LOST":
            raise LeaseLost(claim.job_id)
        return int(reply)

    async def finish(
        self, claim: Claim, status: JobStatus, outcome: Outcome, *, number: int, offset: int, run_ms: int
    ) -> None:
        """End the job. `number`: the last delta appended (1: none); `offset`: characters of the result they hold.

        Unless it failed the prompt is forgotten. LeaseLost when the lease is gone; after a forced cancel usage and cost
        are kept all the same.
        """
        has_tail = outcome.result is not None and offset < len(outcome.result)
        body, kept = _encode(outcome), _encode(_kept(claim.spec, status))
        item = (
            claim.consumer, claim.job_id, claim.spec.organization_id, claim.token, status, body, number, offset,
            number + 1 + int(has_tail), claim.started_ms + run_ms, kept, usage.line(claim.spec.project_id, outcome),
        )  # fmt: skip
        reply = await self._finish(item, len(body) + len(kept))
        refusals.check_item(reply)
        if reply not in (b"OK", b"ALREADY"):
            raise LeaseLost(claim.job_id)

    async def requeue(
        self,
        claim: Claim,
        reason: RetryReason,
        *,
        delay_ms: int,
        refund: bool,
        error: JobError | None,
        spent: Spent | None = None,
    ) -> JobStatus:
        """Give the job back; answers QUEUED, or the state it ended in because its tries or time were used up.

        `spent`: what its attempts cost so far, this one too.
        """
        failure = error or JobError(type="GaveUp", message="the job was handed back too often")
        outcome = _ended_after(failure, claim, spent)
        item = (
            claim.consumer, claim.job_id, claim.token, claim.spec.priority[0], reason, delay_ms, int(refund),
            _encode(outcome), _encode(spent) if spent else "", usage.line(claim.spec.project_id, outcome),
        )  # fmt: skip
        reply = await self._requeue(item)
        refusals.check_item(reply)
        if reply[0] == b"LOST":
            raise LeaseLost(claim.job_id)
        return JobStatus(reply[1].decode())

    async def reroute(
        self,
        claim: Claim,
        gate: str,
        report: CallReport,
        *,
        retry_after_ms: int | None,
        candidates: Sequence[str],
        chain: Sequence[str] = (),
        spent: Spent | None = None,
    ) -> Rerouted:
        """A call failed before its first token: tell `gate`, and ask the `candidates` in order for room.

        A job that only closed gates of its `chain` can run is parked: no attempt is used up, the lease is over.
        """
        item = (
            claim.consumer, claim.job_id, claim.token, claim.spec.priority[0], gate, report,
            -1 if retry_after_ms is None else retry_after_ms, " ".join(candidates),
            " ".join(chain or (gate, *candidates)), _encode(spent) if spent else "",
        )  # fmt: skip
        reply = await self._reroute(item)
        refusals.check_item(reply)
        code, name, number = reply[0].decode(), reply[1].decode(), int(reply[2])
        if code == "LOST":
            raise LeaseLost(claim.job_id)
        if code == "GO":
            return Rerouted("go", name, reserved=number)
        if code == "PARKED":
            return Rerouted("parked", name, wait_ms=number)
        return Rerouted("stay", gate)

    async def report(
        self, gate: str, report: CallReport, *, retry_after_ms: int | None = None, tokens: int = 0
    ) -> None:
        """Tell a gate what became of a call. `tokens`: how many more were used than reserved, below 0: fewer."""
        refusals.check_item(
            await self._report((gate, report, -1 if retry_after_ms is None else retry_after_ms, tokens))
        )

    async def recover(self, consumer: str, held: Sequence[str], *, batch: int = 64) -> Recovered:
        """Requeue what was not renewed for a lease, except what this worker itself holds.

        Takes nothing when the server's clock is not where earlier answers put it (within 1 s): this call may have
        waited out a stall in which nobody could renew (I6). The first call of a process only learns the time.
        """
        server_ms, heard_at = self._server_clock
        believed_ms = server_ms + round((time.monotonic() - heard_at) * 1000)
        reply = await self._call(
            "recover", [(token,) for token in held], consumer=consumer, believed_ms=believed_ms, batch=batch
        )
        requeued, failed, next_ms, pending = (int(part) for part in reply[:4])
        now_ms = self._note_time(reply[4])
        return Recovered(requeued, failed, None if next_ms < 0 else next_ms, pending, now_ms)

    def _note_time(self, server_ms: bytes) -> int:
        self._server_clock = (int(server_ms), time.monotonic())
        return int(server_ms)

    async def promote(self, limit: int = 64) -> Promoted:
        """Make due jobs claimable."""
        promoted, next_ms, lane_ms = await self._call("promote", limit=limit)
        return Promoted(promoted, None if next_ms < 0 else next_ms, None if lane_ms < 0 else lane_ms)

    async def wait_for_work(self, timeout_ms: int) -> Ring:
        """Sleep until somebody rings, at most `timeout_ms`, on a connection of its own."""
        return await self._sleeper.sleep(timeout_ms)

    async def ring_look(self) -> None:
        """Wake a sleeper for recovered work: a worker that is done with its suspect may take the next one."""
        await self._reads.execute("ZADD", self.keys.fixed("wake"), -1, Ring.LOOK.value)

    async def unfinished(self) -> bool:
        """One cheap read: is there any unfinished job. Streams hold nothing else; delayed sets are asked every other
        time, because a due time nearer than a lease has rung somebody already; hourly where any due time has."""
        self._looks += 1
        streams = self.keys.streams
        found = await self._reads.execute("XREAD", "COUNT", 1, "STREAMS", *streams, *["0"] * len(streams))
        if not found and self._looks % (12 if self.settings.frugal else 2) == 0:
            return bool(await self._reads.execute("EXISTS", *self.keys.due, self.keys.fixed("parked")))
        return bool(found)

    async def audit(self, consumer: str) -> Audited:
        """Repair what no script could have left: entries pending with nobody, live records that no entry names.

        Goes through all records, so it takes a tenth of the time at most and leaves the rest to the jobs.
        """
        lock, lock_ms = self.keys.fixed("audit"), round(max(self.settings.audit_seconds - AUDIT_SLACK_S, 1) * 1000)
        if await self._reads.execute("SET", lock, consumer, "NX", "PX", lock_ms) is None:
            return Audited(ran=False, requeued=0, consumers_deleted=0)
        requeued, deleted = await self._call("audit_entries")
        prefix, cursor = self.keys.prefix("job"), b"0"
        while True:
            began = time.monotonic()
            cursor, found = await self._reads.execute("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", 64)
            if found:
                replies = await self._call("audit_records", [(key.decode()[len(prefix) :],) for key in found])
                requeued += sum(reply for reply in replies if isinstance(reply, int))
            if cursor == b"0":
                return Audited(ran=True, requeued=requeued, consumers_deleted=deleted)
            await asyncio.sleep(9 * (time.monotonic() - began))

    async def leave(self, consumer: str) -> None:
        """Remove this worker's consumers from the group, where nothing is pending with them."""
        await self._call("leave", consumer=consumer)

    @asynccontextmanager
    async def control(self, consumer: str) -> AsyncIterator[Messages]:
        """Job ids whose cancel was requested, as they come: `async for job_id in channel`."""
        async with self.bell.messages(self.keys.control(consumer)) as messages:
            yield messages


@asynccontextmanager
async def open_store(
    settings: StoreSettings, *, client_name: str, observer: Observer | None = None, routing: Routing | None = None
) -> AsyncIterator[JobStore]:
    """A store for the length of the block; its connections open with the first command that needs them.

    `routing`: which gates jobs may pass; a worker's store must know it.
    """
    redis = RedisSettings(
        url=settings.redis_url, client_name=client_name,
        sentinel_username=settings.sentinel_username, sentinel_password=settings.sentinel_password,
    )  # fmt: skip
    store = JobStore(settings, redis, observer, routing)
    async with store.bell:
        try:
            yield store
        finally:
            await store.aclose()
