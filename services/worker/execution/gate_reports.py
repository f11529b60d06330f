"""What this worker knows of the fleet's gates, and what it tells them. The gates themselves stand in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from services.worker.execution.attempt import PASSING
from services.worker.execution.retry_policy import wish_ms
from services.worker.providers import Action, ProviderError
from shared.errors import StoreRejected
from shared.store.job_store import JobStore
from shared.store.results import CallReport
from shared.store.routing import Routing
from shared.telemetry.causes import cause_of

_log: Final = structlog.get_logger(__name__)

_REPORTS: Final[Mapping[Action, CallReport]] = {
    Action.WAIT: CallReport.LIMITED,
    Action.RETRY: CallReport.FAILED,
    Action.FALLBACK: CallReport.REFUSED,
}


def report_of(error: ProviderError) -> CallReport:
    """What a failed call says of its provider; NONE when nobody else is to be asked either."""
    if error.answered:
        return CallReport.OK
    return _REPORTS.get(error.action, CallReport.NONE)


class Gates:
    """`doubted` after a claim told which gates failed lately; reports go out beside the jobs and may get lost: a gate
    that misses one asks again."""

    def __init__(self, store: JobStore, routing: Routing) -> None:
        self._store = store
        self.chain = routing.chain
        self._limits = {row.gate: row for row in routing.limits}
        self._doubtful: frozenset[str] = frozenset()
        self._reporting: set[asyncio.Task[None]] = set()

    def gated(self, gate: str) -> bool:
        """Whether calls share limits with the fleet."""
        return gate in self._limits

    def doubted(self, gates: frozenset[str]) -> None:
        """These gates count failures: they want to hear of a call that is answered."""
        self._doubtful = gates

    def answered(self, gate: str) -> None:
        """A call of this gate got its first token."""
        if gate in self._doubtful:
            self._doubtful -= {gate}
            self._tell(gate, CallReport.OK)

    def failed(self, gate: str, error: ProviderError) -> None:
        """A call failed after its first token."""
        if self.gated(gate) and error.action is Action.WAIT:
            self._tell(gate, CallReport.LIMITED, retry_after_ms=wish_ms(error))

    def used(self, gate: str, *, reserved: int, tokens: int) -> None:
        """A call ended that had reserved some tokens and used others."""
        limits = self._limits.get(gate)
        if limits is not None and limits.tokens_per_minute and tokens != reserved:
            self._tell(gate, CallReport.NONE, tokens=tokens - reserved)

    def _tell(self, gate: str, report: CallReport, *, retry_after_ms: int | None = None, tokens: int = 0) -> None:
        async def tell() -> None:
            try:
                await self._store.report(gate, report, retry_after_ms=retry_after_ms, tokens=tokens)
            except (*PASSING, StoreRejected):
                pass
            except Exception as error:  # a report may get lost, but not in silence
                _log.error("gate_report_failed", cause=cause_of(error))

        task = asyncio.create_task(tell())
        self._reporting.add(task)
        task.add_done_callback(self._reporting.discard)
