"""Fair shares of organisations among the streams of a process: the limit of each, and a round robin of all of them."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from shared.errors import StoreUnavailable
from shared.store.job_store import JobStore

FRESH_S: Final = 5.0
FRUGAL_FRESH_S: Final = 60.0
"""Time for which a setting is trusted without asking again; the second where every command is billed."""

KNOWN_MAX: Final = 10_000
"""Organisations that are known at once: those asked for last."""

AT_ONCE: Final = 32
"""Streams that go on in one iteration of the event loop: their reads leave in one write. Chosen, not measured."""


class StreamQuotas:
    """Limits on streams of single organisations: their own setting, else the fleet's, as this process knows them.

    Called with an organisation's id it answers with what it knows: 0 is no limit.
    """

    def __init__(self, store: JobStore, default: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._default = default
        self._clock = clock
        self._fresh_s = FRUGAL_FRESH_S if store.settings.frugal else FRESH_S
        self._known: OrderedDict[str, tuple[int | None, float]] = OrderedDict()

    def __call__(self, organization_id: str) -> int:
        """The limit, as it was read last."""
        own, _ = self._known.get(organization_id, (None, 0.0))
        return self._default if own is None else own

    async def read(self, organization_id: str) -> None:
        """Read it, unless it is known well enough. While Redis is away the last one holds."""
        now = self._clock()
        _, read_at = self._known.get(organization_id, (None, -self._fresh_s))
        if now - read_at < self._fresh_s:
            return

        try:
            own = await self._store.organizations.streams(organization_id)
        except StoreUnavailable:
            return
        self._known[organization_id] = own, now
        self._known.move_to_end(organization_id)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)


class RoundRobin:
    """Lets `at_once` streams go on in each iteration of the event loop; if more want to, of each organisation in turn.

    One with a thousand streams delays no other's one.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._left = at_once
        self._counting = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def wait(self, organization_id: str) -> None:
        """Return when this stream may go on: at once while there are few."""
        self._count()
        if self._left > 0:
            self._left -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(organization_id, deque()).append(waiter)
        await waiter

    def _count(self) -> None:
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._next_iteration)

    def _next_iteration(self) -> None:
        self._counting = False
        self._left = self._at_once
        while self._left > 0 and self._waiting:
            self._release_one()
        if self._waiting:
            self._count()

    def _release_one(self) -> None:
        """The first stream of the organisation that was passed over for longest."""
        organization_id, waiters = self._waiting.popitem(last=False)
        waiter = waiters.popleft()
        if not waiter.done():  # its stream is still there
            waiter.set_result(None)
            self._left -= 1
        if waiters:
            self._waiting[organization_id] = waiters
