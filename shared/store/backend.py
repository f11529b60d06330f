"""Parts that a store uses: a lasting connection of each kind, or REST where only commands are sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec
from redis.exceptions import RedisError

from shared.errors import SettingsInvalid, StoreUnavailable
from shared.settings import RestEndpoint, StoreSettings
from shared.store.connection import error_advice
from shared.store.connection.blocking_pop import BlockingPop
from shared.store.connection.confirmed_writes import ConfirmedWrites
from shared.store.connection.connection_log import RefusalLog
from shared.store.connection.connector import Connect, Connector, RedisSettings
from shared.store.connection.multiplexer import Multiplexer, Observer, Reply
from shared.store.connection.quota import Guarded, Quota
from shared.store.engine import failover_fence
from shared.store.keys import Keys
from shared.store.preflight.checks import Vetting
from shared.store.preflight.requirements import Role
from shared.store.pubsub.polling import PollingSubscriber
from shared.store.pubsub.subscriber import Subscriber
from shared.store.results import WakeUp

FRUGAL_SILENCE_S: Final = 3600.0
"""Seconds. Cancel requests arrive on a connection that TCP keepalive watches (30 s), and every renewal repeats them."""


Refused = Callable[[RedisError | str], None]
"""Called with each refusal of the server."""


class Socket(Protocol):
    """A `Transport` that is closed at the end; `generation` counts its connections."""

    @property
    def generation(self) -> int: ...

    async def execute(self, *command: bytes | str | int | float) -> Reply: ...

    async def aclose(self) -> None: ...


class WorkWait(Protocol):
    """Wait of an idle worker for work."""

    async def sleep(self, timeout_ms: int) -> WakeUp: ...

    async def aclose(self) -> None: ...


class NoBlockingPop:
    """The wait of a store over REST, where no command may block."""

    async def sleep(self, timeout_ms: int) -> WakeUp:
        """Raise StoreUnavailable, always."""
        raise StoreUnavailable(f"REST cannot block for {timeout_ms} ms")

    async def aclose(self) -> None:
        """Close nothing: no connection is open."""


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """Connections for a store's commands, its blocking waits and its notifications. `transport`: the socket behind its
    quota.

    `submits` carries writes that must be as durable as the settings say: over `durable` where a reply alone does not
    prove that. `fenced`: a master that took over, or restarted, is noted on it (`failover_fence.py`). `vetting`: checks
    whether Redis can do all that the service needs, when the service is known. `refused`: called with each refusal.
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

    async def aclose(self) -> None:
        """Close them all, but the subscriber's."""
        if self.vetting is not None:
            await self.vetting.aclose()
        await self.blocking_pop.aclose()
        await self.socket.aclose()
        if self.durable is not None:
            await self.durable.aclose()


def connections(
    settings: StoreSettings,
    client_name: str,
    keys: Keys,
    observer: Observer | None,
    role: Role | None = None,
    *,
    gates: Sequence[str] = (),
) -> Connections:
    """Make the connections that `settings.redis_transport` asks for; a transport not selected yet means TCP.

    SettingsInvalid for a URL that cannot be read, and for a durability that REST cannot wait for.
    """
    if settings.redis_transport == "rest" and settings.rest is not None:
        return _over_rest(settings, settings.rest, keys, observer, role)
    redis = RedisSettings(
        url=settings.redis_url, client_name=client_name,
        sentinel_username=settings.sentinel_username, sentinel_password=settings.sentinel_password,
    )  # fmt: skip
    return _over_sockets(settings, Connector(redis), keys, observer, role, gates=gates)


def _over_rest(
    settings: StoreSettings, endpoint: RestEndpoint, keys: Keys, observer: Observer | None, role: Role | None
) -> Connections:
    from shared.store.connection.rest import RestTransport  # noqa: PLC0415 - only REST needs its HTTP client

    if settings.durability != "server":
        raise SettingsInvalid("DURABILITY: REST has no connection to wait on, set REDIS_URL")
    quota, rest = Quota(), RestTransport(endpoint, timeout=settings.timeout_seconds)
    vetting = role and Vetting(role, settings, keys, rest, observer=observer)
    guarded = Guarded(rest, quota, vetting)
    return Connections(
        socket=rest, transport=guarded, submits=guarded, durable=None, fenced=False, quota=quota, vetting=vetting,
        refused=_refused(vetting), blocking_pop=NoBlockingPop(), subscriber=PollingSubscriber(),
    )  # fmt: skip


def _over_sockets(
    settings: StoreSettings,
    connect: Connector,
    keys: Keys,
    observer: Observer | None,
    role: Role | None,
    *,
    gates: Sequence[str],
) -> Connections:
    # Where commands are billed, a host closes idle connections now and then, and each new one would cost a fence. A
    # service that only reads has no fence to set up, and its Redis user may not write.
    if fenced := (role is None or role.writes) and (connect.moves or not settings.frugal):
        connect.greet = partial(failover_fence.set_up, keys)

    timeout, quota = settings.timeout_seconds, Quota()
    socket = Multiplexer(connect, timeout=timeout)
    vetting = role and Vetting(role, settings, keys, socket, connect=connect, renew=socket.renew, observer=observer)
    guarded, refused = Guarded(socket, quota, vetting), _refused(vetting)
    durable = None if settings.durability == "server" else ConfirmedWrites(connect, settings, keys.fixed("confirmed"))
    return Connections(
        socket=socket, transport=guarded, submits=guarded if durable is None else Guarded(durable, quota, vetting),
        durable=durable, fenced=fenced, vetting=vetting, refused=refused, quota=quota,
        blocking_pop=BlockingPop(
            connect(), keys.wake(gates), margin_s=timeout, quota=quota, observer=observer, refused=refused
        ),
        subscriber=_subscriber(settings, connect, keys, observer, partial(_pause_after, quota, refused)),
    )  # fmt: skip


def _pause_after(quota: Quota, refused: Refused, error: BaseException) -> float:
    """Seconds for which the subscriber must not connect again after this error."""
    if isinstance(error, BaseExceptionGroup):
        return max((_pause_after(quota, refused, part) for part in error.exceptions), default=0.0)
    if isinstance(error, RedisError) and error_advice.is_permission(error):
        refused(error)
    return quota.left_s if quota.noticed(error) else 0.0


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
    """Make the subscriber; in the pay-per-command profile with one pattern for all jobs, and TCP's own keepalive
    instead of most PINGs."""
    return Subscriber(
        connect,
        observer=observer,
        pause_after=pause_after,
        prefix=keys.prefix("job_channel") if settings.frugal else None,
        patient_s=FRUGAL_SILENCE_S if settings.frugal else None,
    )
