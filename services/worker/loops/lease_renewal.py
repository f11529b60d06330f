"""Renews the leases of this worker's attempts, and stops attempts whose leases are gone."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Final

import anyio
import structlog

from services.worker.execution.attempt import TRANSIENT, Attempt, StopReason
from services.worker.execution.pool import Pool
from services.worker.loops.recovery import Recovery
from services.worker.loops.registration import Registration
from services.worker.loops.server_watch import ServerWatch
from services.worker.loops.supervision import Heartbeat
from shared.store.job_store import JobStore
from shared.store.results import Renewed

RECONNECT_SECONDS: Final = 2.0
"""A server that comes back exactly after two leases is still met in time: connecting takes a moment."""

RETRY_S: Final = 0.25
"""A renewal that failed is repeated within this, or an eighth of a lease: before others take a second answer."""

_log: Final = structlog.get_logger(__name__)


def leases_expired(unrenewed_s: float, lease_s: float) -> bool:
    """Whether leases that were last renewed so many seconds ago are gone, however late the answer to a renewal was."""
    return unrenewed_s > (2 + 1 / 3) * lease_s + RECONNECT_SECONDS


class LeaseRenewal:
    """Renewal loop of one worker; while it holds leases, it also keeps `recovery` at work."""

    def __init__(
        self,
        store: JobStore,
        name: str,
        pool: Pool,
        watch: ServerWatch,
        recovery: Recovery,
        *,
        registration: Registration,
    ) -> None:
        self._store = store
        self._name = name
        self._pool = pool
        self._watch = watch
        self._recovery = recovery
        self._registration = registration
        self._lease_s = store.settings.lease_seconds
        self._renewed_at = time.monotonic()
        self.heartbeat = Heartbeat()

    async def run(self) -> None:
        """Renew all leases every third of a lease; after two leases without a renewal, stop paying."""
        period_s = self._lease_s / 3
        due = time.monotonic() + period_s
        while True:
            await anyio.sleep(max(due - time.monotonic(), 0))
            now = time.monotonic()
            self.heartbeat.beat(period_s)
            self._watch.timer_fired(due, now)

            due = now + period_s
            if attempts := self._pool.attempts:
                self._recovery.resume()
                if not await self._renew(attempts, now):
                    longest = min(RETRY_S, self._lease_s / 8)
                    due = time.monotonic() + random.uniform(longest / 5, longest)  # noqa: S311 - jitter
            else:
                self._renewed_at = now

    async def _renew(self, attempts: Sequence[Attempt], now: float) -> bool:
        """Renew the leases of these attempts, in one call; False when Redis refused it for now."""
        try:
            renewed = await self._store.renew(self._name, [attempt.claim for attempt in attempts])
        except BaseException as error:
            self._failed(len(attempts))
            if isinstance(error, TRANSIENT):
                return False
            raise

        self._renewed_at = time.monotonic()
        self._watch.answered(now, self._renewed_at, renewed.server_ms, self._store.generation)
        _stop_attempts(attempts, renewed)
        await self._registration.renewed(renewed)
        return True

    def _failed(self, leases: int) -> None:
        now = time.monotonic()
        self._watch.restart(now)
        if leases_expired(now - self._renewed_at, self._lease_s):
            _log.error("leases_expired", jobs=leases)
            self._pool.stop_all(StopReason.LEASE_LOST)


def _stop_attempts(attempts: Sequence[Attempt], renewed: Renewed) -> None:
    for attempt in attempts:
        if attempt.claim.token in renewed.lost:
            attempt.signal.stop(StopReason.LEASE_LOST)
        elif attempt.claim.job_id in renewed.cancelled:
            attempt.signal.stop(StopReason.CANCELLED)
