"""A server that refuses writes: every script says so at once, writes nothing, and goes on when writes are back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.errors import StoreFull, StoreUnavailable
from shared.job import Claim, RetryReason
from shared.settings import StoreSettings
from shared.store.api_keys import ApiKey
from shared.store.audit_trail import Actor
from shared.store.embedded.server import EmbeddedServer
from shared.store.engine import scripts
from shared.store.engine.items import CountedItem, DayItem, Item, JobItem, ReservedItem
from shared.store.job_store import JobStore, open_store
from shared.store.reading.ended_jobs import EndedJob
from shared.store.results import CallReport
from shared.store.tasks import TaskPlan
from shared.store.transitions import Requeue, Reroute
from shared.store.workers import WorkerEntry
from tests.conftest import flush
from tests.support.checks import RawRedis
from tests.support.gates import A, B, close, routing
from tests.support.processes import free_port
from tests.support.store import ERROR, KEYS, claim, complete, fail, make_due, make_stale, new_job, submit, unblock_gate

NAMES = sorted(path.stem for path in (Path(scripts.__file__).parents[1] / "lua").glob("*.lua"))
READING = {
    "count_entries", "count_throttled", "count_reserved", "durations", "list", "stats", "oldest", "organization",
    "usage", "vet", "waiting", "throttled", "workers",
}  # fmt: skip
SLOWEST_MS = 50.0
"""Time that a refusal may take the server, by its own count."""


@dataclass
class Scene:
    """A queue in which every script has something to write; `plain`: a store that asks no gates."""

    store: JobStore
    plain: JobStore
    raw: RawRedis
    folder: Path
    held: Claim
    job_id: str
    ended_id: str
    failed_id: str

    async def run(self, name: str, **argv: str | int) -> None:
        """A script by its name."""
        items: dict[str, list[Item]] = {
            "audit_organizations": [CountedItem(b"org", b"", b"", b"")],
            "audit_records": [JobItem(self.job_id)],
            "usage": [DayItem(1)],
            "list": [JobItem("nobody")],
            "count_reserved": [ReservedItem(b"q1-1", b"nobody")],
        }
        await self.store._calls.call(name, items.get(name, []), argv)

    async def fail_over(self) -> None:
        """As the greeting of a connection does, with a term of its own."""
        script = scripts.load("failover")
        names, term = [KEYS.fixed(name) for name in script.keys], time.monotonic_ns()
        await self.store._reads.execute("EVAL", script.source, len(names), *names, term)


ACTOR = Actor(key_id="test")


def _key(key_id: str = "k1") -> ApiKey:
    return ApiKey(id=key_id, digest="0" * 64, organization_id="org", scopes=("jobs:read",))


Act = Callable[[Scene], Awaitable[object]]
ACTS: dict[str, Act] = {
    "advance_task": lambda s: s.store.tasks.advance("t0", "w1", "1"),
    "append": lambda s: s.store.append(s.held, 2, "text"),
    "audit_budgets": lambda s: s.run("audit_budgets", organization="org", token="", confirmed="", reserved=""),
    "audit_entries": lambda s: s.run("audit_entries", queue="h", start="-", page=10),
    "audit_organizations": lambda s: s.run(
        "audit_organizations", after_line="0-0", after_suspect="0-0", after_isolated="0-0", looks_max=100
    ),
    "audit_records": lambda s: s.run("audit_records"),
    "block_user": lambda s: s.store.organizations.block("org", "someone", ACTOR),
    "cancel": lambda s: s.store.cancel(s.held.job_id, force=True),
    "change_organization": lambda s: s.store.organizations.change("org", {"weight": 3, "day_nano_usd": 10**14}, ACTOR),
    "claim": lambda s: s.store.claim("w2", 20, poll=True, suspect=6, known=[]),
    "correct_counts": lambda s: s.run(
        "correct_counts", organization="org", token="", confirmed="", waiting=0, running=0, placed=0, suspects=0
    ),
    "count_entries": lambda s: s.run("count_entries", organization="org", queue="q", ids="1-1", looks_max=9),
    "count_reserved": lambda s: s.run("count_reserved", organization="org"),
    "count_throttled": lambda s: s.run("count_throttled", organization="org", queue=A, start=0, page=9),
    "create_key": lambda s: s.store.api_keys.create(_key(), ACTOR, replaces="k0"),
    "create_task": lambda s: s.store.tasks.create(TaskPlan(kind="discard"), 1, ACTOR),
    "delete": lambda s: s.store.delete(s.ended_id),
    "discard": lambda s: s.store.tasks.discard([EndedJob(id="", job_id=s.failed_id, organization_id="org")], ""),
    "durations": lambda s: s.store.queries.durations(1, 2),
    "erase_keys": lambda s: s.store.erasure.erase_keys(["pw:{0}:usage:org:1"]),
    "erase_organization": lambda s: s.store.erasure.erase_entries("org"),
    "failover": lambda s: s.fail_over(),
    "finish": lambda s: complete(s.store, s.held),
    "leave": lambda s: s.store.maintenance.leave("w3"),
    "limit_gate": lambda s: s.store.gates.limit("demo:other", {"requests_per_minute": 60}, ACTOR),
    "list": lambda s: s.run("list", status="", bytes_max=1, outcome_max=1),
    "note_key_use": lambda s: s.store.api_keys.note_use("k0", "2026-11-29"),
    "note_refusals": lambda s: s.store.refusal_trail.add({"org": {"forbidden": 1}}),
    "oldest": lambda s: s.store.queries.oldest_waiting_ms(),
    "organization": lambda s: s.store.organizations.stats("org"),
    "order_worker": lambda s: s.store.workers.order("w1", ACTOR, drain=True),
    "pause": lambda s: s.store.gates.pause("demo:other", ACTOR),
    "promote": lambda s: s.store.maintenance.promote(),
    "recover": lambda s: s.store.maintenance.recover("finder", []),
    "renew": lambda s: s.store.renew("w1", [s.held]),
    "report": lambda s: s.store.report(A, CallReport.LIMITED),
    "requeue": lambda s: s.store.requeue(Requeue(s.held, RetryReason.ERROR, delay_ms=1, refund=False, error=ERROR)),
    "reroute": lambda s: s.store.reroute(
        Reroute(s.held, A, CallReport.LIMITED, retry_after_ms=60_000, candidates=[], chain=[A], spent=None)
    ),
    "revoke_key": lambda s: s.store.api_keys.revoke("k0", ACTOR, owner=None),
    "stats": lambda s: s.store.queries.stats(),
    "submit": lambda s: s.store.submit(new_job()),
    "take_task": lambda s: s.store.tasks.take("w1"),
    "throttled": lambda s: s.store.gates.read((A,)),
    "workers": lambda s: s.store.workers.read(),
    "usage": lambda s: s.run("usage", organization="org", fields_max=1),
    "vet": lambda s: s.run("vet", calls='[["ZCARD", "wake"]]'),
    "watch_budgets": lambda s: s.run("watch_budgets", trail_length=10),
    "waiting": lambda s: s.store.queries.waiting(s.job_id),
}


@asynccontextmanager
async def _no_replica(scene: Scene) -> AsyncIterator[None]:
    await scene.raw("CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        yield
    finally:
        await scene.raw("CONFIG", "SET", "min-replicas-to-write", 0)


@asynccontextmanager
async def _replica(scene: Scene) -> AsyncIterator[None]:
    await scene.raw("REPLICAOF", "127.0.0.1", free_port())
    try:
        yield
    finally:
        await scene.raw("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def _no_snapshot(scene: Scene) -> AsyncIterator[None]:
    """A folder is in the place of the snapshot."""
    obstacle = scene.folder / "dump.rdb"
    obstacle.unlink(missing_ok=True)
    (obstacle / "in the way").mkdir(parents=True)
    await scene.raw("CONFIG", "SET", "save", "3600 1")
    try:
        await _save(scene.raw, b"rdb_last_bgsave_status:err")
        yield
    finally:
        (obstacle / "in the way").rmdir()
        obstacle.rmdir()
        await _save(scene.raw, b"rdb_last_bgsave_status:ok")
        await scene.raw("CONFIG", "SET", "save", "")


async def _save(raw: RawRedis, wanted: bytes) -> None:
    await raw("BGSAVE")
    async with asyncio.timeout(30):
        while wanted not in (found := await raw("INFO", "persistence")) or b"bgsave_in_progress:1" in found:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def _full(scene: Scene) -> AsyncIterator[None]:
    await scene.raw("CONFIG", "SET", "maxmemory", 1)
    try:
        yield
    finally:
        await scene.raw("CONFIG", "SET", "maxmemory", 0)


REFUSALS = {"NOREPLICAS": _no_replica, "MISCONF": _no_snapshot, "READONLY": _replica}


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server whose settings may be changed."""
    with EmbeddedServer(Path(tmp_path_factory.mktemp("refusing")), aof=False) as running:
        yield running


