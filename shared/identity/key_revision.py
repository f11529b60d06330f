"""The revision of all API keys, asked for once in a while for all of them: as long as it stays, what is known of a key
is true. So where every command is billed, callers with many keys cost what one costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from shared.errors import StoreUnavailable
from shared.store.api_keys import ApiKeys

UNKNOWN: Final = ""


class Revision(msgspec.Struct, frozen=True):
    """`text`: another one after any key was made, replaced or ended; `UNKNOWN`: it could not be read. `read_at`: when
    that was asked (s)."""

    text: str
    read_at: float


class KeyRevision:
    """Of one process; those who ask at once share one reading."""

    def __init__(self, api_keys: ApiKeys, fresh_s: float, clock: Callable[[], float]) -> None:
        """`fresh_s`: age up to which it is answered again, in s."""
        self._api_keys = api_keys
        self._fresh_s = fresh_s
        self._clock = clock
        self._latest: Revision | None = None
        self._reading: asyncio.Task[Revision] | None = None

    async def latest(self) -> Revision:
        """The revision, of a reading that is young enough."""
        if self._latest is not None and self._clock() - self._latest.read_at < self._fresh_s:
            return self._latest
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(self._clock()), name="key-revision")
        return await asyncio.shield(self._reading)

    async def _read(self, began_at: float) -> Revision:
        try:
            text = await self._api_keys.revision()
        except StoreUnavailable:
            text = UNKNOWN
        finally:
            self._reading = None
        self._latest = Revision(text, began_at)
        return self._latest
