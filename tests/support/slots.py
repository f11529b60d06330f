"""Slots of a worker whose jobs end one by one."""

from __future__ import annotations

from collections import Counter, deque

from shared.job import Claim
from shared.store.job_store import JobStore
from tests.support.store import claim, complete


class Slots:
    """Slots of one worker, whose jobs all take the same time: the first that started is the first to end."""

    def __init__(self, store: JobStore, slots: int) -> None:
        self._store = store
        self._slots = slots
        self.running: deque[Claim] = deque()
        self.starts: list[str] = []

    async def fill(self) -> None:
        """Claim for the slots that are free."""
        free = self._slots - len(self.running)
        for held in await claim(self._store, free, poll=False) if free else []:
            self.running.append(held)
            self.starts.append(held.spec.organization_id)

    async def run(self, starts: int) -> Counter[str]:
        """Let jobs end one by one until so many more have started; their organisations in order."""
        before = len(self.starts)
        await self.fill()
        while len(self.starts) - before < starts and self.running:
            await complete(self._store, self.running.popleft())
            await self.fill()
        return Counter(self.starts[before : before + starts])
