"""Fair shares of organisations: their starts, the wait of a small one beside a flood, and the cost of many.

One worker whose jobs all take the same time: it fills its slots, then all of them end. A job time is one such round.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from bench.load import RESULT
from bench.report import Report
from bench.server import Probe, fresh_server
from bench.sizes import Sizes
from shared.job import Claim, JobSpec, JobStatus, Outcome, Priority
from shared.job_ids import new_job_id
from shared.settings import StoreSettings
from shared.store.audit_trail import Actor
from shared.store.engine import scripts
from shared.store.job_store import JobStore, open_store
from shared.store.transitions import Finish, Submit

EQUAL: Final = 10
"""Organisations of one weight."""

WEIGHTS: Final = {"heavy": 3, "light": 1}
_OUTCOME: Final = Outcome(result=RESULT)
_BATCH: Final = 500


@asynccontextmanager
async def _fresh_store() -> AsyncIterator[tuple[JobStore, Probe]]:
    with fresh_server() as probe:
        settings = StoreSettings(redis_url=probe.url, lease_seconds=300.0, timeout_seconds=30.0)
        async with open_store(settings, client_name="fairness") as store:
            yield store, probe


async def _submit(store: JobStore, organization: str, count: int, priority: Priority = Priority.NORMAL) -> None:
    spec = JobSpec(project_id="p", user_id="u", organization_id=organization, prompt=RESULT[:300], priority=priority)
    for first in range(0, count, _BATCH):
        jobs = [Submit(id=new_job_id(), spec=spec) for _ in range(min(_BATCH, count - first))]
        await asyncio.gather(*(store.submit(job) for job in jobs))


async def _fill(store: JobStore, slots: int) -> list[Claim]:
    started: list[Claim] = []
    while len(started) < slots:
        claimed = await store.claim("w", slots - len(started), poll=True, suspect=True)
        if not claimed.claims:
            break
        started += claimed.claims
    return started


async def _end(store: JobStore, started: list[Claim]) -> None:
    ends = (Finish(claim, JobStatus.COMPLETED, _OUTCOME, number=1, offset=0, run_ms=1) for claim in started)
    await asyncio.gather(*map(store.finish, ends))


async def _starts(store: JobStore, slots: int, rounds: int) -> Counter[str]:
    """Starts by organisation in so many job times."""
    found: Counter[str] = Counter()
    for _ in range(rounds):
        started = await _fill(store, slots)
        found.update(claim.spec.organization_id for claim in started)
        await _end(store, started)
    return found


async def _shares(slots: int, rounds: int) -> tuple[float, float]:
    """The greatest deviation (%) from an equal share, and from 3:1."""
    async with _fresh_store() as (store, _):
        for number in range(EQUAL):
            await _submit(store, f"o{number}", slots * rounds)
        equal = await _starts(store, slots, rounds)
    async with _fresh_store() as (store, _):
        for name, weight in WEIGHTS.items():
            # Shares of starts alone: what one may hold of the slots is another rule.
            changes = {"weight": weight, "slot_share": 0}
            await store.organizations.change(name, changes, Actor(key_id="bench"))
            await _submit(store, name, slots * rounds)
        weighted = await _starts(store, slots, rounds)
    mean = equal.total() / EQUAL
    off = max(abs(equal[f"o{number}"] - mean) / mean for number in range(EQUAL))
    part = weighted.total() / sum(WEIGHTS.values())
    weighted_off = max(abs(weighted[name] - part * weight) / (part * weight) for name, weight in WEIGHTS.items())
    return 100 * off, 100 * weighted_off


async def _wait(flood: int, slots: int) -> int:
    """Job times until the lone job of an idle organisation starts behind so many `high` jobs of another."""
    async with _fresh_store() as (store, _):
        await _submit(store, "big", flood, Priority.HIGH)
        running = await _fill(store, slots)
        await _submit(store, "small", 1)
        for waited in range(1, flood // slots + 2):
            await _end(store, running)
            running = await _fill(store, slots)
            if any(claim.spec.organization_id == "small" for claim in running):
                return waited
    raise AssertionError("the small one's job never started")


async def _cost(organizations: int, jobs: int, slots: int) -> tuple[float, float, float]:
    """Draining so many jobs of so many organisations: commands a job, jobs/s, and ms of the slowest claim."""
    async with _fresh_store() as (store, probe):
        each = max(jobs // organizations, 2)
        for first in range(0, organizations, _BATCH):
            names = (f"o{number}" for number in range(first, min(first + _BATCH, organizations)))
            await asyncio.gather(*(_submit(store, name, each) for name in names))
        before, began = probe.commands(), time.perf_counter()
        while started := await _fill(store, slots):
            await _end(store, started)
        seconds, sent = time.perf_counter() - began, (probe.commands() - before).total()
        for number in range(min(organizations, slots)):
            await _submit(store, f"o{number}", each)
        probe.slowest("")
        await _fill(store, slots)
        slowest = probe.slowest(scripts.load("claim").sha)
    ended = each * organizations
    return sent / ended, ended / seconds, slowest


def run(sizes: Sizes) -> Report:
    """Shares and waits first, then what organisations cost."""
    report = Report(name="fairness", title="shares of organisations, waits, cost")
    slots, flood = sizes.fair_slots, sizes.fair_jobs
    off, weighted_off = asyncio.run(_shares(slots, sizes.fair_rounds))
    shares = {f"{EQUAL} equal ones, greatest deviation (%)": off, "3:1, greatest deviation (%)": weighted_off}
    waits = {
        f"wait of a lone job, slots: {count} (job times)": float(asyncio.run(_wait(flood, count)))
        for count in (1, slots)
    }
    queue = {f"the same in one queue, slots: {slots} (job times)": flood / slots}
    report.add_table(["fairness", "measured"], [[name, value] for name, value in (shares | waits | queue).items()])
    costs = {count: asyncio.run(_cost(count, flood, slots)) for count in sizes.fair_organizations}
    columns = ["organisations", "commands a job", "drained jobs/s", "ms of the slowest claim"]
    report.add_table(columns, [[f"{count:,}", *values] for count, values in costs.items()])
    report.figures |= waits | {f"commands a job, {count:,}": values[0] for count, values in costs.items()}
    report.notes.append(
        f"{flood:,} jobs wait. Starts were counted over {sizes.fair_rounds} job times of {slots} slots."
    )
    return report
