"""Refusals of callers as counts: one entry for each organisation and day, beside the audit trail, so that a flood of
them crowds out no change. `AuditTrail` reads both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from shared.store.engine.calls import ScriptCalls
from shared.store.engine.items import RefusalsItem
from shared.store.keys import OPERATORS, encode_id

TRAIL_LENGTH: Final = 20_000
"""Entries that are kept, about: older ones go."""

PIECE: Final = 100
"""Organisations that one call should name, at most."""


class RefusalTrail:
    """Of one store."""

    def __init__(self, calls: ScriptCalls) -> None:
        self._calls = calls

    async def add(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Add counts by organisation (`*`: operators) and by the name of the problem. What cannot be added to one of
        them is lost. May raise StoreUnavailable."""
        items = [_item(organization, kinds) for organization, kinds in counts.items()]
        await self._calls.administer("note_refusals", items, trail_length=TRAIL_LENGTH)


def digest_of(organization_id: str) -> str:
    """The mark of an organisation that was deleted, without its name."""
    return hashlib.sha256(organization_id.encode()).hexdigest()[:32]


def _item(organization: str, kinds: Mapping[str, int]) -> RefusalsItem:
    encoded = organization if organization == OPERATORS else encode_id(organization)
    words = " ".join(f"{kind} {count}" for kind, count in kinds.items())
    return RefusalsItem(encoded, digest_of(organization), words)
