"""Counts refusals of callers, for the audit trail: in memory, and written now and then."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import Final

from shared.errors import PressworkError, StoreUnavailable
from shared.http.auth import OPERATORS
from shared.http.problems import Problem
from shared.store.refusal_trail import PIECE, RefusalTrail
from shared.telemetry.causes import FailureLog

WRITE_S: Final = 60.0
FRUGAL_WRITE_S: Final = 600.0
"""Seconds between a first refusal and its count in Redis, and between two writes; the second where commands are
billed."""

ORGANIZATIONS_MAX: Final = 1000
"""Organisations that are counted between two writes; what is refused to others counts as the operators'."""

CLOSE_S: Final = 2.0


class RefusalCounts:
    """Of one gateway. Nothing is written while nothing is refused; a crash loses what was not written yet."""

    def __init__(self, trail: RefusalTrail, *, write_s: float = WRITE_S) -> None:
        self._trail = trail
        self._write_s = write_s
        self._counts: dict[str, Counter[str]] = {}
        self._writer: asyncio.Task[None] | None = None
        self._failures = FailureLog("refusal_counts_failed")

    def note(self, problem: Problem) -> None:
        """Count a problem that is a refusal."""
        if problem.refused is None:
            return
        self._add(problem.refused, Counter({problem.kind.slug: 1}))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="refusal-counts")

    async def aclose(self) -> None:
        """Write what was counted, if Redis answers soon."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        with contextlib.suppress(TimeoutError, PressworkError):
            async with asyncio.timeout(CLOSE_S):
                while self._counts:
                    await self._trail.add(self._take())

    def _add(self, whose: str, more: Counter[str]) -> None:
        if whose not in self._counts and len(self._counts) >= ORGANIZATIONS_MAX:
            whose = OPERATORS
        self._counts.setdefault(whose, Counter()).update(more)

    def _take(self) -> dict[str, Counter[str]]:
        return {whose: self._counts.pop(whose) for whose in list(self._counts)[:PIECE]}

    async def _write_all(self) -> None:
        """Write, as often as once in `write_s`, until nothing is left."""
        while self._counts:
            await asyncio.sleep(self._write_s)
            began = time.monotonic()
            while self._counts and time.monotonic() < began + self._write_s and await self._write(self._take()):
                pass

    async def _write(self, counts: dict[str, Counter[str]]) -> bool:
        """Write some; False: not now. Counts whose write may have reached Redis are not written again."""
        try:
            await self._trail.add(counts)
        except PressworkError as error:
            if not (isinstance(error, StoreUnavailable) and error.sent):
                for whose, kinds in counts.items():
                    self._add(whose, kinds)
            return False
        except Exception as error:
            self._failures.failed(error)
        return True
