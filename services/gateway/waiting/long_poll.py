"""Waits for the end of a job without polling: listen, read the record, wait for a notification."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from shared.job import JobSnapshot
from shared.store.job_store import JobStore
from shared.store.pubsub.listeners import NOTIFIED, Listener

PAUSE_STEP_S: Final = 0.05
PAUSE_MAX_S: Final = 0.5
"""Pauses between reads, in s: a job that streams notifies with every delta. Each read lengthens the next pause: the end
is found at most half a second late, and a long stream costs two reads a second."""

FIRST_NOTIFICATION_S: Final = 0.05
"""Delay in s of the first read, where listening costs nothing, unless a notification comes first."""

Read = Callable[[], Awaitable[JobSnapshot | None]]


async def until_ended(
    store: JobStore, job_id: str, seconds: float, stop: asyncio.Event, read: Read, *, first: bool = True
) -> JobSnapshot | None:
    """The job as it stands when it has ended, or after `seconds`, or when `stop` is set; None: there is no such job.

    `read` reads it, and may raise. Not `first`: it was read before, so that it has not ended without a notification.
    """
    async with store.subscriber.listen(store.keys.job_channel(job_id)) as listener:
        return await until_ended_at(listener, seconds, stop, read, first=first)


async def until_ended_at(
    listener: Listener, seconds: float, stop: asyncio.Event, read: Read, *, first: bool = False
) -> JobSnapshot | None:
    """As above, for a listener on the job's channel. Not `first`: without a notification the job has not ended."""
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + seconds, 0.0
    stopping = asyncio.create_task(stop.wait(), name="stop-waiting")
    stopping.add_done_callback(lambda _: listener.received(NOTIFIED))

    try:
        while True:
            left = until - loop.time()
            notified = await listener.wait(min(left, FIRST_NOTIFICATION_S) if first else left) if left > 0 else None
            job = await read()
            over = notified is None and not first
            if job is None or job.status.terminal or over or stop.is_set():
                return job
            first = False
            await asyncio.wait([stopping], timeout=pause)
            pause = min(pause + PAUSE_STEP_S, PAUSE_MAX_S)
    finally:
        stopping.cancel()
