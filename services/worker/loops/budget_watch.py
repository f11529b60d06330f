"""Reports budgets of which a large part has been spent, and lets gateways know the most that calls cost."""

from __future__ import annotations

from typing import Final

import anyio
import structlog

from services.worker.execution.attempt import TRANSIENT
from services.worker.execution.pool import Pool
from shared.job import NANO
from shared.store.job_store import JobStore
from shared.store.results import BudgetReached
from shared.telemetry.metrics import WorkerMetrics

PAUSE_S: Final = 30.0
FRUGAL_PAUSE_S: Final = 600.0
"""Time between two looks, in s: after that at the latest an operator learns of a budget that is spent."""

_log: Final = structlog.get_logger(__name__)


class BudgetWatch:
    """Budget loop of one worker: it asks nothing while it has run no jobs under a budget."""

    def __init__(self, store: JobStore, pool: Pool, metrics: WorkerMetrics) -> None:
        self._store = store
        self._pool = pool
        self._reached = metrics.budgets_reached
        self._pause_s = FRUGAL_PAUSE_S if store.settings.frugal else PAUSE_S
        self._seen = 0

    async def run(self) -> None:
        """Publish and watch until cancelled."""
        while True:
            try:
                await self._store.maintenance.publish_bounds()
                await self.watch()
            except TRANSIENT:
                pass  # the next iteration repeats it
            await anyio.sleep(self._pause_s)

    async def watch(self) -> None:
        """Look once, if jobs under a budget ran since the look before, or run now."""
        if self._pool.budgeted == self._seen:
            return
        running = sum(attempt.claim.budgeted for attempt in self._pool.attempts)
        for note in await self._store.maintenance.watch_budgets():
            self._report(note)
        # Those that run now are yet to be settled: another look is due after their end.
        self._seen = self._pool.budgeted - bool(running)

    def _report(self, note: BudgetReached) -> None:
        self._reached.labels(note.period, str(note.percent)).inc()
        _log.warning(
            "budget_reached", organization=note.organization_id, project=note.project_id, period=note.period,
            percent=note.percent, spent_usd=note.spent / NANO, budget_usd=note.allowed / NANO,
        )  # fmt: skip
