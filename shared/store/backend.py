"""What a store is wired to: a lasting connection of each kind, or REST for who only sends commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec
from redis.exceptions import RedisError

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.settings import StoreSettings
from shared.store.connection import error_advice
from shared.store.connection.blocking_pop import BlockingPop
from shared.store.connection.confirmed_writes import ConfirmedWrites
from shared.store.connection.connection_log import RefusalLog
from shared.store.connection.connector import Connect, Connector, RedisSettings
from shared.store.connection.multiplexer import Multiplexer, Observer, Reply, Transport
from shared.store.connection.quota import Guarded, Quota
from shared.store.engine import failover_fence
from shared.store.keys import Keys
from shared.store.preflight.checks import Vetted, Vetting
from shared.store.preflight.requirements import Role
from shared.store.pubsub.polling import PollingSubscriber
from shared.store.pubsub.subscriber import Subscriber
from shared.store.results import WakeUp

FRUGAL_SILENCE_S: Final = 3600.0
"""Cancels are heard over a connection that TCP keepalive watches (30 s), and every renewal repeats them."""


Refused = Callable[[RedisError | str], None]
"""Told what the server refuses."""


class Socket(Protocol):
    """A `Transport` that is closed at the end; `generation` counts its connections."""

    @property
    def generation(self) -> int: ...

    async def execute(self, *command: bytes | str | int | float) -> Reply: ...

    async def aclose(self) -> None: ...


class WorkWait(Protocol):
    """Where an idle worker sleeps."""

    async def sleep(self, timeout_ms: int) -> WakeUp: ...

    async def aclose(self) -> None: ...


class NoBlockingPop:
    """Over REST nothing blocks, so nobody sleeps there."""

    async def sleep(self, timeout_ms: int) -> WakeUp:
        """StoreUnavailable, always."""
        raise StoreUnavailable(f"REST cannot block for {timeout_ms} ms")

    async def aclose(self) -> None:
        """Nothing is open."""


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """What carries a store's commands, its sleep and its rings. `transport`: the socket behind its quota.

    `submits` carries what must be as durable as the settings say, over `durable` when that takes more than an answer.
    `fenced`: a master that took over, or came back, is told of it (`failover_fence.py`). `vetting`: checks whether
    Redis can do what the service needs, when it is known which one that is. `refused` is told what the server refuses.
    """

    socket: Socket
    transport: Guarded
    submits: Guarded
    durable: ConfirmedWrites | None
    fenced: bool
    vetting: Vetting | None
    refused: Refused
    quota: Quota
    blocking_pop: WorkWait
    subscriber: Subscriber | PollingSubscriber


def connections(
    settings: StoreSettings,
    redis: RedisSettings,
    keys: Keys,
    observer: Observer | None,
    role: Role | None = None,
    *,
    gates: Sequence[str] = (),
) -> Connections:
    """By `settings.redis_transport`; what `choice.settle` did not settle goes over TCP.

    SettingsInvalid for a URL that cannot be read, and for a durability that REST cannot wait for.
    """
    timeout, quota = settings.timeout_seconds, Quota()
    if settings.redis_transport == "rest" and settings.rest is not None:
        from shared.store.connection.rest import RestTransport  # noqa: PLC0415 - only who uses REST needs its HTTP client

        if settings.durability != "server":
            raise SettingsInvalid("DURABILITY: REST has no connection to wait on, set REDIS_URL")
        rest = RestTransport(settings.rest, timeout=timeout)
        vetting = role and Vetting(role, settings, keys, rest, observer=observer)
        guarded = Guarded(_vetted(rest, vetting), quota)
        return Connections(
            socket=rest, transport=guarded, submits=guarded, durable=None, fenced=False, quota=quota, vetting=vetting,
            refused=_refused(vetting), blocking_pop=NoBlockingPop(), subscriber=PollingSubscriber(),
        )  # fmt: skip
    connect = Connector(redis)
    # Where commands are billed a connection that the host closes now and then would cost more than it is worth. Who
    # only reads has no fence to set up, and its Redis user may not write.
    if fenced := (role is None or role.writes) and (connect.moves or not settings.frugal):
        connect.greet = partial(failover_fence.set_up, keys)
    socket = Multiplexer(connect, timeout=timeout)
    vetting = role and Vetting(role, settings, keys, socket, connect=connect, renew=socket.renew, observer=observer)
    guarded = Guarded(_vetted(socket, vetting), quota)
    durable = None if settings.durability == "server" else ConfirmedWrites(connect, settings, keys.fixed("confirmed"))
    refused = _refused(vetting)
    return Connections(
        socket=socket,
        transport=guarded,
        submits=guarded if durable is None else Guarded(_vetted(durable, vetting), quota),
        durable=durable,
        fenced=fenced,
        vetting=vetting,
        refused=refused,
        quota=quota,
        blocking_pop=BlockingPop(
            connect(), keys.wake(gates), margin_s=timeout, quota=quota, observer=observer, refused=refused
        ),
        subscriber=_subscriber(settings, connect, keys, observer, partial(_pause_after, quota, refused)),
    )


def _pause_after(quota: Quota, refused: Refused, error: BaseException) -> float:
    """How long a bell's connection must not be opened again after this error, s."""
    if isinstance(error, BaseExceptionGroup):
        return max((_pause_after(quota, refused, part) for part in error.exceptions), default=0.0)
    if isinstance(error, RedisError) and error_advice.is_permission(error):
        refused(error)
    return quota.left_s if quota.noticed(error) else 0.0


def _vetted(transport: Transport, vetting: Vetting | None) -> Transport:
    return transport if vetting is None else Vetted(transport, vetting)


def _refused(vetting: Vetting | None) -> Refused:
    log = RefusalLog()

    def refused(error: RedisError | str) -> None:
        log.noticed(error)
        if vetting is not None:
            vetting.doubt(error)

    return refused


def _subscriber(
    settings: StoreSettings,
    connect: Connect,
    keys: Keys,
    observer: Observer | None,
    pause_after: Callable[[BaseException], float],
) -> Subscriber:
    """In the frugal profile one pattern for all jobs, and TCP's own keepalive in place of most PINGs."""
    return Subscriber(
        connect,
        observer=_one_each(observer),
        pause_after=pause_after,
        prefix=keys.prefix("job_channel") if settings.frugal else None,
        patient_s=FRUGAL_SILENCE_S if settings.frugal else None,
    )


def _one_each(observer: Observer | None) -> Observer | None:
    """A bell tells how many channels a command carries; it is one command all the same."""
    return None if observer is None else lambda command, _: observer(command, 1)
