"""Does tasks, a redrive or a discard of many failed jobs, one after the other. Any worker takes the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import structlog

from services.worker.execution.attempt import TRANSIENT
from services.worker.loops.erasure import ErasureRun
from services.worker.loops.task_run import TaskRun
from shared.errors import LeaseLost
from shared.store.job_store import JobStore

RETRY_S: Final = 1.0
POLL_S: Final = 60.0
FRUGAL_POLL_S: Final = 3600.0
"""Longest time between two checks for a task, in s; the second where every command is billed. Workers are notified of
new ones."""

_log: Final = structlog.get_logger(__name__)


class Tasks:
    """Task loop of one worker."""

    def __init__(self, store: JobStore, name: str, notified: Callable[[], Awaitable[None]]) -> None:
        """`notified`: called before each check for tasks: the channel also says that operators settled something."""
        self._store = store
        self._name = name
        self._notified = notified
        self._lease_s = store.settings.lease_seconds
        self._poll_s = FRUGAL_POLL_S if store.settings.frugal else POLL_S

    async def run(self) -> None:
        """Do the tasks there are, at the start and when one is accepted; those of a lost worker within a lease."""
        async with self._store.subscriber.listen(self._store.tasks.channel, patient=True) as accepted:
            while True:
                try:
                    await self._notified()
                    some_are_held = await self._do_all()
                except TRANSIENT:
                    await anyio.sleep(RETRY_S)
                    continue
                await accepted.wait(self._lease_s if some_are_held else self._poll_s)

    async def _do_all(self) -> bool:
        """Do every task that can be taken; answers whether there are others, which other workers hold."""
        while await self._store.tasks.waiting():
            task = await self._store.tasks.take(self._name)
            if task is None:
                return True

            kind = ErasureRun if task.plan.kind == "erase" else TaskRun
            run = kind(self._store, task, self._name)
            _log.info("task_taken", task=task.id, kind=task.plan.kind, jobs=task.count, done=task.done)

            try:
                await run.run()
            except LeaseLost:
                _log.warning("task_lost", task=task.id)
            else:
                _log.info("task_done", task=task.id)
        return False
