"""How a store calls its scripts: alone, or in batches of callers that wait together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from shared.settings import MAX_DEADLINE_SECONDS, StoreSettings
from shared.store.backend import Connections
from shared.store.connection import server_errors
from shared.store.connection.confirmed_writes import BATCHES
from shared.store.connection.multiplexer import Observer
from shared.store.engine.batching import Coalescer
from shared.store.engine.scripts import Scripts
from shared.store.keys import Keys
from shared.store.routing import Routing

LOSSES_MAX: Final = 3
HANDBACKS_MAX: Final = 20
"""How often a job may lose its worker or be handed back before it fails (I7)."""

INDEX_LENGTH: Final = 20_000
"""Newest jobs of one organisation and day that the listing remembers."""

CONSUMER_IDLE_MS: Final = 3_600_000

STALE_SLACK_MS: Final = 750
"""So much longer than a lease, at most, an entry is left to its worker: a quarter of a lease. A healthy worker whose
renewals were refused for a moment renews within that time."""

APPENDS_IN_FLIGHT: Final = 16
"""A thousand streams append 2,000 times a second and more: one batch at a time would need every answer within 32 ms,
and a busy event loop needs several of its turns to see one."""

Item = tuple[bytes | str | int | float, ...]
Batches = Coalescer[Item, Any]


def _constants(settings: StoreSettings, routing: Routing, *, fenced: bool) -> dict[str, str | int]:
    """Values of the scripts' headers that are the same in every call."""
    return {
        "lease_ms": settings.lease_ms,
        "result_ttl": round(settings.result_ttl_seconds * 1000),
        "log_ttl": round(settings.log_ttl_seconds * 1000),
        "organization_events": int(settings.organization_events),
        "quiet": int(settings.quiet),
        "usage_ttl": round(settings.usage_ttl_days * 86_400_000),
        "index_ttl": round((86_400 + MAX_DEADLINE_SECONDS + settings.result_ttl_seconds) * 1000),
        "index_length": INDEX_LENGTH if settings.listing else 0,
        # Nothing below a submit sends it twice: in the frugal profile that is trusted, for one command.
        "sent_once": int(settings.frugal),
        "submits_max": settings.organization_submits_per_minute,
        "losses_max": LOSSES_MAX,
        "handbacks_max": HANDBACKS_MAX,
        "stale_ms": settings.lease_ms + min(settings.lease_ms // 4, STALE_SLACK_MS),
        "consumer_idle_ms": CONSUMER_IDLE_MS,
        "fenced": int(fenced),
        **routing.constants,
    }


class ScriptCalls:
    """Of one store. Each `Coalescer` here takes the ITEM of the script of its name and answers that item's reply.

    `refused` counts calls that were refused as every write was then.
    """

    def __init__(
        self,
        settings: StoreSettings,
        keys: Keys,
        connections: Connections,
        observer: Observer | None,
        routing: Routing | None,
    ) -> None:
        self._on_refusal = connections.refused
        constants = self._constants = _constants(settings, routing or Routing(), fenced=connections.fenced)
        self.refused = 0
        self.scripts = Scripts(connections.transport, keys, constants, observer)
        self._submits = self.scripts
        waits = connections.durable is not None
        if waits:
            self._submits = Scripts(connections.submits, keys, constants, observer)
        # Who sleeps for minutes is rung for every due time, not only for those within a lease.
        notify_within_ms = MAX_DEADLINE_SECONDS * 1000 if settings.frugal else settings.lease_ms
        # Two at a time: the server serves one batch while this process makes the next. What waits for a submit is
        # shared out among both; the ends of jobs do better in full batches (measured with 50 callers each).
        self.submit = self._batches(
            "submit", in_flight=BATCHES if waits else 2, shares=not waits, patience_s=settings.timeout_seconds,
            lease_ms=notify_within_ms,
        )  # fmt: skip
        self.append = self._batches("append", in_flight=APPENDS_IN_FLIGHT, full_only=True)
        self.finish = self._batches("finish", in_flight=2)
        self.requeue = self._batches("requeue", lease_ms=notify_within_ms)
        self.reroute = self._batches("reroute")
        self.report = self._batches("report")

    def _batches(
        self,
        script: str,
        *,
        in_flight: int = 1,
        shares: bool = False,
        full_only: bool = False,
        patience_s: float | None = None,
        **argv: int,
    ) -> Batches:
        async def flush(items: list[Item]) -> list[Any]:
            replies: list[Any] = await self.run(script, items, **argv)
            return replies

        return Coalescer(flush, patience_s=patience_s, in_flight=in_flight, shares=shares, full_only=full_only)

    def reprice(self, routing: Routing) -> None:
        """Scripts that are called from now on are told the prices of `routing`."""
        self._constants["prices"] = routing.constants["prices"]

    async def run(self, script: str, items: Sequence[Item] = (), **argv: bytes | str | int | float) -> Any:
        """One call. A refusal of the whole call in the domain's words."""
        scripts = self._submits if script == "submit" else self.scripts
        try:
            reply = await scripts.call(script, items, **argv)
        except ResponseError as error:
            self._on_refusal(error)
            self.refused += server_errors.of_every_write(error)
            raise server_errors.of_call(error) from None
        if items:
            self._notice(reply)
        return reply

    def _notice(self, replies: Any) -> None:
        for reply in replies if isinstance(replies, list) else ():
            if isinstance(reply, list) and len(reply) == 2 and reply[0] == b"ERROR":
                self._on_refusal(reply[1].decode(errors="replace"))

    async def aclose(self) -> None:
        """Send what callers still wait for."""
        for batches in (self.submit, self.append, self.finish, self.requeue, self.reroute, self.report):
            await batches.aclose()
