"""What a store is wired to: a lasting connection of each kind, or REST for who only sends commands."""

from __future__ import annotations

from typing import Protocol

import msgspec

from shared.errors import StoreUnavailable
from shared.settings import StoreSettings
from shared.store.bell import Bell
from shared.store.connection import RedisSettings, new_connection
from shared.store.keys import Keys
from shared.store.polled_bell import PolledBell
from shared.store.replies import Ring
from shared.store.shared_socket import Observer, Reply, SharedSocket
from shared.store.sleeper import Sleeper


class Socket(Protocol):
    """A `Transport` that is closed at the end; `generation` counts its connections."""

    @property
    def generation(self) -> int: ...

    async def execute(self, *command: bytes | str | int | float) -> Reply: ...

    async def aclose(self) -> None: ...


class Bed(Protocol):
    """Where an idle worker sleeps."""

    async def sleep(self, timeout_ms: int) -> Ring: ...

    async def aclose(self) -> None: ...


class NoSleeper:
    """Over REST nothing blocks, so nobody sleeps there."""

    async def sleep(self, timeout_ms: int) -> Ring:
        """StoreUnavailable, always."""
        raise StoreUnavailable(f"REST cannot block for {timeout_ms} ms")

    async def aclose(self) -> None:
        """Nothing is open."""


class Wires(msgspec.Struct, frozen=True):
    """What carries a store's commands, its sleep and its rings."""

    socket: Socket
    sleeper: Bed
    bell: Bell | PolledBell


def wires(settings: StoreSettings, redis: RedisSettings, keys: Keys, observer: Observer | None) -> Wires:
    """By `settings.redis_transport`; what `choice.settle` did not settle goes over TCP."""
    timeout = settings.timeout_seconds
    if settings.redis_transport == "rest" and settings.rest is not None:
        from shared.store.rest_transport import RestTransport  # noqa: PLC0415 - only who uses REST needs its HTTP client

        return Wires(RestTransport(settings.rest, timeout=timeout), NoSleeper(), PolledBell())
    return Wires(
        SharedSocket(lambda: new_connection(redis), timeout=timeout),
        Sleeper(new_connection(redis), keys.fixed("wake"), margin_s=timeout),
        Bell(lambda: new_connection(redis), observer=observer),
    )
