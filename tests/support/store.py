"""Builders for store tests: jobs, workers' moves, stale leases, and a transport that loses or delays answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from shared.errors import StoreUnavailable
from shared.job import Claim, JobError, JobSnapshot, JobSpec, JobStatus, Outcome, Priority, new_job_id
from shared.store.audit_trail import Actor
from shared.store.job_store import JobStore
from shared.store.keys import FIXED, GROUP, QUEUES, Keys
from shared.store.reading.usage import UsageRow
from shared.store.transitions import Finish, Submit
from tests.support.checks import RawRedis

KEYS = Keys()
AnswerT = TypeVar("AnswerT")
STALE_MS = 60_000
POLL = 9
"""Place of `look` in the state of a gate."""
ERROR = JobError(type="ProviderUnavailable", message="try later", retryable=True)


def new_job(priority: str = "normal", *, organization: str = "org", **more: Any) -> Submit:
    """A small job. Fields of `Submit` (delay_ms, …) and of its spec (max_attempts, …) by name."""
    of_spec = {name: more.pop(name) for name in list(more) if name in JobSpec.__struct_fields__}
    of_spec = {"project_id": "p", "user_id": "u", "prompt": "x"} | of_spec
    spec = JobSpec(organization_id=organization, priority=Priority(priority), **of_spec)
    return Submit(id=new_job_id(), spec=spec, **more)


async def settle(store: JobStore, organization: str, **settings: int | None) -> None:
    """Change settings of an organisation as an operator does; None: the default again."""
    await store.organizations.change(organization, settings, Actor(key_id="test"))


async def usage_rows(store: JobStore, organization: str, first_day: int, last_day: int) -> list[UsageRow]:
    """All rows of an organisation's days."""
    return [row async for rows in store.queries.usage(organization, first_day, last_day) for row in rows]


