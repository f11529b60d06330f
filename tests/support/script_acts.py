"""A queue in which every script has something to write, and for each script a call that does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from shared.job import Claim, RetryReason
from shared.store.api_keys import ApiKey
from shared.store.audit_trail import Actor
from shared.store.engine import scripts
from shared.store.engine.items import CountedItem, DayItem, Item, JobItem, ReservedItem
from shared.store.job_store import JobStore
from shared.store.reading.ended_jobs import EndedJob
from shared.store.recent_calls import NotedCalls
from shared.store.results import CallReport
from shared.store.tasks import TaskPlan
from shared.store.transitions import Requeue, Reroute
from tests.support.checks import RawRedis
from tests.support.gates import A
from tests.support.store import ERROR, KEYS, complete, new_job


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


def new_key(key_id: str = "k1") -> ApiKey:
    """A key of the organisation."""
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
    "create_key": lambda s: s.store.api_keys.create(new_key(), ACTOR, replaces="k0"),
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
    "note_calls": lambda s: s.store.recent_calls.note({NotedCalls(A, "Timeout", (A,)): 1}, []),
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
