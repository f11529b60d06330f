"""The runs of one worker: how many slots are free, which leases are held, and who is told to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from services.worker.execution.attempt import DRAIN_GRACE_S, Ending, Run, Stop, StopSignal, step_s
from services.worker.execution.attempt_runner import Runner
from services.worker.execution.settlement import Settlement
from shared.job import Claim
from shared.telemetry.causes import cause_of
from shared.telemetry.metrics import WorkerMetrics

LOOK_SECONDS: Final = 0.1
"""How often runs are looked at, so how much later than it is due a time-out may come. One timer for all of them: two
timers of its own cost a job 2 us."""


SUSPECTS_PART: Final = 8
"""One slot of so many may hold a suspect."""


class Pool:
    """`slots` jobs run at once. A slot is free when its job's text is done; ends not yet confirmed by Redis are
    bounded by as many again.

    A run's task is not trusted to end (I12): a timer cuts what takes too long, takes the run from a task that does not
    let itself be cut, and settles the job without it.
    """

    def __init__(self, runner: Runner, settlement: Settlement, slots: int, metrics: WorkerMetrics) -> None:
        self._runner = runner
        self._settlement = settlement
        self._slots = slots
        self._metrics = metrics
        self._grace_s = step_s(settlement.store.settings.lease_seconds)
        self._runs: dict[str, Run] = {}
        self._executing: set[str] = set()
        self._suspects: dict[str, Claim] = {}
        self._clearing = False
        self._changed = asyncio.Event()
        self._looking: asyncio.TimerHandle | None = None
        self._looked_at = 0.0
        self._stuck: dict[asyncio.Task[None], float] = {}
        metrics.slots.set(slots)
        metrics.busy.set_function(lambda: len(self._executing))  # asked at a scrape, not told twice in each job
        metrics.stuck.set_function(lambda: len(self._stuck))

    @property
    def free(self) -> int:
        """How many jobs may be claimed now: none beside one that must run alone, and while it is made room for."""
        if (self._clearing and self._runs) or (
            self._suspects and any(claim.isolated for claim in self._held_suspects())
        ):
            return 0
        return min(self._slots - len(self._executing), 2 * self._slots - len(self._runs))

    @property
    def half(self) -> int:
        """Half of all slots, at least one."""
        return max(self._slots // 2, 1)

    @property
    def runs(self) -> list[Run]:
        """All runs whose lease is held, those that wait for their end to be confirmed too."""
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

    def healthy(self, patience_s: float) -> bool:
        """False when runs are not looked after, or tasks live on that long although their jobs were taken from them."""
        now = time.monotonic()
        looked = self._looking is None or now - self._looked_at <= patience_s
        return looked and all(now - since <= patience_s for since in self._stuck.values())

    @property
    def stuck(self) -> list[asyncio.Task[None]]:
        """Tasks that do not end. Each holds what its job held, and may still be paying for it."""
        return list(self._stuck)

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
        runs = [Run(claim, now, self._grace_s) for claim in claims if claim.token not in self._runs]
        for run in runs:
            self._runs[run.claim.token] = run
            self._executing.add(run.claim.token)
            if run.claim.suspect:
                self._suspects[run.claim.token] = run.claim
        loop.call_soon(loop.call_soon, self._begin, runs)
        if self._looking is None:
            self._looked_at = now
            self._looking = loop.call_later(LOOK_SECONDS, self._look)
        for run in runs:
            self._metrics.wait.observe(max(run.claim.started_ms - run.claim.ready_ms, 0) / 1000)

    def _begin(self, runs: Sequence[Run]) -> None:
        for run in runs:
            run.task = run.signal.owner = asyncio.create_task(self._work(run))

    async def _work(self, run: Run) -> None:
        signal = run.signal
        made = await self._runner.call(run)
        self._vacate(run)
        if not signal.revoked:
            ending = await self._runner.decide(run, made)
        if not signal.revoked:
            run.ending = ending
            await self._end(run, ending)

    async def _end(self, run: Run, ending: Ending | None) -> None:
        signal = run.signal
        await self._settlement.settle(run, ending)
        if not signal.revoked:
            self._forget(run)
            if run.claim.suspect:
                await self._settlement.offer_suspects()

    # ---- the watch over all of it -------------------------------------------------------------------------------

    def _look(self) -> None:
        loop, self._looked_at = asyncio.get_running_loop(), time.monotonic()
        # First of all: nothing that follows may end the watch. Nobody is woken for an idle worker.
        self._looking = loop.call_later(LOOK_SECONDS, self._look) if self._runs else None
        for run in self.runs:
            try:
                self._look_at(run, self._looked_at)
            except Exception as error:  # one run must not cost the others their time-outs
                self._drop(run, cause_of(error))

    def _look_at(self, run: Run, now: float) -> None:
        if run.task is not None and run.task.done():
            error = None if run.task.cancelled() else run.task.exception()
            self._drop(run, "no end" if error is None else cause_of(error))
        elif run.signal.look(now):
            self._take(run, now)

    def _take(self, run: Run, now: float) -> None:
        """The task of a run does not end: settle its job without it, the slot is free."""
        self._vacate(run)
        if run.task is not None:
            self._leave(run.task, now)
        if run.taken:
            self._drop(run, "settling it hangs")
            return
        ending = run.ending or self._runner.take(run)
        run.signal.revoke()
        run.taken, run.signal = True, StopSignal(now + self._grace_s, self._grace_s)
        run.task = run.signal.owner = asyncio.create_task(self._end(run, ending))

    def _leave(self, task: asyncio.Task[None], now: float) -> None:
        self._stuck[task] = now
        task.add_done_callback(lambda done: self._stuck.pop(done, None))
        task.cancel()

    def _drop(self, run: Run, cause: str) -> None:
        """Nothing can be written of this run: its lease runs out, another worker, or this one, takes the job over."""
        run.signal.revoke()
        self._vacate(run)
        self._forget(run)
        self._settlement.left(run, "attempt_left_to_its_lease", cause=cause)

    def _vacate(self, run: Run) -> None:
        if run.claim.token in self._executing:
            self._executing.discard(run.claim.token)
            self._changed.set()

    def _forget(self, run: Run) -> None:
        """The run's lease is no longer ours to hold."""
        if self._runs.get(run.claim.token) is run:
            del self._runs[run.claim.token]
            self._changed.set()

    # ---- told from outside --------------------------------------------------------------------------------------

    def halt_all(self, why: Stop) -> None:
        """Stop every run."""
        for run in self.runs:
            run.halt(why)

    def halt_job(self, job_id: str, why: Stop) -> None:
        """Stop the run of one job, if it is here."""
        for run in self.runs:
            if run.claim.job_id == job_id:
                run.halt(why)

    async def close(self) -> None:
        """Write nothing more: what still runs is left to its lease."""
        now = time.monotonic()
        for run in self.runs:
            run.signal.revoke()
            self._vacate(run)
            self._forget(run)
            if run.task is not None:
                self._leave(run.task, now)
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if self._stuck:
            await asyncio.wait(self._stuck, timeout=DRAIN_GRACE_S)