async def repeated(call: Callable[[], Awaitable[AnswerT]], seconds: float = 40.0) -> AnswerT:
    """Repeat a call that is safe to repeat until it succeeds, as every caller of the store does."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def submit(store: JobStore, count: int = 1, priority: str = "normal", **more: Any) -> list[str]:
    """Submit jobs; their ids in order."""
    jobs = [new_job(priority, **more) for _ in range(count)]
    # Some at a time, and again where the machine was too slow for the store's patience.
    for first in range(0, count, 500):
        await asyncio.gather(*(repeated(partial(store.submit, job)) for job in jobs[first : first + 500]))
    return [job.id for job in jobs]


async def claim(store: JobStore, limit: int = 50, consumer: str = "w1", **more: Any) -> list[Claim]:
    """Claim as a worker that holds nothing and polls everything."""
    options = {"poll": True, "suspect": True, **more}
    return (await store.claim(consumer, limit, **options)).claims


async def claim_one(store: JobStore, consumer: str = "w1") -> Claim:
    """Submit one job and claim it."""
    await submit(store)
    return (await claim(store, 1, consumer))[0]


async def complete(store: JobStore, held: Claim, text: str = "text", *, number: int = 1) -> None:
    """End a job as completed; `number` of its last delta, all of which held nothing of this text."""
    await store.finish(Finish(held, JobStatus.COMPLETED, Outcome(result=text), number=number, offset=0, run_ms=1))


async def fail(store: JobStore, held: Claim, error: JobError = ERROR) -> JobSnapshot:
    """End a job as failed; the job then."""
    provider, _, model = held.gate.partition(":")
    outcome = Outcome(error=error, provider=provider or None, model=model or None)
    await store.finish(Finish(held, JobStatus.FAILED, outcome, number=1, offset=0, run_ms=1))
    failed = await store.status(held.job_id)
    assert failed is not None
    return failed


async def make_stale(raw: RawRedis, *claims: Claim) -> None:
    """Make leases look as if they had not been renewed for a minute."""
    for held in claims:
        stream = KEYS.fixed(QUEUES[held.token[0]])
        await raw("XCLAIM", stream, GROUP, held.consumer, 0, held.token[1:], "IDLE", STALE_MS, "JUSTID")


async def lose(store: JobStore, raw: RawRedis, *claims: Claim) -> None:
    """Make all these leases stale and let another worker recover them."""
    await make_stale(raw, *claims)
    await store.maintenance.recover("finder", [])


async def make_due(raw: RawRedis, *job_ids: str) -> None:
    """Let the time pass for which delayed jobs wait; the first is the first due."""
    for order, job_id in enumerate(job_ids, 1):
        organization = (await raw("HGET", KEYS.job(job_id), "org")).decode()
        await raw("ZADD", KEYS.prefix("delayed") + organization, "XX", order, job_id)
        await raw("ZADD", KEYS.fixed("due"), "XX", "LT", order, organization)


async def all_delayed(raw: RawRedis) -> list[str]:
    """Delayed jobs of all organisations."""
    return [
        member.decode()
        for key in await raw("KEYS", f"{KEYS.prefix('delayed')}*")
        for member in await raw("ZRANGE", key, 0, -1)
    ]


async def make_overdue(raw: RawRedis, *job_ids: str) -> None:
    """Let the time pass for which jobs that brought their own deadline, or are throttled, may wait."""
    for job_id in job_ids:
        await raw("HSET", KEYS.job(job_id), "deadline", 1)
        for index in ("deadlines", "throttled_deadlines"):
            await raw("ZADD", KEYS.fixed(index), "XX", 1, job_id)


async def status_of(store: JobStore, job_id: str) -> JobStatus:
    """The status of a job that is there."""
    snapshot = await store.status(job_id)
    assert snapshot is not None
    return snapshot.status


async def error_of(store: JobStore, job_id: str) -> str:
    """The type of the error that a job ended with."""
    snapshot = await store.status(job_id)
    assert snapshot is not None
    assert snapshot.outcome is not None
    assert snapshot.outcome.error is not None
    return snapshot.outcome.error.type


async def unblock_gate(raw: RawRedis, gate: str) -> None:
    """Let the time pass for which a gate is blocked."""
    values = (await raw("HGET", KEYS.fixed("gates"), gate)).decode().split()
    seconds, micros = await raw("TIME")
    now = int(seconds) * 1000 + int(micros) // 1000
    passed = max(int(values[0]) - now, 0)
    # closed_until, …, ramp_from, used, requests: see gate_states.lua. Its throttle set is to be polled now.
    for i in (0, 4, 6):
        values[i] = str(int(values[i]) - passed)
    if len(values) > POLL:
        values[POLL] = "0"
    await raw("HSET", KEYS.fixed("gates"), gate, " ".join(values))
    await raw("HDEL", KEYS.fixed("gates"), "@")


async def drain(store: JobStore, consumer: str = "drain") -> int:
    """Complete everything that is claimable or becomes due; how many."""
    done = 0
    while True:
        await store.maintenance.promote()
        claimed = await store.claim(consumer, 50, poll=True, suspect=True)
        for held in claimed.claims:
            await complete(store, held)
            done += 1
        if not claimed.claims and not claimed.more:
            return done


async def breaches(store: JobStore, raw: RawRedis, accepted: Sequence[str]) -> list[str]:
    """Faults of the keys while jobs live (I1, I3, I5): [] is right.

    Every accepted job has a record; every live record is named by exactly one entry or delayed member, and those name
    nothing else; the counts of all states add up; every key of an ended job has a TTL.
    """
    found, named = [], dict[str, int]()
    for letter, name in QUEUES.items():
        for entry_id, fields in await raw("XRANGE", KEYS.fixed(name), "-", "+"):
            job = fields[1].decode()
            entry = await raw("HGET", KEYS.job(job), "entry")
            if entry != f"{letter}{entry_id.decode()}".encode():
                found.append(f"{name} holds {job}, whose record names {entry}")
            named[job] = named.get(job, 0) + 1
    found += await _in_sets(raw, named)
    found += await _in_queues(raw, named)
    states = dict[str, int]()
    for job_id in accepted:
        snapshot = await store.status(job_id)
        if snapshot is None:
            found.append(f"{job_id} has no record")
            continue
        states[snapshot.status] = states.get(snapshot.status, 0) + 1
        if named.pop(job_id, 0) != (0 if snapshot.status.terminal else 1):
            found.append(f"{job_id} is {snapshot.status} and is not named exactly as often as it should")
        if snapshot.status.terminal != (await raw("PTTL", KEYS.job(job_id)) > 0):
            found.append(f"{job_id} is {snapshot.status} and its record has another TTL than it should")
        if snapshot.status.terminal and await raw("PTTL", KEYS.log(job_id)) == -1:
            found.append(f"{job_id} has ended and its log has no TTL")
    found += [f"{job_id} waits but was never accepted" for job_id in named]
    stats = await store.queries.stats()
    counted = {status: getattr(stats, status) for status in JobStatus}
    if counted != {status: states.get(status, 0) for status in JobStatus}:
        found.append(f"stats {counted}, records {states}")
    return found + await _leaked(raw)


async def _in_sets(raw: RawRedis, named: dict[str, int]) -> list[str]:
    """Count the jobs of backlogs and delayed sets into `named`, once each; return what is wrong with their indexes."""
    found = []
    kinds = (("backlog", "backlogs", "b"), ("delayed", "due", "d"), ("suspect_backlog", "placed_suspects", "bs"))
    for kind, index, entry in kinds:
        read = ("HKEYS",) if kind == "suspect_backlog" else ("ZRANGE", 0, -1)
        listed = {name.decode() for name in await raw(read[0], KEYS.fixed(index), *read[1:])}
        for key in await raw("KEYS", f"{KEYS.prefix(kind)}*"):
            organization = key.decode().removeprefix(KEYS.prefix(kind))
            if organization not in listed:
                found.append(f"{index} lacks {organization}")
            for member in await raw("ZRANGE", key, 0, -1):
                job = member.decode()
                named[job] = named.get(job, 0) + 1
                if (stands := await raw("HGET", KEYS.job(job), "entry")) != entry.encode():
                    found.append(f"{key.decode()} holds {job}, whose record names {stands}")
    for key in KEYS.due[1:]:
        for member in await raw("ZRANGE", key, 0, -1):
            named[member.decode()] = named.get(member.decode(), 0) + 1
    return found


async def counts_of(raw: RawRedis) -> dict[str, dict[str, int]]:
    """The counts of each organisation, as in lua/include/organizations.lua. Ends in the ledger are taken off."""
    ended: dict[str, int] = {}
    for line in await raw("LRANGE", KEYS.fixed("ledger"), 0, -1):
        words = line.decode().split(" ")
        if words[0].isalpha() and (len(words) == 3 or words[5].startswith("0")):
            ended[words[2]] = ended.get(words[2], 0) + 1
    flat = await raw("HGETALL", KEYS.fixed("organizations"))
    return {
        name.decode(): {
            "waiting": int(packed) >> 43,
            "running": (int(packed) >> 27 & 0x3FFF) - ended.get(name.decode(), 0),
            "placed": int(packed) >> 22 & 0x1F,
            "kib": int(packed) & 0x3FFFFF,
        }
        for name, packed in zip(flat[::2], flat[1::2], strict=True)
    }


async def miscounted(raw: RawRedis, accepted: Sequence[str]) -> list[str]:
    """Differences between the counts of organisations and their jobs (I3 of each of them)."""
    kept = {name: counts for name, counts in (await counts_of(raw)).items() if any(counts.values())}
    true: dict[str, dict[str, int]] = {}
    chains: dict[str, int] = {}
    for job_id in accepted:
        organization, state, entry, spec, route = await raw(
            "HMGET", KEYS.job(job_id), "org", "state", "entry", "spec", "route"
        )
        if state not in (b"queued", b"processing"):
            continue
        if state == b"queued" and route is not None:
            chain = f"{organization.decode()} {route.decode()}"
            chains[chain] = chains.get(chain, 0) + 1
        counts = true.setdefault(organization.decode(), {"waiting": 0, "running": 0, "placed": 0, "kib": 0})
        counts["running" if state == b"processing" else "waiting"] += 1
        if state == b"queued":
            counts["placed"] += entry.startswith(b"q")
            counts["kib"] += -(-len(spec) // 1024)
    return [
        f"{name}: kept {was}, true {right}"
        for found, wanted in ((kept, true), (await _waiting_chains(raw), chains))
        for name in found | wanted
        if (was := found.get(name)) != (right := wanted.get(name))
    ]


async def _waiting_chains(raw: RawRedis) -> dict[str, int]:
    """Jobs that wait by organisation and chain of their own, as they are kept."""
    prefix = KEYS.prefix("waiting_chains")
    found = {}
    for key in await raw("KEYS", f"{prefix}*"):
        flat = await raw("HGETALL", key)
        for chain, count in zip(flat[::2], flat[1::2], strict=True):
            found[f"{key.decode().removeprefix(prefix)} {chain.decode()}"] = int(count)
    return found


async def _in_queues(raw: RawRedis, named: dict[str, int]) -> list[str]:
    """Count the throttled jobs into `named`, once each: they wait in the queue of every gate they may pass."""
    found = list[str]()
    listed = {job.decode() for job in await raw("ZRANGE", KEYS.fixed("throttled_deadlines"), 0, -1)}
    queues = dict[str, set[str]]()
    for key in await raw("KEYS", f"{KEYS.prefix('throttled')}*"):
        for job in await raw("ZRANGE", key, 0, -1):
            queues.setdefault(job.decode(), set()).add(
                key.decode().removeprefix(KEYS.prefix("throttled")).split(" ")[0]
            )
    for job_id in listed | queues.keys():
        named[job_id] = named.get(job_id, 0) + 1
        entry = (await raw("HGET", KEYS.job(job_id), "entry") or b"").decode()
        if entry[:1] not in ("t", "p") or set(entry[1:].split()) != queues.get(job_id) or job_id not in listed:
            found.append(f"{job_id} waits in {queues.get(job_id)}, its record names {entry}")
    return found


async def _leaked(raw: RawRedis) -> list[str]:
    known = {KEYS.fixed(name) for name in FIXED}
    living = (
        KEYS.prefix("job"),
        KEYS.prefix("log"),
        KEYS.prefix("throttled"),
        KEYS.prefix("throttled_by"),
        KEYS.prefix("backlog"),
        KEYS.prefix("delayed"),
        KEYS.prefix("waiting_chains"),
        KEYS.prefix("suspect_backlog"),
        KEYS.prefix("settings"),
    )
    return [
        f"{name} has no TTL"
        for name in [raw_name.decode() for raw_name in await raw("KEYS", "*")]
        if name not in known and not name.startswith(living) and await raw("PTTL", name) < 0
    ]


class FaultyTransport:
    """Stands before the store's socket. `lose(verb)`: the next call of that script takes effect, its answer is lost.
    `delay(verb)`: the next call is kept and runs only at `deliver`, after its caller got an error."""

    def __init__(self, store: JobStore) -> None:
        self._inner = store._calls.scripts._transport
        self._store = store
        self._lost: set[str] = set()
        self._held: set[str] = set()
        self._kept: list[tuple[Any, ...]] = []
        store._calls.scripts._transport = self

    def lose(self, verb: str) -> None:
        """Lose the answer of the next call of a script."""
        self._lost.add(verb)

    def delay(self, verb: str) -> None:
        """Keep the next call of a script back."""
        self._held.add(verb)

    async def deliver(self) -> list[Any]:
        """Run the kept calls, as a server does that wakes from a stall."""
        kept, self._kept = self._kept, []
        return [await self._inner.execute(*command) for command in kept]

    async def execute(self, *command: Any) -> Any:
        """See `Transport`."""
        verb = next(
            (name for name, (script, _) in self._store._calls.scripts._loaded.items() if script.sha == command[1]), ""
        )
        if verb in self._held:
            self._held.discard(verb)
            self._kept.append(command)
            raise StoreUnavailable("kept back", sent=True)
        reply = await self._inner.execute(*command)
        if verb in self._lost:
            self._lost.discard(verb)
            raise StoreUnavailable("the answer was lost", sent=True)
        return reply
