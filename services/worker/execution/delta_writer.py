"""Writes a growing text to the event log in pieces, without ever making the provider wait for Redis."""

from __future__ import annotations

import asyncio
import io
import math
import random
import time
from typing import Final

from services.worker.execution.attempt import TRANSIENT, Interrupted, StopReason, StopSignal
from shared.errors import LeaseLost, StoreRejected
from shared.job import Claim
from shared.store.job_store import JobStore

WINDOW_S: Final = 0.08
WINDOW_CHARACTERS: Final = 256
UNREAD_WINDOW_S: Final = 0.5
UNREAD_CHARACTERS: Final = 2048
"""Longest time (s) and most text for which deltas are merged; more while no reader listens: a piece costs four
commands."""


def _clean(text: str) -> str:
    """A lone surrogate, as broken JSON escapes make it, has no UTF-8: it must not cost the whole result."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class _Pump:
    """The task that writes, its steps, and the event that wakes it; for texts that outlast one loop iteration."""

    task: asyncio.Task[None]

    def __init__(self, grace_s: float) -> None:
        self.steps = StopSignal(math.inf, grace_s)
        self.wake = asyncio.Event()

    async def until_woken(self) -> None:
        """Wait until there is something to do."""
        try:
            with self.steps.step(math.inf):
                await self.wake.wait()
        except Interrupted:
            return  # it hung, and the log is about to be closed


class DeltaWriter:
    """The text of one attempt. `push` as it comes; the first piece goes at once, the rest merged, one append at a time.

    `number` and `offset` count the events and the text in the log once `close` returned; the rest is written with the
    job's end. `number` 1 is `processing`, which is implied. The attempt is stopped when its lease turns out to be gone,
    or its text cannot be logged.
    """

    def __init__(self, store: JobStore, claim: Claim, signal: StopSignal) -> None:
        self._store = store
        self._claim = claim
        self._signal = signal
        # Pieces are small: each as a string of its own would take ten times its text.
        self._written = io.StringIO()
        self._pending = 0
        self._characters = WINDOW_CHARACTERS
        self._closed = False
        self._failure: BaseException | None = None
        self._open_window = False
        self._begun = False
        self._pump: _Pump | None = None
        self._unsent: list[str] = []
        self.number = 1
        self.offset = 0

    @property
    def text(self) -> str:
        """The whole text so far."""
        return self._written.getvalue()

    def push(self, text: str) -> None:
        """Take a piece; never blocks."""
        if not text or self._closed:
            return

        text = _clean(text)
        self._written.write(text)
        if not self._store.settings.deltas:
            return  # all of it is written with the end

        self._unsent.append(text)
        self._pending += len(text)
        if not self._begun:
            # In the next iteration: a text that ends in this one rides in the job's end, and a task costs 3 us.
            self._begun = True
            asyncio.get_running_loop().call_soon(self._begin)
        elif self._pump is not None and (not self._open_window or self._pending >= self._characters):
            self._pump.wake.set()

    async def close(self) -> None:
        """End the text: wait for the append in flight, send nothing new.

        Interrupted when the writer hangs, or the exception that it raised: how much is in the log is not known then.
        """
        self.stop()
        if self._pump is not None and not self._pump.task.done():
            try:
                with self._signal.step(math.inf, watch=self._waited_enough):
                    await self._until_done(self._pump.task)
            except Interrupted:
                if self._signal.revoked or not self._pump.task.done():
                    raise
        if self._failure is not None:
            raise self._failure

    @staticmethod
    async def _until_done(pump: asyncio.Task[None]) -> None:
        """As `asyncio.wait`, at a quarter of the cost: a cancellation here does not reach the writer."""
        done = asyncio.get_running_loop().create_future()

        def wake(_: asyncio.Task[None]) -> None:
            if not done.done():
                done.set_result(None)

        pump.add_done_callback(wake)
        await done

    def check(self, now: float) -> bool:
        """Cut an append that takes too long, it is repeated. True: the writer hangs."""
        return self._pump is not None and not self._pump.task.done() and self._pump.steps.check(now)

    def _waited_enough(self, now: float) -> bool:
        return self._pump is None or self._pump.task.done() or self.check(now)

    def stop(self) -> None:
        """Send nothing new. An append in flight is repeated while the lease may be alive."""
        self._closed = True
        if self._pump is not None:
            self._pump.wake.set()
            self._pump.steps.hasten(time.monotonic() + self._signal.grace_s)

    def give_up(self) -> None:
        """Send nothing more, and leave an append in flight alone."""
        self.stop()
        if self._pump is not None:
            self._pump.task.cancel()

    def _begin(self) -> None:
        if not self._closed:
            pump = self._pump = _Pump(self._signal.grace_s)
            pump.task = pump.steps.owner = asyncio.create_task(self._write(pump))

    async def _write(self, pump: _Pump) -> None:
        try:
            await self._send_all(pump)
        except GeneratorExit:
            raise
        except BaseException as unforeseen:  # an attempt ends with any error of its writer
            self._failure = unforeseen
            self._signal.stop(StopReason.LOG_FAILED)

    async def _send_all(self, pump: _Pump) -> None:
        loop = asyncio.get_running_loop()
        while not self._closed:
            if self._unsent:
                readers = await self._append(pump.steps)
                if readers is None:
                    return
                self._characters = WINDOW_CHARACTERS if readers else UNREAD_CHARACTERS
                pump.wake.clear()
                self._open_window = True
                timer = loop.call_later(WINDOW_S if readers else UNREAD_WINDOW_S, pump.wake.set)
                if not self._closed and self._pending < self._characters:
                    await pump.until_woken()
                timer.cancel()
                self._open_window = False
            else:
                pump.wake.clear()
                await pump.until_woken()

    async def _append(self, steps: StopSignal) -> int | None:
        """Append one piece to the log, repeated until it is known to be there; None when the lease is gone."""
        text = "".join(self._unsent)
        self._unsent.clear()
        self._pending = 0

        pause = 0.0
        while self._signal.reason is not StopReason.LEASE_LOST:
            try:
                with steps.step(time.monotonic() + pause + self._signal.grace_s):
                    if pause:
                        await asyncio.sleep(pause)
                    readers = await self._store.append(self._claim, self.number + 1, text)
            except (*TRANSIENT, Interrupted):
                pause = random.uniform(0.05, 0.25)  # noqa: S311 - jitter
            except (LeaseLost, StoreRejected):
                self._signal.stop(StopReason.LEASE_LOST)
            else:
                self.number += 1
                self.offset += len(text)
                return readers
        return None
