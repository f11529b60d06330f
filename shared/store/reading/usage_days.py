"""Reads an organisation's usage, a day at a time: however much it is, in calls that block no other client for long."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from shared.store.engine.calls import Reads, ScriptCalls, check_item
from shared.store.engine.items import DayItem
from shared.store.keys import Keys, decode_id, encode_id
from shared.store.reading.usage import UsageRow, add_lines, packed_sums, parse_day, rows_of
from shared.yielding import Yields

DAYS_PER_CALL: Final = 31
"""Days one script call reads: one or two commands each, and the ledger's lines, at most 511."""

FIELDS_PER_CALL: Final = 2000
"""Fields one script call reads at most: about 2 ms of the server, and as much of this process."""

FIELDS_PER_PIECE: Final = 500
"""The same of a day that has more fields than that. The ledger makes no such day any more (`FIELDS_MAX` there)."""

ROWS_MAX: Final = 1000
"""Projects and models of such a day that are listed on their own: those with the most jobs."""

TRIES: Final = 3
"""A day read in pieces is read again when the ledger was folded meanwhile, which moves lines from one half of it to the
other. Past days do not change."""

OTHER: Final = b"other"
"""The project under which the rest is summed up."""


class UsageDays:
    """Usage of one store. Methods may raise StoreUnavailable, and StoreRejected where a day is damaged."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys

    async def read(self, organization_id: str, first_day: int, last_day: int) -> AsyncIterator[list[UsageRow]]:
        """The rows of each day that has any, from `first_day` to `last_day` (days since the epoch, Redis's clock); of
        one day by project and model, at most `FIELDS_PER_CALL` and 511."""
        day, yields = first_day, Yields()
        while day <= last_day:
            for reply in await self._call(organization_id, range(day, min(day + DAYS_PER_CALL, last_day + 1))):
                if reply == b"LATER":
                    break
                if isinstance(reply[0], int):
                    rows = await self._read_large(organization_id, day, reply[1], yields)
                else:
                    rows = parse_day(day, *reply)
                if rows:
                    yield rows
                day += 1
                await yields.give()

    async def organizations(self, first_day: int) -> list[str]:
        """The organisations that may have usage from that day on, in the order of their ids."""
        # The ledger first: what is folded in between is in the index afterwards.
        lines = await self._reads.execute("LRANGE", self._keys.fixed("ledger"), 0, -1)
        indexed = await self._reads.execute("ZRANGEBYSCORE", self._keys.fixed("usage_organizations"), first_day, "+inf")
        recent = {words[2] for line in lines if len(words := line.split(b" ", 3)) > 3}
        return sorted(decode_id(one.decode("utf-8", "replace")) for one in recent.union(indexed) if one != b"*")

    async def _call(self, organization_id: str, days: range) -> Sequence[Any]:
        replies: Sequence[Any] = await self._calls.run(
            "usage", [DayItem(day) for day in days], organization=encode_id(organization_id), fields_max=FIELDS_PER_CALL
        )
        for reply in replies:
            check_item(reply)
        return replies

    async def _read_large(
        self, organization_id: str, day: int, lines: Sequence[bytes], yields: Yields
    ) -> list[UsageRow]:
        sums: dict[bytes, list[int]] = {}
        for _ in range(TRIES):
            sums = await self._scan(self._keys.usage(organization_id, day), yields)
            (again,) = await self._call(organization_id, range(day, day + 1))
            before, lines = lines, again[1]
            if list(lines[: len(before)]) == list(before):
                break
        add_lines(sums, lines)
        return rows_of(day, await _with_others(sums, yields))

    async def _scan(self, key: str, yields: Yields) -> dict[bytes, list[int]]:
        sums: dict[bytes, list[int]] = {}
        cursor = b"0"
        while True:
            cursor, found = await self._reads.execute("HSCAN", key, cursor, "COUNT", FIELDS_PER_PIECE)
            sums |= packed_sums(found)
            await yields.give()
            if int(cursor) == 0:
                return sums


async def _with_others(sums: dict[bytes, list[int]], yields: Yields) -> dict[bytes, list[int]]:
    kept = dict(heapq.nlargest(ROWS_MAX, sums.items(), key=lambda item: item[1][0]))
    for field, numbers in sums.items():
        if field in kept:
            continue
        total = kept.setdefault(OTHER + field[field.index(b" ") :], [0] * len(numbers))
        for i, number in enumerate(numbers):
            total[i] += number
        await yields.give()
    return kept
