"""Which channels somebody wants to hear, and which of them the server has confirmed."""

from __future__ import annotations

import asyncio

from shared.store.pubsub.listeners import ChannelReader


class Subscriptions:
    """What the listeners want: who sits on which channel, and which channels came or went since the last look.

    `heard`: channels the server confirmed on the present connection and was not seen to drop since. `prefix`: channels
    that begin so are covered by one pattern, heard as a whole or not at all. `hasty`: seats that are not patient.
    """

    def __init__(self, prefix: bytes | None) -> None:
        self.prefix = prefix
        self.prefix_confirmed = False
        self.hasty = 0
        self.channels: dict[bytes, set[ChannelReader]] = {}
        self.confirmed: set[bytes] = set()
        self.touched: set[bytes] = set()
        self.changed = asyncio.Event()

    def covered(self, name: bytes) -> bool:
        """Whether the pattern stands for this channel."""
        return self.prefix is not None and name.startswith(self.prefix)

    def move(self, name: bytes, reader: ChannelReader, joins: bool) -> None:
        readers = self.channels.get(name)
        if not reader.patient:
            self.hasty += 1 if joins else -1
        if joins:
            if readers is None:
                readers = self.channels[name] = set()
                self._touch(name)
            readers.add(reader)
            if name in self.confirmed or (self.prefix_confirmed and self.covered(name)):
                reader.subscribed()
        elif readers is not None:
            readers.discard(reader)
            if not readers:
                del self.channels[name]
                self._touch(name)

    def confirm(self, name: bytes) -> None:
        """The server says that it knows of the channel: everyone on it is rung."""
        self.confirmed.add(name)
        for reader in self.channels.get(name, ()):
            reader.subscribed()

    def confirm_prefix(self) -> None:
        """The server knows of the pattern: everyone whose channel it covers is rung."""
        self.prefix_confirmed = True
        for name, readers in self.channels.items():
            if self.covered(name):
                for reader in readers:
                    reader.subscribed()

    def deaf(self) -> None:
        """There is no connection."""
        self.confirmed.clear()
        self.prefix_confirmed = False

    def begin(self) -> None:
        """A new connection knows of nothing."""
        self.deaf()
        self.touched = set(self.channels)
        self.changed.set()

    def _touch(self, name: bytes) -> None:
        self.touched.add(name)
        self.changed.set()
