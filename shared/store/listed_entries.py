"""Entries of the streams by organisation, for audits: one names its organisation, but cannot be asked for by it."""

from __future__ import annotations

from typing import Final

from shared.store.engine.calls import Reads
from shared.store.keys import Keys

STREAMS: Final = {"line": "q", "suspect": "s", "isolated": "i"}
"""Names of the streams that are counted, and their letters."""

READ_COUNT: Final = 500

Entry = tuple[bytes, bytes]
"""Its id, and its job's."""


class ListedEntries:
    """All entries up to those that were read last. Some of them may be gone by now."""

    def __init__(self, reads: Reads, keys: Keys) -> None:
        self._reads = reads
        self._keys = keys
        self.after: dict[str, bytes] = dict.fromkeys(STREAMS, b"0-0")
        self._entries: dict[bytes, dict[str, list[Entry]]] = {}

    @property
    def organizations(self) -> set[bytes]:
        """Those that have entries."""
        return set(self._entries)

    def of(self, organization: bytes, stream: str) -> list[Entry]:
        """Those of one, oldest first."""
        return self._entries.get(organization, {}).get(stream, [])

    def count(self, organization: bytes) -> int:
        """Number of them in all streams."""
        return sum(map(len, self._entries.get(organization, {}).values()))

    async def read_on(self) -> None:
        """Read on in each stream from where this left off."""
        for name in STREAMS:
            while True:
                found = await self._reads.execute(
                    "XRANGE", self._keys.fixed(name), b"(" + self.after[name], "+", "COUNT", READ_COUNT
                )
                for entry_id, fields in found:
                    # One of an older release names no organisation, and is not counted.
                    if len(fields) > 3:
                        self._entries.setdefault(fields[3], {}).setdefault(name, []).append((entry_id, fields[1]))

                if found:
                    self.after[name] = found[-1][0]
                if len(found) < READ_COUNT:
                    break
