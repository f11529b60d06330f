"""Requests that a client repeats by itself, without an idempotency key: each finds the job that the first one made.

Kept among the idempotency keys, under a name that no client's key can have. It is written before the job, so that a
repeat of a request that was never answered finds it too; a repeat submits the job under the same id.
"""

from __future__ import annotations

from typing import Final

from shared.store.engine.calls import Reads
from shared.store.keys import Keys

KEPT_MS: Final = 600_000
"""Time for which a request counts as the same one, in ms: longer than any client goes on repeating."""

_UNPRINTED: Final = "-"


class Repeats:
    """Of one store. Every method may raise StoreUnavailable."""

    def __init__(self, reads: Reads, keys: Keys) -> None:
        self._reads = reads
        self._keys = keys

    async def first(self, organization_id: str, digest: str, job_id: str) -> None:
        """Remember the job of a request. `digest`: of the caller and the body."""
        await self._reads.execute("SET", self._key(organization_id, digest), f"{job_id} {_UNPRINTED}", "PX", KEPT_MS)

    async def job_of(self, organization_id: str, digest: str) -> str | None:
        """The id of the job of an earlier request like this."""
        found = await self._reads.execute("GET", self._key(organization_id, digest))
        return None if found is None else str(found.decode("ascii", "replace")).partition(" ")[0]

    def _key(self, organization_id: str, digest: str) -> str:
        return self._keys.prefix("idem") + self._keys.idempotency(organization_id, f"\0repeat {digest}")
