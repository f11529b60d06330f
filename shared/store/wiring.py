"""What a store is wired to: a lasting connection of each kind, or REST for who only sends commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.settings import StoreSettings
from shared.store import fence
from shared.store.bell import Bell
from shared.store.connection import Connect, Connector, RedisSettings
from shared.store.durable import DurableSocket
from shared.store.keys import Keys
from shared.store.polled_bell import PolledBell
from shared.store.quota import Guarded, Quota
from shared.store.replies import Ring
from shared.store.shared_socket import Observer, Reply, SharedSocket
from shared.store.sleeper import Sleeper

FRUGAL_SILENCE_S: Final = 3600.0
"""Cancels are heard over a connection that TCP keepalive watches (30 s), and every renewal repeats them."""


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


class Wires(msgspec.Struct, frozen=True, kw_only=True):
    """What carries a store's commands, its sleep and its rings. `transport`: the socket behind its quota.

    `submits` carries what must be as durable as the settings say, over `durable` when that takes more than an answer.
    `fenced`: a master that took over, or came back, is told of it (`fence.py`).
    """

    socket: Socket
    transport: Guarded
    submits: Guarded
    durable: DurableSocket | None
    fenced: bool
    quota: Quota
    sleeper: Bed
    bell: Bell | PolledBell


def wires(
    settings: StoreSettings, redis: RedisSettings, keys: Keys, observer: Observer | None, gates: Sequence[str] = ()
) -> Wires:
    """By `settings.redis_transport`; what `choice.settle` did not settle goes over TCP.

    SettingsInvalid for a URL that cannot be read, and for a durability that REST cannot wait for.
    """
    timeout, quota = settings.timeout_seconds, Quota()
    if settings.redis_transport == "rest" and settings.rest is not None:
        from shared.store.rest_transport import RestTransport  # noqa: PLC0415 - only who uses REST needs its HTTP client

        if settings.durability != "server":
            raise SettingsInvalid("DURABILITY: REST has no connection to wait on, set REDIS_URL")
        rest = RestTransport(settings.rest, timeout=timeout)
        guarded = Guarded(rest, quota)
        return Wires(
            socket=rest, transport=guarded, submits=guarded, durable=None, fenced=False, quota=quota,
            sleeper=NoSleeper(), bell=PolledBell(),
        )  # fmt: skip
    connect = Connector(redis)
    # Where commands are billed a connection that the host closes now and then would cost more than it is worth.
    if fenced := connect.moves or not settings.frugal:
        connect.greet = fence.set_up
    socket = SharedSocket(connect, timeout=timeout)
    guarded = Guarded(socket, quota)
    durable = None if settings.durability == "server" else DurableSocket(connect, settings, keys.fixed("confirmed"))
    return Wires(
        socket=socket,
        transport=guarded,
        submits=guarded if durable is None else Guarded(durable, quota),
        durable=durable,
        fenced=fenced,
        quota=quota,
        sleeper=Sleeper(connect(), keys.wake(gates), margin_s=timeout, quota=quota, observer=observer),
        bell=_bell(settings, connect, keys, quota, observer),
    )


def _bell(settings: StoreSettings, connect: Connect, keys: Keys, quota: Quota, observer: Observer | None) -> Bell:
    """In the frugal profile one pattern for all jobs, and TCP's own keepalive in place of most PINGs."""
    return Bell(
        connect,
        observer=_one_each(observer),
        pause_after=lambda error: quota.left_s if quota.noticed(error) else 0.0,
        prefix=keys.prefix("bell") if settings.frugal else None,
        patient_s=FRUGAL_SILENCE_S if settings.frugal else None,
    )


def _one_each(observer: Observer | None) -> Observer | None:
    """A bell tells how many channels a command carries; it is one command all the same."""
    return None if observer is None else lambda command, _: observer(command, 1)
