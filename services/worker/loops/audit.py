"""Repairs damage that no script could have left: one worker of the fleet does it, at its start and then every hour."""

from __future__ import annotations

import random
from typing import Final

import anyio
import structlog

from services.worker.execution.attempt import TRANSIENT
from services.worker.loops.supervision import Heartbeat
from shared.store.job_store import JobStore

PATIENCE_S: Final = 3600.0
"""Time for one audit in s: it reads all records there are, and usually takes a tenth of that."""

RETRY_S: Final = 5.0

_log: Final = structlog.get_logger(__name__)


class Audit:
    """Audit loop of one worker."""

    def __init__(self, store: JobStore, name: str) -> None:
        self._store = store
        self._name = name
        self.heartbeat = Heartbeat()

    async def run(self) -> None:
        """Audit at the start and then as often as the settings say, an hour by default."""
        while True:
            self.heartbeat.beat(PATIENCE_S)
            try:
                audited = await self._store.maintenance.audit(self._name)
            except TRANSIENT:
                await anyio.sleep(RETRY_S)
                continue

            if audited.requeued:
                _log.warning("audit_repaired_jobs", requeued=audited.requeued)
            pause = self._store.settings.audit_seconds * random.uniform(1.0, 1.1)  # noqa: S311 - jitter
            self.heartbeat.beat(pause)
            await anyio.sleep(pause)
