"""Which channels somebody wants to hear, and which of them the server has confirmed."""

from __future__ import annotations

import asyncio

from shared.store.pubsub.listeners import Seat


class Wishes:
    """What the listeners want: who sits on which channel, and which channels came or went since the last look.

    `heard`: channels the server confirmed on the present connection and was not seen to drop since. `prefix`: channels
    that begin so are covered by one pattern, heard as a whole or not at all. `hasty`: seats that are not patient.
    """

    def __init__(self, prefix: bytes | None) -> None:
        self.prefix = prefix
        self.prefix_heard = False
        self.hasty = 0
        self.channels: dict[bytes, set[Seat]] = {}
        self.heard: set[bytes] = set()
        self.touched: set[bytes] = set()
        self.changed = asyncio.Event()

    def covered(self, name: bytes) -> bool:
        """Whether the pattern stands for this channel."""
        return self.prefix is not None and name.startswith(self.prefix)

    def move(self, name: bytes, seat: Seat, joins: bool) -> None:
        seats = self.channels.get(name)
        if not seat.patient:
            self.hasty += 1 if joins else -1
        if joins:
            if seats is None:
                seats = self.channels[name] = set()
                self._touch(name)
            seats.add(seat)
            if name in self.heard or (self.prefix_heard and self.covered(name)):
                seat.subscribed()
        elif seats is not None:
            seats.discard(seat)
            if not seats:
                del self.channels[name]
                self._touch(name)

    def confirm(self, name: bytes) -> None:
        """The server says that it knows of the channel: everyone on it is rung."""
        self.heard.add(name)
        for seat in self.channels.get(name, ()):
            seat.subscribed()

    def confirm_prefix(self) -> None:
        """The server knows of the pattern: everyone whose channel it covers is rung."""
        self.prefix_heard = True
        for name, seats in self.channels.items():
            if self.covered(name):
                for seat in seats:
                    seat.subscribed()

    def deaf(self) -> None:
        """There is no connection."""
        self.heard.clear()
        self.prefix_heard = False

    def begin(self) -> None:
        """A new connection knows of nothing."""
        self.deaf()
        self.touched = set(self.channels)
        self.changed.set()

    def _touch(self, name: bytes) -> None:
        self.touched.add(name)
        self.changed.set()
