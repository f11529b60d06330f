"""The cost of maintenance for the server in one call, with few and with many jobs: recover, audit, cancel, stats.

The server's own time of the slowest call, in ms: while a script runs, all others wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from redis import Redis

from bench.load import new_job
from bench.report import Report
from bench.server import Probe, fresh_server
from bench.sizes import Sizes
from shared.settings import StoreSettings
from shared.store.engine.items import JobItem
from shared.store.job_store import JobStore, open_store
from shared.store.keys import GROUP, Keys
from shared.store.maintenance import AUDIT_PAGE
from shared.store.transitions import Submit

JOBS_PER_WORKER: Final = 50
LEASE_S: Final = 300.0
"""So long that no entry is suspicious by itself before all are written."""

IDLE_MS: Final = 3_600_000

KEYS: Final = Keys()
Act = Callable[["Scene"], Awaitable[object]]


class Scene:
    """`count` running jobs on one server, of workers that hold 50 each; the first has a log of as many deltas."""

    def __init__(self, probe: Probe, store: JobStore, count: int) -> None:
        self.client: Any = Redis.from_url(probe.url, socket_timeout=60)
        self.store = store
        self.count = count
        self.jobs = [new_job() for _ in range(count)]

    async def prepare(self) -> None:
        """Write records and entries past the store: a hundred thousand claims take their time."""
        await self.store.claim("first", 1, poll=False, suspect=0)  # makes the groups
        stream, spec = KEYS.fixed("line"), msgspec.json.encode(self.jobs[0].spec)
        with self.client.pipeline(transaction=False) as pipe:
            for first in range(0, self.count, JOBS_PER_WORKER):
                for job in self.jobs[first : first + JOBS_PER_WORKER]:
                    pipe.xadd(stream, {"j": job.id, "o": job.spec.organization_id})
                pipe.xreadgroup(GROUP, f"w{first}", {stream: ">"}, count=JOBS_PER_WORKER)
            replies = [reply for reply in pipe.execute() if isinstance(reply, bytes)]
            for job, entry in zip(self.jobs, replies, strict=True):
                pipe.hset(KEYS.job(job.id), mapping=_record(job, spec, entry))
            for first in range(0, self.count, 1000):
                fields = range(first, min(first + 1000, self.count))
                log = {f"q{replies[0].decode()}.{2 + i}": "d" + "word " * 8 for i in fields}
                pipe.hset(KEYS.log(self.jobs[0].id), mapping=log)
            pipe.execute()

    async def make_stale(self) -> None:
        """Age all leases by an hour without renewal."""
        stream, start = KEYS.fixed("line"), "-"
        with self.client.pipeline(transaction=False) as pipe:
            while rows := self.client.xpending_range(stream, GROUP, start, "+", 1000):
                for row in rows:
                    pipe.xclaim(stream, GROUP, row["consumer"], 0, [row["message_id"]], idle=IDLE_MS, justid=True)
                start = f"({rows[-1]['message_id'].decode()}"
            pipe.execute()

    async def slowest_ms(self, act: Act, calls: int = 1) -> float:
        """Of so many calls."""
        slowest = 0.0
        for _ in range(calls):
            self.client.config_resetstat()
            await act(self)
            slowest = max(slowest, self.client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"] / 1000)
        return slowest


def _record(job: Submit, spec: bytes, entry: bytes) -> dict[str, bytes | str | int]:
    ms = entry.split(b"-")[0]
    return {
        "v": 1, "org": job.spec.organization_id, "state": "processing", "spec": spec, "max_attempts": 3,
        "entry": b"q" + entry, "created": ms, "deadline": int(ms) + 86_400_000, "attempt": 1, "started": ms,
    }  # fmt: skip


async def _recover(scene: Scene) -> None:
    await scene.store.maintenance.recover("finder", [])


async def _audit_entries(scene: Scene) -> None:
    await scene.store._calls.run("audit_entries", queue="q", start="-", page=AUDIT_PAGE)


async def _audit_records(scene: Scene) -> None:
    items = [JobItem(job.id) for job in scene.jobs[:64]]
    await scene.store._calls.run("audit_records", items)


async def _measure(count: int, calls: int) -> dict[str, float]:
    with fresh_server() as probe:
        settings = StoreSettings(redis_url=probe.url, timeout_seconds=30.0, lease_seconds=LEASE_S)
        async with open_store(settings, client_name="maintenance") as store:
            scene = Scene(probe, store, count)
            await scene.prepare()
            await store.renew("finder", [])
            found = {
                "recover, nothing is lost": await scene.slowest_ms(_recover),
                "audit, a page of entries": await scene.slowest_ms(_audit_entries),
                "audit, a page of records": await scene.slowest_ms(_audit_records),
                "stats": await scene.slowest_ms(lambda _: store.queries.stats()),
            }
            for job in scene.jobs[1 : 1 + min(count - 1, calls)]:
                await store.cancel(job.id)
            found["cancel, asked"] = await scene.slowest_ms(lambda one: one.store.cancel(one.jobs[1].id))
            await scene.make_stale()
            found["recover, all are lost"] = await scene.slowest_ms(_recover, calls)
            await _restart(scene)
            found["cancel by force, so many deltas"] = await scene.slowest_ms(
                lambda one: one.store.cancel(one.jobs[0].id, force=True)
            )
            return found


async def _restart(scene: Scene) -> None:
    """The first job runs as it did before it was recovered."""
    job = scene.jobs[0]
    entry = scene.client.xadd(KEYS.fixed("line"), {"j": job.id, "o": job.spec.organization_id}).decode()
    scene.client.xreadgroup(GROUP, "w", {KEYS.fixed("line"): ">"}, count=1)
    log = {f"q{entry}.{2 + i}": "d" + "word " * 8 for i in range(scene.count)}
    scene.client.delete(KEYS.log(scene.jobs[0].id))
    for first in range(0, scene.count, 1000):
        part = dict(list(log.items())[first : first + 1000])
        scene.client.hset(KEYS.log(scene.jobs[0].id), mapping=part)
    state = {"state": "processing", "entry": f"q{entry}", "base": 0}
    scene.client.hset(KEYS.job(scene.jobs[0].id), mapping=state)


def run(sizes: Sizes) -> Report:
    """Every size on a server of its own."""
    found = {count: asyncio.run(_measure(count, sizes.script_calls)) for count in sizes.maintained}
    report = Report(name="maintenance", title="the server's time of the slowest call, in ms, with so many running jobs")
    rows = []
    for name in next(iter(found.values())):
        rows.append([name, *(found[count][name] for count in sizes.maintained)])
        report.figures |= {f"{name}: {count:,}": found[count][name] for count in sizes.maintained}
    report.add_table(["call", *(f"{count:,}" for count in sizes.maintained)], rows)
    return report
