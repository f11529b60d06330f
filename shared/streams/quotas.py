"""Limits on streams of single organisations: their own setting, else the fleet's, as this process knows them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from shared.errors import StoreUnavailable
from shared.store.job_store import JobStore

FRESH_S: Final = 5.0
FRUGAL_FRESH_S: Final = 60.0
"""Time for which a setting is trusted without asking again; the second where every command is billed."""

KNOWN_MAX: Final = 10_000
"""Organisations that are known at once: those asked for last."""


class StreamQuotas:
    """Of one process. Called with an organisation's id it answers what it knows: 0 is no limit."""

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