@pytest.fixture
async def scene(own_server: EmbeddedServer) -> AsyncIterator[Scene]:
    """Jobs that run, wait, are due, wait for a gate that has room, lost their worker, or are named by no entry; their
    organisation has a budget."""
    await flush(own_server.url)
    settings = StoreSettings(redis_url=own_server.url, lease_seconds=2.0)
    async with (
        open_store(settings, client_name="plain") as plain,
        open_store(settings, client_name="refused", routing=routing(A, B)) as store,
        RawRedis(own_server.url) as raw,
    ):
        await plain.organizations.change("org", {"month_nano_usd": 10**15}, ACTOR)
        await close(store)
        await unblock_gate(raw, A)
        await _fill(plain, raw)
        await plain.api_keys.create(_key("k0"), ACTOR)
        await store.renew("w1", [])
        await store.workers.register("w1", WorkerEntry(host="h", release="1", slots=1))
        (over,) = await _claims(plain, "w1", 1)
        await complete(plain, over)
        (failed,) = await _claims(plain, "w1", 1)
        await fail(plain, failed)
        await plain.tasks.create(TaskPlan(kind="discard"), 1, ACTOR)
        (held,) = await _claims(plain, "w1", 1)
        (dropped,) = await _claims(plain, "gone", 1)
        await raw("XACK", KEYS.fixed("high"), "workers", dropped.token[1:])
        await raw("HSET", KEYS.job(dropped.job_id), "entry", "n1-1")
        yield Scene(store, plain, raw, own_server.folder, held, dropped.job_id, over.job_id, failed.job_id)


