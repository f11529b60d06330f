"""State changes of a job by the worker that holds it. Made and used as a part of `JobStore`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from shared.errors import LeaseLost, PressworkError
from shared.job import Claim, JobError, JobStatus, Outcome, RetryReason
from shared.settings import StoreSettings
from shared.store.backend import Connections
from shared.store.engine.calls import Reads, ScriptCalls, check_item
from shared.store.engine.items import AppendItem, KnownItem, RenewItem, ReportItem, RequeueItem
from shared.store.keys import Keys, encode_id
from shared.store.pubsub.listeners import Messages
from shared.store.reading import records
from shared.store.results import CallReport, Claimed, Renewed, Rerouted, WakeUp
from shared.store.transitions import Finish, Requeue, Reroute


class WorkerTransitions:
    """The worker's side of `JobStore`: claim, renew, append, and the ways in which a lease ends.

    Each is safe to repeat after StoreUnavailable: a repeated change by the same lease returns normally, a change by
    another lease raises LeaseLost.
    """

    def __init__(
        self, settings: StoreSettings, keys: Keys, connections: Connections, calls: ScriptCalls, reads: Reads
    ) -> None:
        self.settings, self.keys = settings, keys
        self.subscriber = connections.subscriber
        self._connections = connections
        self._calls, self._reads = calls, reads

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
        end = msgspec.json.encode(Outcome(error=JobError(type="Unreadable", message="no worker could read the job")))
        back = [
            RequeueItem(
                consumer=consumer, job=job, token=token, queue="n", reason=RetryReason.ERROR,
                delay=self.settings.lease_ms, refund=0, outcome=end, spent=b"", usage="",
            )
            for job, token, *_ in rows
        ]  # fmt: skip
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
        reply = check_item(await self._calls.append(item, len(encoded)))
        if reply == b"LOST":
            raise LeaseLost(claim.job_id)
        return int(reply)

    async def finish(self, finish: Finish) -> None:
        """End the job. The record of a completed one keeps no prompt.

        LeaseLost when the lease is gone; after a forced cancel usage and cost are still kept.
        """
        reply = await self._calls.finish(*finish.item())
        finish.read(check_item(reply))

    async def requeue(self, requeue: Requeue) -> JobStatus:
        """Requeue the job. Returns QUEUED, or the state in which it ended because its attempts or time were used up."""
        reply = await self._calls.requeue(requeue.item())
        return requeue.read(check_item(reply))

    async def reroute(self, reroute: Reroute) -> Rerouted:
        """Report a call that failed before its first token to its gate, and ask the candidates in order for room.

        A job that only blocked gates of its `chain` can run is throttled: no attempt is used up, the lease is over.
        """
        reply = await self._calls.reroute(reroute.item())
        return reroute.read(check_item(reply))

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
        check_item(await self._calls.report(item))

    async def wait_for_work(self, timeout_ms: int) -> WakeUp:
        """Wait until a wake-up marker comes, at most `timeout_ms`, on a connection of its own."""
        return await self._connections.blocking_pop.sleep(timeout_ms)

    @asynccontextmanager
    async def control(self, consumer: str) -> AsyncIterator[Messages]:
        """Yield ids of jobs whose cancel was requested, and `ORDERED`: `async for job_id in channel`."""
        async with self.subscriber.messages(self.keys.control(consumer)) as messages:
            yield messages
