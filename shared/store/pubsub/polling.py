"""Notifications where nothing can be received (REST): they come by the clock, and each listener reads the record.

The pauses begin at 1 s and grow by half to 5 s: reads at 0, 1, 2.5, 4.7, 8.1 s and so on. A job that ends within 4.7 s
is answered after 4 reads at most and 2.3 s late at most, a longer one 5 s; the longest wait of 30 s costs 10.
"""

from __future__ import annotations

import asyncio
from typing import Final

from shared.errors import StoreUnavailable
from shared.store.pubsub.listeners import NOTIFIED, ChannelReader, Listener, Messages

FIRST_S: Final = 1.0
GROWTH: Final = 1.5
LONGEST_S: Final = 5.0


class PollingSubscriber:
    """The interface of `Subscriber`. Listening costs no command; the reads of the notified listeners do."""

    def __init__(self) -> None:
        self._tasks: dict[ChannelReader, asyncio.Task[None]] = {}

    async def aclose(self) -> None:
        """Stop notifying."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def covers(self, channel: str) -> bool:  # noqa: ARG002 - the clock serves all channels alike
        """Return True: listening costs no command, whatever the channel."""
        return True

    def receives_now(self, channel: str) -> bool:  # noqa: ARG002 - nothing is ever received
        """Return False: nothing is received over REST."""
        return False

    def listen(self, channel: str, *, patient: bool = False) -> Listener:  # noqa: ARG002 - the clock serves all alike
        """Make a listener, to be entered with `async with`; notified at once, and then again and again."""
        return Listener(self._move, patient=patient)

    def messages(self, channel: str) -> Messages:
        """Raise StoreUnavailable: messages need a connection that lasts."""
        raise StoreUnavailable(f"no message of {channel} can be received over REST, set REDIS_URL")

    def _move(self, reader: ChannelReader, joins: bool) -> None:
        if joins:
            self._tasks[reader] = asyncio.get_running_loop().create_task(
                self._notify(reader), name="polling-subscriber"
            )
        elif (task := self._tasks.pop(reader, None)) is not None:
            task.cancel()

    async def _notify(self, reader: ChannelReader) -> None:
        pause = FIRST_S
        while True:
            reader.received(NOTIFIED)
            await asyncio.sleep(pause)
            pause = min(pause * GROWTH, LONGEST_S)
