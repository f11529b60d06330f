"""Submits that count only once a replica or a disk has them: DURABILITY=replicated or fsync.

WAIT blocks the connection that sends it, so batches of submits have one of their own, and no other command waits with
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import ResponseError

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.settings import StoreSettings
from shared.store.connection.connector import AnyConnection, error_code
from shared.store.connection.multiplexer import Multiplexer, Reply

WAIT_SHARE: Final = 0.65
"""Part of a caller's time-out for which the server may wait for confirmations: with `appendfsync everysec` that must be
more than a second."""

BATCHES: Final = 24
"""Batches, and with them connections, that may wait at once."""

Value = bytes | str | int | float


class ConfirmedWrites:
    """A `Transport` that returns a script's reply only when enough replicas or disks have its writes.

    StoreUnavailable with `sent` when they did not confirm in time: the writes are there and may stay; repeating the
    call is safe, and waits for the confirmation again.
    """

    def __init__(self, connect: Callable[[], AnyConnection], settings: StoreSettings, mark: str) -> None:
        self._connect = connect
        self._timeout = settings.timeout_seconds
        self._idle: list[Multiplexer] = []
        self._mark = mark
        replicas = settings.confirming_replicas
        wait_ms = round(settings.timeout_seconds * 1000 * WAIT_SHARE)
        self._local = int(settings.durability == "fsync")
        self._wanted = (self._local, replicas) if self._local else (replicas,)
        self._wait: tuple[Value, ...] = ("WAITAOF" if self._local else "WAIT", *self._wanted, wait_ms)

    async def execute(self, *command: Value) -> Reply:
        """See `Transport`."""
        socket = self._idle.pop() if self._idle else Multiplexer(self._connect, timeout=self._timeout)
        try:
            if command[0] == "EVALSHA":
                return await self._confirmed(socket, command)
            return await socket.execute(*command)
        finally:
            self._idle.append(socket)

    async def _confirmed(self, socket: Multiplexer, command: tuple[Value, ...]) -> Reply:
        # WAIT covers this connection's last write, and a repeated submit may write nothing (Valkey 9 then confirms at
        # once although no replica has the first one): the mark is a write that comes after all writes before it.
        reply, marked, confirmed = await socket.execute_in_turn(command, ("SET", self._mark, ""), self._wait)
        if isinstance(reply, ResponseError):
            raise reply
        if isinstance(marked, ResponseError) or not self._enough(confirmed):
            raise StoreUnavailable("the job was not confirmed by enough servers in time", sent=True)
        return reply

    def _enough(self, confirmed: Any) -> bool:
        if isinstance(confirmed, ResponseError):
            return False
        counts = confirmed if isinstance(confirmed, list) else [confirmed]
        return all(count >= wanted for count, wanted in zip(counts, self._wanted, strict=True))

    async def check(self) -> None:
        """Check once whether the server can confirm at all. SettingsInvalid when it never will.

        A server that cannot be reached now may be able to later, so the service starts.
        """
        if not self._local:
            return
        try:
            await self.execute("WAITAOF", 1, 0, 1)
        except StoreUnavailable:
            return
        except ResponseError as error:
            raise SettingsInvalid(_why(error)) from None

    async def aclose(self) -> None:
        """Close the connections."""
        for socket in self._idle:
            await socket.aclose()


def _why(error: ResponseError) -> str:
    if "appendonly" in str(error):
        return "DURABILITY: fsync needs a server with `appendonly yes`"
    if "unknown command" in str(error):
        return "DURABILITY: fsync needs WAITAOF, which Redis has from 7.2 and Valkey from its first release"
    return f"DURABILITY: the server refuses WAITAOF ({error_code(error)})"
