"""Times of scripts by the server's own slow log, with ever more throttled jobs: part of (h).

Each job has another organisation, project and order of providers, as far as eight of them allow.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Final

from bench.load import RESULT
from bench.report import Spread
from bench.server import fresh_server
from shared.job import JobSpec
from shared.job_ids import new_job_id
from shared.settings import StoreSettings
from shared.store.engine import scripts
from shared.store.job_store import JobStore, open_store
from shared.store.results import CallReport, Claimed
from shared.store.routing import GateLimits, Routing
from shared.store.transitions import Reroute, Submit

GATES: Final = tuple(f"vendor:model-{i}" for i in range(8))
OTHER: Final = "vendor:other"
_BATCH: Final = 500
_SEVERAL: Final = 50


def _routing() -> Routing:
    return Routing(chain=(*GATES, OTHER), limits=tuple(GateLimits(gate=gate) for gate in (*GATES, OTHER)))


def _job(number: int, route: tuple[str, ...], **more: int) -> Submit:
    spec = JobSpec(project_id=f"p-{number}", user_id="u", organization_id=f"o-{number}", prompt=RESULT[:300])
    return Submit(id=new_job_id(), spec=spec, route=route, **more)  # type: ignore[arg-type]  # fields of Submit


async def _throttle(store: JobStore) -> None:
    while (await store.claim("throttler", 64, poll=True, suspect=True)).more:
        pass


async def _fill(store: JobStore, count: int) -> None:
    """Block all gates but one and throttle `count` jobs before them."""
    for gate in GATES:
        await store.report(gate, CallReport.LIMITED, retry_after_ms=3_600_000)
    chains = itertools.cycle(itertools.permutations(GATES, 5))
    for first in range(0, count, _BATCH):
        jobs = [_job(i, next(chains)) for i in range(first, min(first + _BATCH, count))]
        await asyncio.gather(*(store.submit(job) for job in jobs))
        await _throttle(store)


class _Steps:
    """One call of each script, and the state that it meets."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def submit(self) -> object:
        return await self._store.submit(_job(0, (OTHER,)))

    async def claim(self) -> Claimed:
        return await self._store.claim("w", 64, poll=True, suspect=True)

    async def let_go(self) -> object:
        await self._store.report(GATES[0], CallReport.LIMITED, retry_after_ms=0)
        await asyncio.sleep(0.3)
        return await self.claim()

    async def throttle(self, **more: int) -> object:
        await asyncio.gather(*(self._store.submit(_job(i, GATES[1:6], **more)) for i in range(_SEVERAL)))
        return await self.claim()

    async def overdue(self) -> object:
        await self.throttle(deadline_ms=30)
        await asyncio.sleep(0.04)
        return await self._store.maintenance.promote()

    async def reroute(self) -> object:
        await self.submit()
        held = (await self.claim()).claims
        for one in held:
            await self._store.reroute(
                Reroute(one, OTHER, CallReport.FAILED, retry_after_ms=None, candidates=GATES, spent=None)
            )
        await self._store.report(OTHER, CallReport.OK)
        return held

    async def report(self) -> None:
        await self._store.report(GATES[2], CallReport.LIMITED, retry_after_ms=3_600_000)

    def named(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """All of them; a name begins with its script's."""
        return {
            "submit": self.submit, "claim, a job of a gate with room": self.claim,
            "claim, 50 jobs that are throttled": self.throttle, "claim, a gate that has room again": self.let_go,
            "promote, nothing due": self._store.maintenance.promote, "promote, 50 overdue": self.overdue,
            "reroute to blocked gates": self.reroute, "report": self.report,
        }  # fmt: skip


async def durations(counts: tuple[int, ...], calls: int) -> dict[int, dict[str, Spread]]:
    """By number of throttled jobs and kind of call: ms that its scripts took, of all calls the shortest and longest."""
    found: dict[int, dict[str, Spread]] = {}
    for count in counts:
        with fresh_server() as probe:
            settings = StoreSettings(redis_url=probe.url, lease_seconds=3600.0, timeout_seconds=60.0)
            async with open_store(settings, client_name="growth", routing=_routing()) as store:
                await _fill(store, count)
                found[count] = {}
                for name, step in _Steps(store).named().items():
                    verb = name.split()[0].rstrip(",")
                    times = [await _timed(step, verb, probe.slowest) for _ in range(calls)]
                    found[count][name] = Spread.of(times)
    return found


async def _timed(step: Callable[[], Awaitable[object]], verb: str, slowest: Callable[[str], float]) -> float:
    """The longest call of one script within a step, in ms."""
    slowest("")
    await step()
    return slowest(scripts.load(verb).sha)
