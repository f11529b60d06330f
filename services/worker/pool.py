"""The runs of one worker: how many slots are free, which leases are held, and who is told to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from services.worker.run import Run, Stop
from services.worker.runner import Runner
from services.worker.settlement import Settlement
from shared.job import Claim
from shared.telemetry.metrics import WorkerMetrics

LOOK_SECONDS: Final = 0.1
"""How often runs are looked at, so how much later than it is due a time-out may come. One timer for all of them: two
timers of its own cost a job 2 us."""


SUSPECTS_PART: Final = 8
"""One slot of so many may hold a suspect."""


class Pool:
    """`slots` jobs run at once. A slot is free when its job's text is done; ends not yet confirmed by Redis are
    bounded by as many again."""

    def __init__(self, runner: Runner, settlement: Settlement, slots: int, metrics: WorkerMetrics) -> None:
        self._runner = runner
        self._settlement = settlement
        self._slots = slots
        self._metrics = metrics
        self._runs: dict[str, Run] = {}
        self._executing = 0
        self._suspects: dict[str, Claim] = {}
        self._clearing = False
        self._changed = asyncio.Event()
        self._looking: asyncio.TimerHandle | None = None
        self._ending_stuck: set[asyncio.Task[None]] = set()
        metrics.slots.set(slots)
        metrics.busy.set_function(lambda: self._executing)  # asked at a scrape, not told twice in each job

    @property
    def free(self) -> int:
        """How many jobs may be claimed now: none beside one that must run alone, and while it is made room for."""
        if (self._clearing and self._runs) or any(claim.isolated for claim in self._held_suspects()):
            return 0
        return min(self._slots - self._executing, 2 * self._slots - len(self._runs))

    @property
    def half(self) -> int:
        """Half of all slots, at least one."""
        return max(self._slots // 2, 1)

    @property
    def runs(self) -> list[Run]:
        """All runs, those that wait for their end to be confirmed too."""
        return list(self._runs.values())

    @property
    def holds_suspect(self) -> bool:
        """Whether a job that lost two workers before is among them."""
        return bool(self._held_suspects())

    @property
    def suspects_room(self) -> int:
        """How many more suspects may run here: they take an eighth of the slots at most, one at least."""
        return max(max(self._slots // SUSPECTS_PART, 1) - len(self._held_suspects()), 0)

    @property
    def clearing(self) -> bool:
        """Whether nothing is claimed until all runs ended: a job waits that must run alone."""
        return self._clearing

    @clearing.setter
    def clearing(self, wanted: bool) -> None:
        if wanted != self._clearing:
            self._clearing = wanted
            self._changed.set()

    def _held_suspects(self) -> Sequence[Claim]:
        # Asked for at each end of a job, and nearly always empty.
        if self._suspects:
            self._suspects = {token: claim for token, claim in self._suspects.items() if token in self._runs}
        return tuple(self._suspects.values())

    async def wait_free(self) -> None:
        """Return when a slot is free."""
        while self.free <= 0:
            self._changed.clear()
            await self._changed.wait()

    async def wait_empty(self) -> None:
        """Return when no run is left."""
        while self._runs:
            self._changed.clear()
            await self._changed.wait()

    def start(self, claims: Sequence[Claim]) -> None:
        """Take a slot for each claim, and run them two turns of the loop later: the next claim, which is made in this
        turn, has left by then, and the server serves it while these run. Else each would wait for the other."""
        now, loop = time.monotonic(), asyncio.get_running_loop()
        runs = [Run(claim, now) for claim in claims if claim.token not in self._runs]
        for run in runs:
            self._runs[run.claim.token] = run
            if run.claim.suspect:
                self._suspects[run.claim.token] = run.claim
            self._metrics.wait.observe(max(run.claim.started_ms - run.claim.ready_ms, 0) / 1000)
        self._executing += len(runs)
        loop.call_soon(loop.call_soon, self._begin, runs)
        if self._looking is None:
            self._looking = loop.call_later(LOOK_SECONDS, self._look)

    def _begin(self, runs: Sequence[Run]) -> None:
        for run in runs:
            run.task = asyncio.create_task(self._work(run))

    def _look(self) -> None:
        now = time.monotonic()
        for run in self.runs:
            run.look(now)
        # Nobody is woken for an idle worker.
        self._looking = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look) if self._runs else None

    async def _work(self, run: Run) -> None:
        ending = None
        try:
            ending = await self._runner.execute(run)
        finally:
            self._vacate(run)
        try:
            if ending is not None:
                await self._settlement.settle(run, ending)
        finally:
            self.forget(run)
        if run.claim.suspect:
            await self._settlement.offer_suspects()

    def _vacate(self, run: Run) -> None:
        if run.has_slot:
            run.has_slot = False
            self._executing -= 1
            self._changed.set()

    def end_stuck(self, run: Run) -> None:
        """End the job of a run whose provider ignores its time-out: the slot is free, what it still does is lost."""
        self._vacate(run)
        task = asyncio.create_task(self._end_stuck(run))
        self._ending_stuck.add(task)
        task.add_done_callback(self._ending_stuck.discard)

    async def _end_stuck(self, run: Run) -> None:
        try:
            await self._settlement.settle_stuck(run)
        finally:
            run.halt(Stop.LOST)
            self.forget(run)

    def forget(self, run: Run) -> None:
        """The run's lease is no longer ours to hold."""
        # It leads back to the run: prompt and text of each job would stay until the collector of cycles comes.
        run.close_log = None
        if self._runs.pop(run.claim.token, None) is not None:
            self._changed.set()

    def halt_all(self, why: Stop) -> None:
        """Stop every run."""
        for run in self.runs:
            run.halt(why)

    def halt_job(self, job_id: str, why: Stop) -> None:
        """Stop the run of one job, if it is here."""
        for run in self.runs:
            if run.claim.job_id == job_id:
                run.halt(why)