async def _fill(store: JobStore, raw: RawRedis) -> None:
    await store.renew("finder", [])
    await submit(store, 3)
    for losses in range(1, 4):
        (lost,) = await _claims(store, f"gone{losses}", 1)
        await raw("HSET", KEYS.job(lost.job_id), "losses", losses)
        await make_stale(raw, lost)
    await store.maintenance.recover("finder", [])
    await make_stale(raw, *await _claims(store, "gone again", 2))
    (due,) = await submit(store, delay_ms=60_000)
    await make_due(raw, due)


async def _claims(store: JobStore, consumer: str, count: int) -> list[Claim]:
    await submit(store, count, "high")
    claims = await claim(store, count, consumer, poll=False)
    assert len(claims) == count
    return claims


async def _everything(raw: RawRedis) -> dict[bytes, object]:
    """All keys but the one that ends by itself within the test."""
    keys = set(await raw("KEYS", "*")) - {KEYS.fixed("recoverer").encode()}
    return {key: await raw("DUMP", key) for key in sorted(keys)}


async def _spent_ms(raw: RawRedis) -> float:
    """On all scripts since the server's counts began."""
    text = (await raw("INFO", "commandstats")).decode()
    spent = [line.split("usec=")[1].split(",")[0] for line in text.splitlines() if line.startswith("cmdstat_eval")]
    return sum(map(int, spent)) / 1000


def test_every_script_is_tried() -> None:
    """A new script says here how it meets a refusal."""
    assert sorted(ACTS) == NAMES


@pytest.mark.parametrize("name", NAMES)
async def test_a_refused_write_is_reported_at_once_and_leaves_nothing(scene: Scene, name: str) -> None:
    """In the server's words, within 50 ms of its time, nothing half-written; and the same call passes afterwards."""
    before = await _everything(scene.raw)
    for refusal, refusing in REFUSALS.items():
        async with refusing(scene):
            await scene.raw("CONFIG", "RESETSTAT")
            if name in READING:
                await ACTS[name](scene)
            else:
                seen = scene.store.generation
                with pytest.raises(StoreUnavailable, match=refusal):
                    await ACTS[name](scene)
                assert scene.store.generation > seen, "nobody could renew: a break of view (I6)"
            assert await _spent_ms(scene.raw) < SLOWEST_MS
            assert await _everything(scene.raw) == before
    await ACTS[name](scene)
    await _go_on(scene)


@pytest.mark.parametrize("name", NAMES)
async def test_every_script_but_submit_passes_on_a_full_server(scene: Scene, name: str) -> None:
    """Running jobs end, lost ones are recovered and workers leave; new jobs alone are refused."""
    async with _full(scene):
        await scene.raw("CONFIG", "RESETSTAT")
        if name == "submit":
            with pytest.raises(StoreFull):
                await ACTS[name](scene)
        else:
            await ACTS[name](scene)
        assert await _spent_ms(scene.raw) < SLOWEST_MS
    await _go_on(scene)


async def _go_on(scene: Scene) -> None:
    (job_id,) = await submit(scene.plain)
    claims = [one for _ in range(3) for one in await claim(scene.plain, 50, "after", suspect=False)]
    assert job_id in {one.job_id for one in claims}
