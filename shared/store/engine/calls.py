"""Calls of a store: scripts, alone or in batches of callers that wait together, and plain commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError, ResponseError

from shared.settings import StoreSettings
from shared.store.connection import server_errors
from shared.store.connection.confirmed_writes import BATCHES
from shared.store.connection.multiplexer import Observer, Reply, Transport
from shared.store.engine import scripts, signature_check
from shared.store.engine.admin_signatures import RunAdminScript
from shared.store.engine.batching import Coalescer
from shared.store.engine.constants import notice_ms, script_constants
from shared.store.engine.items import (
    BATCHED,
    AppendItem,
    FinishItem,
    Item,
    ReportItem,
    RequeueItem,
    RerouteItem,
    SubmitItem,
    Value,
)
from shared.store.engine.scripts import Scripts, typed
from shared.store.engine.signatures import RunScript
from shared.store.keys import Keys
from shared.store.routing import Routing

APPENDS_IN_FLIGHT: Final = 16
"""A thousand streams append 2,000 times a second and more: with one batch at a time every reply would have to come
within 32 ms, and a busy event loop needs several iterations to read one."""

ItemT = TypeVar("ItemT", bound=Item)


def _check(constants: Collection[str]) -> None:
    """ValueError when a header names a value that neither the caller of its script gives nor `constants` hold."""
    for name in scripts.names():
        lacking = set(scripts.load(name).argv) - signature_check.declared()[name].argv - set(constants)
        if lacking:
            raise ValueError(f"{name}.lua takes {', '.join(sorted(lacking))}, which nothing gives")


def _failure(reply: Any) -> str | None:
    """The server's words, if the reply is that of an item that failed in its script."""
    if isinstance(reply, list) and len(reply) == 2 and reply[0] == b"ERROR":
        return str(reply[1].decode(errors="replace"))
    return None


def check_item(reply: Any) -> Any:
    """Raise the error of an item that failed; return every other reply."""
    if (failure := _failure(reply)) is not None:
        raise server_errors.of_item(failure)
    return reply


class ServerClock:
    """The server's time as this process estimates it."""

    def __init__(self) -> None:
        self._server_time = (0, 0.0)

    def note(self, server_ms: bytes) -> int:
        """Take the time of a reply, in ms since the epoch."""
        self._server_time = (int(server_ms), time.monotonic())
        return int(server_ms)

    @property
    def believed_ms(self) -> int:
        """Time of the last reply plus the time that passed here since, in ms."""
        server_ms, received_at = self._server_time
        return server_ms + round((time.monotonic() - received_at) * 1000)


class ScriptCalls:
    """Of one store. Each `Coalescer` here takes the item of the script of its name and answers that item's reply.

    `confirmed` carries submits where more than an answer makes them durable. `fenced`: whether a master that took over
    is made known to the scripts. `on_refusal` gets each refusal of the server; `refused` counts calls that were refused
    as every write was.
    """

    def __init__(
        self,
        settings: StoreSettings,
        keys: Keys,
        routing: Routing | None,
        observer: Observer | None,
        *,
        transport: Transport,
        confirmed: Transport | None,
        fenced: bool,
        on_refusal: Callable[[RedisError | str], None],
    ) -> None:
        self._on_refusal = on_refusal
        constants = self._constants = script_constants(settings, routing or Routing(), fenced=fenced)
        _check(constants)
        self.refused = 0
        self.run: RunScript = typed(self.call)
        self.administer: RunAdminScript = typed(self.call)
        self.clock = ServerClock()
        self.scripts = Scripts(transport, keys, constants, observer)
        self._submits = self.scripts if confirmed is None else Scripts(confirmed, keys, constants, observer)

        notify_within_ms = notice_ms(settings)
        # Two at a time: the server serves one batch while this process makes the next. Waiting submits are divided
        # among both; finishes are faster in full batches (measured with 50 callers each).
        self.submit = self._batches(
            "submit", SubmitItem, in_flight=2 if confirmed is None else BATCHES, shares=confirmed is None,
            patience_s=settings.timeout_seconds, lease_ms=notify_within_ms,
        )  # fmt: skip
        self.append = self._batches("append", AppendItem, in_flight=APPENDS_IN_FLIGHT, full_only=True)
        self.finish = self._batches("finish", FinishItem, in_flight=2)
        self.requeue = self._batches("requeue", RequeueItem, lease_ms=notify_within_ms)
        self.reroute = self._batches("reroute", RerouteItem)
        self.report = self._batches("report", ReportItem)

    def _batches(
        self,
        script: str,
        item: type[ItemT],
        *,
        in_flight: int = 1,
        shares: bool = False,
        full_only: bool = False,
        patience_s: float | None = None,
        **argv: int,
    ) -> Coalescer[ItemT, Any]:
        if BATCHED[script] is not item:
            raise ValueError(f"{script}.lua does not take {item.__name__}")

        async def flush(items: list[ItemT]) -> list[Any]:
            replies: list[Any] = await self.call(script, items, argv)
            return replies

        return Coalescer(flush, patience_s=patience_s, in_flight=in_flight, shares=shares, full_only=full_only)

    def reprice(self, routing: Routing) -> None:
        """Use the prices of `routing` in all later calls."""
        for name in ("prices", "bounds"):
            self._constants[name] = routing.constants[name]

    async def call(self, script: str, items: Sequence[Item], argv: Mapping[str, Value]) -> Any:
        """`run` without the types. A refusal of the whole call in the domain's words."""
        caller = self._submits if script == "submit" else self.scripts
        try:
            reply = await caller.call(script, items, argv)
        except ResponseError as error:
            self._on_refusal(error)
            self.refused += server_errors.of_every_write(error)
            raise server_errors.of_call(error) from None
        if items:
            self._notice(reply)
        return reply

    def _notice(self, replies: Any) -> None:
        for reply in replies if isinstance(replies, list) else ():
            if (failure := _failure(reply)) is not None:
                self._on_refusal(failure)

    async def aclose(self) -> None:
        """Send the calls that are still awaited."""
        for batches in (self.submit, self.append, self.finish, self.requeue, self.reroute, self.report):
            await batches.aclose()


class Reads:
    """Plain commands: a `Transport` before another one. It observes each, and never raises ResponseError: `on_refusal`
    is called with each; `refused`: as in `ScriptCalls`."""

    def __init__(
        self, transport: Transport, observer: Observer | None, on_refusal: Callable[[RedisError | str], None]
    ) -> None:
        self._transport = transport
        self._observer = observer
        self._on_refusal = on_refusal
        self.refused = 0

    async def execute(self, *command: bytes | str | int | float) -> Reply:
        """See `Transport`."""
        if self._observer is not None:
            self._observer(str(command[0]), 1)
        try:
            return await self._transport.execute(*command)
        except ResponseError as error:
            self._on_refusal(error)
            self.refused += server_errors.of_every_write(error)
            raise server_errors.of_call(error) from None
