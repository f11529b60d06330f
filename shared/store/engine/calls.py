"""Calls of a store: scripts, alone or in batches of callers that wait together, and plain commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError, ResponseError

from shared.settings import MAX_DEADLINE_SECONDS, StoreSettings
from shared.store.connection import server_errors
from shared.store.connection.confirmed_writes import BATCHES
from shared.store.connection.multiplexer import Observer, Reply, Transport
from shared.store.engine import scripts, signature_check
from shared.store.engine.batching import Coalescer
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
from shared.store.keys import Keys
from shared.store.routing import Routing

JOB_TRAIL_LENGTH: Final = 10_000
JOB_TRAIL_MS: Final = 90 * 86_400_000
"""Cancels and deletions that the trail of an organisation remembers, about, and for how long after the last, in ms."""

LOSSES_MAX: Final = 3
RELEASES_MAX: Final = 20
"""Number of times a job may lose its worker or be released before it fails (I7)."""

INDEX_LENGTH: Final = 20_000
"""Newest jobs of one organisation and day that the listing keeps."""

CONSUMER_IDLE_MS: Final = 3_600_000

STALE_SLACK_MS: Final = 750
"""Milliseconds beyond a lease, at most, for which an entry is left to its worker: a quarter of a lease. A healthy
worker whose renewals were refused for a moment renews within that time."""

APPENDS_IN_FLIGHT: Final = 16
"""A thousand streams append 2,000 times a second and more: with one batch at a time every reply would have to come
within 32 ms, and a busy event loop needs several iterations to read one."""

ItemT = TypeVar("ItemT", bound=Item)


def _notice_ms(settings: StoreSettings) -> int:
    """Milliseconds within which a worker is woken for a due time: one that sleeps for minutes for each."""
    return MAX_DEADLINE_SECONDS * 1000 if settings.frugal else settings.lease_ms


def _constants(settings: StoreSettings, routing: Routing, *, fenced: bool) -> dict[str, str | int]:
    """Values of the scripts' headers that are the same in every call."""
    return {
        "lease_ms": settings.lease_ms,
        "notice_ms": _notice_ms(settings),
        "result_ttl": round(settings.result_ttl_seconds * 1000),
        "failed_ttl": round(max(settings.failed_ttl_seconds, settings.result_ttl_seconds) * 1000),
        "failed_jobs_max": settings.failed_jobs_max,
        "failed_bytes_max": settings.failed_bytes_max,
        "log_ttl": round(settings.log_ttl_seconds * 1000),
        "organization_events": int(settings.organization_events),
        "quiet": int(settings.quiet),
        "usage_ttl": round(settings.usage_ttl_days * 86_400_000),
        "index_ttl": round((86_400 + MAX_DEADLINE_SECONDS + settings.result_ttl_seconds) * 1000),
        "index_length": INDEX_LENGTH if settings.listing else 0,
        # No layer below a submit sends it twice: the pay-per-command profile relies on that, and saves one command.
        "sent_once": int(settings.frugal),
        "submits_max": settings.organization_submits_per_minute,
        "job_trail_length": JOB_TRAIL_LENGTH,
        "job_trail_ttl": JOB_TRAIL_MS,
        "losses_max": LOSSES_MAX,
        "releases_max": RELEASES_MAX,
        "stale_ms": settings.lease_ms + min(settings.lease_ms // 4, STALE_SLACK_MS),
        "consumer_idle_ms": CONSUMER_IDLE_MS,
        "fenced": int(fenced),
        "slot_share": settings.slot_share,
        "running_max": settings.organization_running_jobs,
        "tokens_max": settings.organization_tokens_per_minute,
        "queued_max": settings.organization_queued_jobs,
        "queued_kib_max": -(-settings.organization_queued_bytes // 1024),
        "delayed_max": settings.organization_delayed_jobs,
        **routing.constants,
    }


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
        constants = self._constants = _constants(settings, routing or Routing(), fenced=fenced)
        _check(constants)
        self.refused = 0
        self.run = typed(self.call)
        self.clock = ServerClock()
        self.scripts = Scripts(transport, keys, constants, observer)
        self._submits = self.scripts if confirmed is None else Scripts(confirmed, keys, constants, observer)

        notify_within_ms = _notice_ms(settings)
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
