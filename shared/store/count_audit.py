"""The audit of the counts of organisations: some in each call, so that no call keeps the server for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from shared.store.engine.calls import Reads, ScriptCalls
from shared.store.engine.items import CountedItem
from shared.store.keys import Keys
from shared.store.listed_entries import READ_COUNT, STREAMS, ListedEntries
from shared.store.paged_audit import FLEET_QUEUE, PagedAudit

RETENTION: Final = b"!"

CHECKS_MAX: Final = 1_500
"""Entries and throttled jobs that one call checks, at most: several ms. An organisation with more is counted page by
page (`paged_audit.py`)."""

PAGE: Final = 64
"""Organisations in one call, at most."""

PAGE_CHECKS: Final = 400
"""Entries of them that one call is given, unless one organisation alone has more."""


class CountAudit:
    """Corrects kept counts that damage, or a worker of an older release, left wrong. Of each organisation the script
    checks all jobs in one call. Entries of streams name their organisation but cannot be asked for by it: so
    they are listed before, and the script finds those that are left and reads those that came since."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys
        self._entries = ListedEntries(reads, keys)
        self._paged = PagedAudit(calls, reads, keys)

    async def run(self) -> int:
        """Check every organisation; how many were corrected or let in. Leaves nine tenths of the time to the jobs."""
        self._entries = ListedEntries(self._reads, self._keys)
        self._paged = PagedAudit(self._calls, self._reads, self._keys)
        await self._entries.read_on()
        names = await self._organizations()
        # Those with the most entries change the most: they come before their lists are out of date.
        waiting = sorted(names | self._entries.organizations, key=self._entries.count)
        corrected, alone = 0, list[bytes]()

        while waiting or alone:
            began = time.monotonic()
            await self._entries.read_on()
            page = self._next_page(waiting) if waiting else [alone.pop()]
            replies = await self._check(page)
            corrected += replies.count(1)
            many = [name for name, reply in zip(page, replies, strict=True) if reply == -1]
            await asyncio.sleep(9 * (time.monotonic() - began))
            if len(page) > 1:
                alone += many
            elif many:
                corrected += await self._paged.correct_counts(page[0])  # which rests by itself
        self._entries = ListedEntries(self._reads, self._keys)
        return corrected

    def _next_page(self, waiting: list[bytes]) -> list[bytes]:
        page, checks = [waiting.pop()], 0
        while waiting and len(page) < PAGE and checks < PAGE_CHECKS:
            checks += self._entries.count(page[-1])
            page.append(waiting.pop())
        return page

    async def _check(self, page: list[bytes]) -> list[Any]:
        items = [self._item(name) for name in page]
        after_line, after_suspect, after_isolated = (self._entries.after[name] for name in STREAMS)
        replies: list[Any] = await self._calls.run(
            "audit_organizations", items, after_line=after_line, after_suspect=after_suspect,
            after_isolated=after_isolated, checks_max=CHECKS_MAX,
        )  # fmt: skip
        return replies

    def _item(self, organization: bytes) -> CountedItem:
        known = (self._entries.of(organization, name) for name in STREAMS)
        return CountedItem(organization, *(b" ".join(entry_id for entry_id, _ in one) for one in known))

    async def _organizations(self) -> set[bytes]:
        """All that are counted, or have settings or jobs that wait somewhere."""
        by_gate = self._keys.prefix("throttled_by").encode()
        sets = [self._keys.fixed("backlogs").encode(), self._keys.fixed("due").encode(), by_gate + FLEET_QUEUE]
        sets += [by_gate + gate async for gate in self._fields("gates")]
        names = {name async for name in self._fields("organizations")}
        names |= {name async for name in self._fields("policies")}
        names |= {name async for name in self._fields("placed_suspects")}
        for key in sets:
            names |= {name async for name in self._members(key)}
        # Of the timers of retentions, which stand among the organisations with delayed jobs.
        return names - {RETENTION}

    async def _fields(self, name: str) -> AsyncIterator[bytes]:
        """Fields of a hash."""
        cursor = b"0"
        while True:
            cursor, flat = await self._reads.execute("HSCAN", self._keys.fixed(name), cursor, "COUNT", READ_COUNT)
            for field in flat[::2]:
                yield field
            if cursor == b"0":
                return

    async def _members(self, key: bytes) -> AsyncIterator[bytes]:
        """Members of a sorted set. One that is passed over because others leave is found by the next audit."""
        start, found = 0, [b""] * READ_COUNT
        while len(found) == READ_COUNT:
            found = await self._reads.execute("ZRANGE", key, start, start + READ_COUNT - 1)
            start += len(found)
            for member in found:
                yield member
