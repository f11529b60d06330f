"""Faults of the keys while jobs live: records, entries, sets, counts and times to live that do not agree."""

from __future__ import annotations

from collections.abc import Sequence

from shared.job import JobStatus
from shared.store.job_store import JobStore
from shared.store.keys import FIXED, QUEUES
from tests.support.checks import RawRedis
from tests.support.store import KEYS


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
