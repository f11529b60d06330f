"""The secrets that sign event tickets, where no setting holds them: made by the gateway, read by the notifier.

`ticket_secrets` holds up to two, the newest first: that one signs, both are valid.
"""

from __future__ import annotations

import secrets

from shared.errors import StoreUnavailable
from shared.store.engine.calls import Reads
from shared.store.keys import Keys


class TicketSecrets:
    """Of one store. Every method may raise StoreUnavailable."""

    def __init__(self, reads: Reads, keys: Keys) -> None:
        self._reads = reads
        self._key = keys.fixed("ticket_secrets")

    async def read(self) -> list[str]:
        """The secrets, the newest first; none: no gateway has made one yet."""
        found = await self._reads.execute("GET", self._key)
        try:
            return [] if found is None else str(found.decode()).split()
        except UnicodeDecodeError:
            raise StoreUnavailable("the secrets of tickets are damaged") from None

    async def make(self) -> list[str]:
        """The secrets; one is made when there is none."""
        if not (found := await self.read()):
            await self._reads.execute("SET", self._key, secrets.token_urlsafe(32), "NX")
            found = await self.read()
        return found

    async def rotate(self) -> None:
        """Sign with a new secret; the one that signed until now stays valid, the one before it does not."""
        found = await self.make()
        await self._reads.execute("SET", self._key, f"{secrets.token_urlsafe(32)} {found[0]}")
