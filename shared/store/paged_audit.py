"""Audits of sums that are too many jobs for one call: counted page by page, and corrected if nothing changed meanwhile.

What changes all the time is counted again and again, as fast as the server answers, until one pass met no change.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, Literal, TypeVar

from shared.store.engine.calls import Reads, ScriptCalls
from shared.store.engine.items import ReservedItem
from shared.store.keys import Keys
from shared.store.listed_entries import READ_COUNT, STREAMS, ListedEntries

PAGE: Final = 500
"""Entries or jobs that one call looks at, at most: about a ms."""

ATTEMPTS: Final = 20
"""Passes over one organisation, at most; then it is left to the next audit."""

REST: Final = 9.0
"""Times of a pass that it rests for, so that the jobs are served."""

FLEET_QUEUE: Final = b"*"
"""The queue of jobs that name no chain of gates."""

_BUDGET: Final = re.compile(rb"(?:^| )(?:month|day|projects)=\d")

T = TypeVar("T")


class PagedAudit:
    """Of one store; it lists entries itself. May raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys
        self._entries = ListedEntries(reads, keys)

    async def correct_counts(self, organization: bytes) -> bool:
        """Count all jobs of an organisation; whether its kept counts were wrong and are right now."""
        return await self._until_unchanged(partial(self._count, organization))

    async def correct_budgets(self) -> int:
        """The same for the reservations of all budgets; how many were corrected."""
        corrected = 0
        async for organization, words in self._fields("policies"):
            if _BUDGET.search(words):
                corrected += await self._until_unchanged(partial(self._reserve, organization))
        return corrected

    async def _until_unchanged(self, attempt: Callable[[bytes], Awaitable[list[Any]]]) -> bool:
        """Try until a pass met no change, and a second one found the same difference. It rests after a
        pass, not within one: the shorter that is, the less changes."""
        difference = b""
        for _ in range(ATTEMPTS):
            began = time.monotonic()
            code, _, found = await attempt(difference)
            if code in (0, 1):
                return bool(code)
            difference = found or difference
            await asyncio.sleep(REST * (time.monotonic() - began))
        return False

    async def _count(self, organization: bytes, last: bytes) -> list[Any]:
        _, token, _ = await self._calls.run(
            "correct_counts",
            organization=organization,
            token=b"",
            confirmed=b"",
            waiting=0,
            running=0,
            placed=0,
            suspects=0,
        )
        await self._entries.read_on()

        waiting = running = placed = suspects = 0
        for name, letter in STREAMS.items():
            for page in _pages(self._entries.of(organization, name)):
                found = await self._calls.run(
                    "count_entries", organization=organization, queue=letter,
                    ids=b" ".join(entry_id for entry_id, _ in page), looks_max=8 * PAGE,
                )  # fmt: skip
                waiting, running = waiting + found[0], running + found[1]
                placed, suspects = placed + found[2], suspects + found[3]

        async for queue in self._queues():
            waiting += await self._count_throttled(organization, queue)
        return list(
            await self._calls.run(
                "correct_counts", organization=organization, token=token, confirmed=last, waiting=waiting,
                running=running, placed=placed, suspects=suspects,
            )
        )  # fmt: skip

    async def _count_throttled(self, organization: bytes, queue: bytes) -> int:
        waiting, start, read = 0, 0, PAGE
        while read == PAGE:
            found, read = await self._calls.run(
                "count_throttled", organization=organization, queue=queue, start=start, page=PAGE
            )
            waiting, start = waiting + found, start + read
        return waiting

    async def _reserve(self, organization: bytes, last: bytes) -> list[Any]:
        run = self._calls.run
        _, token, _ = await run("audit_budgets", organization=organization, token=b"", confirmed=b"", reserved=b"")
        await self._entries.read_on()

        sums: dict[bytes, int] = {}
        for name, letter in STREAMS.items():
            for page in _pages(self._entries.of(organization, name)):
                items = [ReservedItem(letter.encode() + entry_id, job) for entry_id, job in page]
                flat = await run("count_reserved", items, organization=organization)
                for field, amount in zip(flat[::2], flat[1::2], strict=True):
                    sums[field] = sums.get(field, 0) + int(amount)

        reserved = b" ".join(b"%b %d" % pair for pair in sums.items())
        return list(
            await run("audit_budgets", organization=organization, token=token, confirmed=last, reserved=reserved)
        )

    async def _queues(self) -> AsyncIterator[bytes]:
        yield FLEET_QUEUE
        async for gate, _ in self._fields("gates"):
            yield gate

    async def _fields(self, name: Literal["gates", "policies"]) -> AsyncIterator[tuple[bytes, bytes]]:
        cursor = b"0"
        while True:
            cursor, flat = await self._reads.execute("HSCAN", self._keys.fixed(name), cursor, "COUNT", READ_COUNT)
            for field, value in zip(flat[::2], flat[1::2], strict=True):
                yield field, value
            if cursor == b"0":
                return


def _pages(found: Sequence[T]) -> list[list[T]]:
    left = iter(found)
    return list(iter(lambda: list(islice(left, PAGE)), []))
