"""Random operations of workers, operators and time on a store, which change the model alike."""

from __future__ import annotations

import random
from collections.abc import Set

import pytest

from shared.errors import LeaseLost
from shared.job import Claim, JobError, JobStatus, RetryReason, Spent
from shared.store.engine.constants import LOSSES_MAX
from shared.store.job_store import JobStore
from shared.store.results import CallReport
from shared.store.transitions import Requeue, Reroute
from tests.model.model import Model
from tests.support.budgets import CALL, end, used
from tests.support.checks import RawRedis
from tests.support.gates import pay_tokens
from tests.support.store import all_delayed, make_due, make_stale, new_job, settle, unblock_gate

ERROR = JobError(type="Timeout", message="too slow", retryable=True)

GATES = ("a:a", "b:b")

ORGANIZATIONS = ("a", "a", "a", "b", "c")

LIMITED = "c"
"""Has a limit of tokens a minute now and then."""

ROUTES = ((), (), ("a:a",), ("b:b",), ("b:b", "a:a"))


class Play:
    """One random run; every operation picks its own subject."""

    def __init__(self, store: JobStore, raw: RawRedis, seed: int, *, gated: bool) -> None:
        self.store, self.raw = store, raw
        self.chance = random.Random(seed)
        self.model = Model()
        self.gated = gated
        self.dead = 0
        self.throttled: set[bytes] = set()
        self.budget = 0
        self.token_limit: int | None = None

    async def step(self) -> None:
        """One operation of any kind that is possible."""
        moves = [self.submit, self.submit, self.claim, self.claim, self.promote, self.unblock_gates, self.expire]
        if self.model.holders:
            moves += [self.append, self.finish, self.finish, self.retry, self.drain_job, self.lose, self.cancel]
            moves += [self.reroute, self.reroute, self.recover_nothing]
        if self.budget:
            moves.append(self.change_budget)
        if self.gated:
            moves += [self.change_token_limit, self.report_tokens]
        if self.model.former:
            moves.append(self.write_as_former_holder)
        await self.chance.choice(moves)()

    async def change_budget(self) -> None:
        """An operator gives more."""
        self.budget += self.chance.choice([1, 5, 20]) * CALL
        await settle(self.store, "a", month_nano_usd=self.budget)

    async def change_token_limit(self) -> None:
        """An operator limits the tokens of an organisation at each gate, or sets it free."""
        self.token_limit = self.chance.choice([None, 20_000, 100_000, 5_000_000])
        await settle(self.store, LIMITED, tokens_per_minute=self.token_limit)

    async def report_tokens(self) -> None:
        """A call of that organisation used more than it had reserved, or less."""
        more = self.chance.choice([-1500, -100, 100, 3000])
        await self.store.report(
            self.chance.choice(GATES), CallReport.NONE, tokens=more, organization_id=LIMITED,
            token_limit=self.token_limit or 0,
        )  # fmt: skip

    def _spend(self, held: Claim) -> Spent | None:
        """Cost of a job so far: an attempt costs no more than its bound."""
        if held.bound is None and not self.budget:
            return None
        before = (held.spent.cost or 0 if held.spent else 0) + 1000 * -(-held.lost_bytes // 4)
        return used(before + self.chance.randrange(CALL // 2))

    def _held(self) -> Claim:
        return self.chance.choice(list(self.model.holders.values()))

    async def submit(self) -> None:
        """A new job, sometimes delayed, or one that may fail once only, or with a chain or deadline of its own."""
        delay = self.chance.choice([0, 0, 0, 3_600_000])
        priority = self.chance.choice(["high", "normal", "low"])
        job = new_job(
            priority, delay_ms=delay, max_attempts=self.chance.choice([1, 3, 10]), route=self.chance.choice(ROUTES),
            deadline_ms=self.chance.choice([86_400_000, 7_200_000]), organization=self.chance.choice(ORGANIZATIONS),
        )  # fmt: skip
        await self.store.submit(job)
        self.model.states[job.id] = JobStatus.QUEUED

    async def claim(self) -> None:
        """One of three workers takes a few; only waiting jobs come, none twice."""
        worker = f"w{self.chance.randrange(3)}-{self.dead}"
        mine = [held for held in self.model.holders.values() if held.consumer == worker]
        if any(held.isolated for held in mine):
            return
        room = max(3 - sum(held.suspect for held in mine), 0)
        waiting = await self._queues() if self.gated else {}
        claimed = await self.store.claim(worker, self.chance.randint(1, 20), poll=True, suspect=room, alone=not mine)
        left = await self._queues() if self.gated else {}
        resting = set[bytes]().union(*(await self._queues({LIMITED})).values()) if self.gated else set()
        let_go = self.throttled.union(*waiting.values())
        self.throttled = let_go.union(*left.values())
        for held in claimed.claims:
            if held.gate in waiting and held.job_id.encode() not in let_go:
                stayed = waiting[held.gate] & left[held.gate] - resting
                assert not stayed, "a newcomer passed those that waited for its gate"
        assert sum(held.suspect for held in claimed.claims) <= room
        assert len([*mine, *claimed.claims]) == 1 or not any(held.isolated for held in claimed.claims)
        for held in claimed.claims:
            assert self.model.states[held.job_id] is JobStatus.QUEUED
            assert held.attempt <= held.spec.max_attempts
            self.model.states[held.job_id] = JobStatus.PROCESSING
            self.model.holders[held.job_id] = held

    async def _queues(self, organizations: Set[str] = frozenset(ORGANIZATIONS)) -> dict[str, set[bytes]]:
        """The jobs that wait for each gate, in its queue or in that of the fleet."""
        prefix, found = self.store.keys.prefix("throttled"), dict[str, set[bytes]]()
        for queue in ("*", *GATES):
            keys = [f"{prefix}{queue} {organization}" for organization in organizations]
            found[queue] = {job for key in keys for job in await self.raw("ZRANGE", key, 0, -1)}
        return {gate: found["*"] | found[gate] for gate in GATES}

    async def expire(self) -> None:
        """The time of a job is over that brought its own deadline: it ends unless it runs, wherever it waits."""
        index = self.store.keys.fixed("deadlines")
        for member in (await self.raw("ZRANGE", index, 0, -1))[:3]:
            job_id = member.decode()
            if self.model.states[job_id] is JobStatus.QUEUED:
                await self.raw("HSET", self.store.keys.job(job_id), "deadline", 1)
                await self.raw("ZADD", index, "XX", 1, job_id)
                self.model.states[job_id] = JobStatus.FAILED
        while (await self.store.maintenance.promote()).next_ms == 0:
            pass

    async def promote(self) -> None:
        """Some delayed jobs fall due."""
        await make_due(self.raw, *(await all_delayed(self.raw))[: self.chance.randint(0, 4)])
        await self.store.maintenance.promote()

    async def append(self) -> None:
        """A first delta."""
        held = self._held()
        await self.store.append(held, 2, "text")

    async def finish(self) -> None:
        """The job ends in any way."""
        held = self._held()
        status = self.chance.choice([JobStatus.COMPLETED, JobStatus.COMPLETED, JobStatus.FAILED])
        spent = self._spend(held)
        await end(self.store, held, spent.cost if spent else None, status, number=2)
        self.model.release(held, status)

    async def retry(self) -> None:
        """The attempt failed: it goes back, or ends because attempts are used up."""
        held = self._held()
        delay = self.chance.choice([0, 3_600_000])
        requeue = Requeue(held, RetryReason.ERROR, delay_ms=delay, refund=False, error=ERROR, spent=self._spend(held))
        state = await self.store.requeue(requeue)
        assert state is (JobStatus.FAILED if held.attempt >= held.spec.max_attempts else JobStatus.QUEUED)
        self.model.release(held, state)

    async def reroute(self) -> None:
        """A call failed in any way: the job goes on elsewhere, waits for a gate, or stays where it is."""
        held = self._held()
        others = self.chance.choice([[], list(GATES)])
        report = self.chance.choice([CallReport.LIMITED, CallReport.FAILED, CallReport.REFUSED])
        retry_after = self.chance.choice([None, 0, 60_000])
        found = await self.store.reroute(
            Reroute(
                held, self.chance.choice(GATES), report, retry_after_ms=retry_after, candidates=others, spent=held.spent
            )
        )
        if found.state == "throttled":
            self.model.release(held, JobStatus.QUEUED)

    async def unblock_gates(self) -> None:
        """Time passes for blocked gates, and for organisations that rest."""
        await pay_tokens(self.raw)
        for gate in await self.raw("HKEYS", self.store.keys.fixed("gates")):
            if not gate.startswith(b"@"):
                await unblock_gate(self.raw, gate.decode())

    async def drain_job(self) -> None:
        """A drain: no attempt is used up."""
        held = self._held()
        release = Requeue(held, RetryReason.DRAIN, delay_ms=0, refund=True, error=None, spent=self._spend(held))
        state = await self.store.requeue(release)
        self.model.release(held, state)

    async def lose(self) -> None:
        """A worker dies with all it holds; another one recovers."""
        worker = self._held().consumer
        lost = [held for held in self.model.holders.values() if held.consumer == worker]
        suspects = [held for held in lost if held.suspect]
        await self._renew(besides=worker)
        await make_stale(self.raw, *lost)
        await self.store.maintenance.recover("finder", [])
        self.dead += 1
        self.model.losses.update(held.job_id for held in suspects or lost)
        for held in lost:
            expected = JobStatus.FAILED if self.model.losses[held.job_id] > LOSSES_MAX else JobStatus.QUEUED
            snapshot = await self.store.status(held.job_id)
            assert snapshot is not None
            assert snapshot.status is expected
            self.model.release(held, expected)

    async def recover_nothing(self) -> None:
        """All workers renew, and a recovery finds no lost ones (I6)."""
        await self._renew(besides="")
        found = await self.store.maintenance.recover("finder", [])
        assert (found.requeued, found.failed) == (0, 0)

    async def _renew(self, besides: str) -> None:
        for consumer in {held.consumer for held in self.model.holders.values()} - {besides}:
            held = [one for one in self.model.holders.values() if one.consumer == consumer]
            assert not (await self.store.renew(consumer, held)).lost

    async def cancel(self) -> None:
        """A forced cancel of any job: it ends unless it had ended."""
        job_id = self.chance.choice(list(self.model.states))
        before = self.model.states[job_id]
        reply = await self.store.cancel(job_id, force=True)
        assert reply.state == ("ended" if before.terminal else "cancelled")
        if not before.terminal:
            self.model.states[job_id] = JobStatus.CANCELLED
            if job_id in self.model.holders:
                self.model.former.append(self.model.holders.pop(job_id))

    async def write_as_former_holder(self) -> None:
        """A worker without its lease changes nothing; the one that ended the job may repeat it."""
        old = self.chance.choice(self.model.former)
        before = await self.store.status(old.job_id)
        with pytest.raises(LeaseLost):
            await self.store.append(old, 3, "late")
        assert (await self.store.renew(old.consumer, [old])).lost == {old.token}
        assert await self.store.status(old.job_id) == before
