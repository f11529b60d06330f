"""Reads the life-cycle events of an organisation's jobs; never writes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared.store.connection.multiplexer import Transport
from shared.store.keys import Keys

ORGANIZATION_LENGTH: Final = 1000
"""Number of events that an organisation's log is trimmed to (`announce.lua`): a log of that length may have lost its
beginning."""


class OrganizationEvent(msgspec.Struct, frozen=True):
    """One life-cycle event of an organisation; `id` is its place in the organisation's log."""

    id: str
    job_id: str
    kind: str
    event_id: str


class OrganizationPage(msgspec.Struct, frozen=True):
    """Events after a cursor, in order; `gap`: the cursor is no longer in the log."""

    events: list[OrganizationEvent]
    cursor: str
    gap: bool


class OrganizationLog:
    """Reader of the organisations' logs of one shard. Methods may raise StoreUnavailable."""

    def __init__(self, transport: Transport, keys: Keys) -> None:
        self._transport = transport
        self._keys = keys

    async def newest(self, organization_id: str) -> str:
        """The id of the newest event; 0-0: there is none."""
        newest = await self._transport.execute(
            "XREVRANGE", self._keys.organization(organization_id), "+", "-", "COUNT", 1
        )
        return newest[0][0].decode() if newest else "0-0"

    async def follow(self, organization_id: str, cursor: str) -> OrganizationPage:
        """Events after `cursor` in one command, at most 1,000 of them; a gap when it is no longer in the log."""
        key = self._keys.organization(organization_id)
        found = await self._transport.execute("XRANGE", key, cursor, "+", "COUNT", ORGANIZATION_LENGTH + 1)
        if cursor == "0-0":
            # A log of that length may have lost its beginning.
            kept, gap = found, len(found) >= ORGANIZATION_LENGTH
        else:
            kept, gap = found[1:], not found or found[0][0].decode() != cursor
        events = [] if gap else [_event(entry_id, flat) for entry_id, flat in kept]
        return OrganizationPage(events, events[-1].id if events else cursor, gap=gap)

    async def read(self, organization_id: str, cursor: str | None) -> OrganizationPage:
        """Events after `cursor` (None: from now on), at most 1,000 of them; a gap goes on from the newest."""
        if cursor is None:
            return OrganizationPage([], await self.newest(organization_id), gap=False)
        page = await self.follow(organization_id, cursor)
        return OrganizationPage([], await self.newest(organization_id), gap=True) if page.gap else page


def _event(entry_id: bytes, flat: list[Any]) -> OrganizationEvent:
    values = {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
    return OrganizationEvent(entry_id.decode(), values["job"], values["kind"], values["event"])
