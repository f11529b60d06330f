"""Registers this worker for operators, and obeys their orders to drain."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

import structlog

from services.worker.execution.attempt import TRANSIENT
from services.worker.execution.pool import Pool
from shared.store.job_store import JobStore
from shared.store.results import Renewed
from shared.store.routing import GateLimits
from shared.store.workers import WorkerEntry
from shared.version import VERSION

HOST_MAX: Final = 255

_log: Final = structlog.get_logger(__name__)


class Registration:
    """Entry and orders of one worker. A worker that drains claims nothing, and stays up, ready and idle."""

    def __init__(self, store: JobStore, name: str, pool: Pool, slots: int, limits: tuple[GateLimits, ...] = ()) -> None:
        self._store = store
        self._name = name
        self._pool = pool
        host = socket.gethostname()[:HOST_MAX]
        self._entry = WorkerEntry(host=host, release=VERSION, slots=slots, limits=limits)
        self._registered = False

    async def look(self) -> None:
        """Look for an order and register. On a full or absent server the next look does it."""
        with contextlib.suppress(*TRANSIENT):
            if self._registered:  # a new name has no orders
                self._obey(await self._store.workers.ordered(self._name))
            await self._register()

    async def look_at_times(self) -> None:
        """The same, but not again by a worker that is not drained, where commands are billed: it is notified, and its
        renewals look."""
        if not (self._store.settings.frugal and self._registered) or self._pool.drained:
            await self.look()

    async def renewed(self, renewed: Renewed) -> None:
        """Note the answer to a renewal: it has the order, and whether the entry was lost."""
        self._obey(renewed.drain)
        if not renewed.registered:
            with contextlib.suppress(*TRANSIENT):
                await self._register()

    async def _register(self) -> None:
        await self._store.workers.register(self._name, self._entry)
        self._registered = True

    def _obey(self, drain: bool) -> None:
        if drain != self._pool.drained:
            self._pool.drained = drain
            _log.info("worker_drained" if drain else "worker_resumed", jobs=len(self._pool.attempts))
