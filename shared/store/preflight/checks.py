"""Checks once, before anything else is asked of a Redis, that it can do all that this service needs.

Everything missing is named in one log line, and every call fails as if Redis were away, so that `ready` stays 503 and
no job is accepted or claimed that could not be run. The check is repeated now and then: after the server was mended no
restart is needed. A refusal at run time for lack of permission starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from shared.errors import StoreUnavailable, StoreUnfit
from shared.settings import StoreSettings
from shared.store.connection import error_advice
from shared.store.connection.connector import AnyConnection, Connector
from shared.store.connection.multiplexer import Observer, Transport
from shared.store.engine import scripts
from shared.store.engine.scripts import Scripts
from shared.store.keys import Keys
from shared.store.preflight import requirements
from shared.store.preflight.findings import Refused, server_faults
from shared.store.preflight.requirements import PROBED, Call, Role

AGAIN_S: Final = 5.0
FRUGAL_AGAIN_S: Final = 60.0
"""Seconds for which a negative result holds; where commands are billed, longer."""

FEW: Final = 2
"""Calls that are tried where every command is billed."""

CHECK_S: Final = 10.0
"""Seconds a check may take: some twenty round trips. Callers that wait for it give up sooner."""

_log: Final = structlog.get_logger(__name__)


class Vetting:
    """The check of one store. `connect` None: over REST, which has no channels. `renew` makes the transport connect
    again."""

    def __init__(
        self,
        role: Role,
        settings: StoreSettings,
        keys: Keys,
        transport: Transport,
        *,
        connect: Connector | None = None,
        renew: Callable[[], None] = lambda: None,
        observer: Observer | None = None,
    ) -> None:
        self._role = role
        self._settings = settings
        self._keys = keys
        self._transport = transport
        self._connect = connect
        self._renew = renew
        self._observe = observer or (lambda *_: None)
        self._scripts = Scripts(transport, keys, {}, observer)
        self._again_s = FRUGAL_AGAIN_S if settings.frugal else AGAIN_S
        self._checked_at = -self._again_s
        self._missing = ""
        self._checking: asyncio.Task[None] | None = None
        self._doubted = False
        self.fit = False

    async def passed(self) -> None:
        """Return when this Redis can do all that is needed. StoreUnfit, StoreUnavailable, ResponseError."""
        if self._missing and time.monotonic() < self._checked_at + self._again_s:
            raise StoreUnfit(self._missing)

        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(), name="redis-vetting")
            self._checking.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                await asyncio.shield(self._checking)
        except TimeoutError:
            raise StoreUnavailable(f"Redis did not answer within {self._settings.timeout_seconds:g} s") from None

        if not self.fit:
            raise StoreUnfit(self._missing)

    def begin(self) -> None:
        """Begin the check now, without waiting for the first call."""
        self._checking = asyncio.create_task(self._check(), name="redis-vetting")
        self._checking.add_done_callback(lambda task: task.cancelled() or task.exception())

    def doubt(self, error: RedisError | str) -> None:
        """Take a refusal. If it is for lack of permission, check everything again."""
        if error_advice.is_permission(error) and time.monotonic() >= self._checked_at + self._again_s:
            self.fit, self._doubted = False, True

    async def aclose(self) -> None:
        """Stop checking."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait([self._checking])

    async def _check(self) -> None:
        try:
            async with asyncio.timeout(CHECK_S):
                missing = "; ".join(await self._faults())
        except TimeoutError:
            raise StoreUnavailable(f"Redis did not answer within {CHECK_S:g} s") from None

        self._checked_at = time.monotonic()
        if missing and missing != self._missing:
            _log.error("redis_unfit", reason=missing, more=error_advice.MORE)
        elif self._missing and not missing:
            _log.info("redis_fit")
            self._renew()  # its greeting may have been refused
        self._missing, self.fit = missing, not missing

    async def _faults(self) -> list[str]:
        if found := await self._of_server():
            return found
        few = self._settings.frugal and not self._doubted
        calls = (requirements.few_probes if few else requirements.probes)(self._role, self._keys)
        refused, outside = Refused(self._keys), () if self._role.writes else calls
        if self._role.writes:
            await self._try_in_script(calls, refused)
        if self._connect is not None:
            await self._try_on_connection(self._connect, outside, refused)
        return refused.lines

    async def _of_server(self) -> list[str]:
        self._observe("INFO", 1)
        try:
            text = (await self._transport.execute("INFO")).decode(errors="replace")
        except ResponseError as error:
            if not (error_advice.is_permission(error) or error_advice.is_unknown(error)):
                raise
            return ["the Redis user may not run INFO"]
        return server_faults(text, moves=self._connect is not None and self._connect.moves)

    async def _try_in_script(self, calls: Sequence[Call], refused: Refused) -> None:
        encoded = msgspec.json.encode([[str(part) for part in call] for call in calls])
        try:
            if len(calls) > FEW:
                await self._try_scripting(refused)
            reply = await self._scripts.run("vet", calls=encoded)
        except ResponseError as error:
            if not refused.add(("EVALSHA", self._keys.pattern), error):
                raise
            return
        for index, message in zip(reply[::2], reply[1::2], strict=True):
            refused.add(calls[int(index)], message.decode(errors="replace"))

    async def _try_scripting(self, refused: Refused) -> None:
        """Try to load a script; where commands are billed, a script that the server does not have yet shows it."""
        for call in (("EVAL", "return 0", 0), ("SCRIPT", "LOAD", scripts.load("vet").source)):
            self._observe(str(call[0]), 1)
            try:
                await self._transport.execute(*call)
            except ResponseError as error:
                if not refused.add(call, error):
                    raise

    async def _try_on_connection(self, connect: Connector, calls: Sequence[Call], refused: Refused) -> None:
        """Try commands that no script may call, and the channels, on a connection that is closed afterwards."""
        connection = connect()
        channels = [self._keys.prefix(name) for name in requirements.SUBSCRIBES[self._role]]
        subscribing: list[Call] = [("SUBSCRIBE", prefix + PROBED) for prefix in channels]
        if self._settings.frugal and "job_channel" in requirements.SUBSCRIBES[self._role]:
            subscribing.append(("PSUBSCRIBE", self._keys.prefix("job_channel") + "*"))
        blocking = () if self._settings.frugal else requirements.BLOCKING.get(self._role, ())
        waiting: list[Call] = [(name, self._keys.probe, "0.001") for name in blocking]

        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
            for call in (*calls, *waiting, *subscribing, ("UNSUBSCRIBE",)):
                self._observe(str(call[0]), 1)
                await _try(connection, call, refused)
        except (RedisConnectionError, OSError):
            raise StoreUnavailable("the connection to Redis broke") from None
        finally:
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)


async def _try(connection: AnyConnection, call: Call, refused: Refused) -> None:
    await connection.send_command(*call)
    try:
        await connection.read_response()
    except ResponseError as error:
        refused.add(call, error)
