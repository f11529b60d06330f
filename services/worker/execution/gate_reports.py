"""Reports to the fleet's gates how calls of providers ended. The gates themselves are in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from services.worker.execution.attempt import TRANSIENT
from services.worker.execution.recent_calls import RecentCalls
from services.worker.execution.retry_policy import retry_after_ms
from services.worker.providers import Action, ProviderError
from shared.errors import StoreRejected
from shared.job import Claim
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
    """Classify a failed call for its gate; NONE when no other provider may answer either."""
    if error.answered:
        return CallReport.OK
    return _REPORTS.get(error.action, CallReport.NONE)


class GateReports:
    """`chain`: the gates that this worker has. Reports go out beside the jobs and may get lost: a gate that misses one
    asks again. `recent`: notes of calls for those who look at gates."""

    def __init__(self, store: JobStore, routing: Routing) -> None:
        self._store = store
        self.chain = routing.chain
        self.recent = RecentCalls(store)
        self._limits = {row.gate: row for row in routing.limits}
        self._doubtful: frozenset[str] = frozenset()
        self._reporting: set[asyncio.Task[None]] = set()

    def limited(self, gate: str) -> bool:
        """Whether calls share limits with the fleet."""
        return gate in self._limits

    def doubt(self, gates: frozenset[str]) -> None:
        """Note the gates that count failures: the next answered call is reported to them."""
        self._doubtful = gates

    def answered(self, gate: str) -> None:
        """Report a call that got its first token."""
        if gate in self._doubtful:
            self._doubtful -= {gate}
            self._send(gate, CallReport.OK)

    def failed(self, gate: str, error: ProviderError) -> None:
        """Report a call that failed after its first token."""
        if self.limited(gate) and error.action is Action.WAIT:
            self._send(gate, CallReport.LIMITED, retry_after_ms=retry_after_ms(error))

    def used(self, gate: str, claim: Claim, *, reserved: int, tokens: int) -> None:
        """Report a call that had reserved some tokens and used others. Where no limit is, none are reserved."""
        if reserved and tokens != reserved:
            self._send(gate, CallReport.NONE, tokens=tokens - reserved, claim=claim)

    def _send(
        self,
        gate: str,
        report: CallReport,
        *,
        retry_after_ms: int | None = None,
        tokens: int = 0,
        claim: Claim | None = None,
    ) -> None:
        async def send() -> None:
            try:
                await self._store.report(
                    gate, report, retry_after_ms=retry_after_ms, tokens=tokens,
                    organization_id=claim.spec.organization_id if claim else "",
                    token_limit=claim.token_limit if claim else 0,
                )  # fmt: skip
            except (*TRANSIENT, StoreRejected):
                pass
            except Exception as error:  # a report may get lost, but not in silence
                _log.error("gate_report_failed", cause=cause_of(error))

        task = asyncio.create_task(send())
        self._reporting.add(task)
        task.add_done_callback(self._reporting.discard)
