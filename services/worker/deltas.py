"""Writes a growing text to the event log in pieces, without ever making the provider wait for Redis."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from services.worker.run import PASSING, Run, Stop
from shared.errors import LeaseLost, StoreRejected
from shared.store.job_store import JobStore

WINDOW_S: Final = 0.08
WINDOW_CHARACTERS: Final = 256
UNHEARD_WINDOW_S: Final = 0.5
UNHEARD_CHARACTERS: Final = 2048
"""Deltas are merged for so long or so far; wider while nobody listens, because each piece costs four commands."""


def _clean(text: str) -> str:
    """A lone surrogate, as broken JSON escapes make it, has no UTF-8: it must not cost the whole result."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class Deltas:
    """The text of one run. `push` as it comes; the first piece goes at once, the rest merged, one append at a time.

    `number` and `offset` tell how much is in the log once `close` returned; what is not, rides in the job's end.
    The run is stopped when its lease turns out to be gone.
    """

    def __init__(self, store: JobStore, run: Run) -> None:
        self._store = store
        self._run = run
        self._pieces: list[str] = []
        self._pending = 0
        self._characters = WINDOW_CHARACTERS
        self._hurry = asyncio.Event()
        self._closed = False
        self._given_up = False
        self._open_window = False
        self._begun = False
        self._pump: asyncio.Task[None] | None = None
        self._unsent: list[str] = []
        self.offset = 0

    @property
    def number(self) -> int:
        """The last event of this lease in the log; 1 is `processing`, which is implied."""
        return self._run.number

    @property
    def text(self) -> str:
        """All of it so far."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def push(self, text: str) -> None:
        """Take a piece; never blocks."""
        if not text or self._closed:
            return
        text = _clean(text)
        self._pieces.append(text)
        self._unsent.append(text)
        self._pending += len(text)
        if not self._store.settings.deltas:
            return  # all of it rides in the end
        if not self._begun:
            # In the next turn: a text that ends in this one rides in the job's end, and a task costs 3 us.
            self._begun = True
            asyncio.get_running_loop().call_soon(self._begin)
        elif not self._open_window or self._pending >= self._characters:
            self._hurry.set()

    async def close(self) -> None:
        """No more text comes: wait for the append in flight, send nothing new."""
        self._closed = True
        self._hurry.set()
        if self._pump is not None:
            await self._pump

    def _begin(self) -> None:
        if not self._closed:
            self._pump = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._closed:
            if self._unsent:
                heard = await self._append()
                if heard is None:
                    return
                self._characters = WINDOW_CHARACTERS if heard else UNHEARD_CHARACTERS
                self._hurry.clear()
                self._open_window = True
                timer = loop.call_later(WINDOW_S if heard else UNHEARD_WINDOW_S, self._hurry.set)
                if not self._closed and self._pending < self._characters:
                    await self._hurry.wait()
                timer.cancel()
                self._open_window = False
            else:
                self._hurry.clear()
                await self._hurry.wait()

    async def _append(self) -> int | None:
        """One piece into the log, repeated until it is known to be there; None when the lease is gone."""
        text = "".join(self._unsent)
        self._unsent.clear()
        self._pending = 0
        while True:
            try:
                heard = await self._store.append(self._run.claim, self.number + 1, text)
            except PASSING:
                await asyncio.sleep(random.uniform(0.05, 0.25))  # noqa: S311 - jitter
                if self._given_up:
                    return None
            except (LeaseLost, StoreRejected):
                self._run.halt(Stop.LOST)
                return None
            else:
                self._run.number += 1
                self.offset += len(text)
                return heard

    def give_up(self) -> None:
        """Stop repeating appends: the lease cannot be alive any more."""
        self._given_up = True
        self._closed = True
        self._hurry.set()
