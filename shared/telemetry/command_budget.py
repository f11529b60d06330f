"""Number of commands this process asks of Redis, projected to a day and a month: on pay-per-command hosts that is
money.

It counts every command sent and every command inside a script, as the host bills them. Scripts count themselves, so the
count of those that answered is exact. Not counted: the handshake of a connection (one CLIENT SETNAME each) and the
commands of a script whose reply was lost. PING and INFO are counted although Upstash says that they are free.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

DAY_S: Final = 86_400.0
MONTH_DAYS: Final = 30
MARK_S: Final = 60.0
LEAST_S: Final = 60.0
"""Seconds; a projection from a shorter time would show the start rather than the load."""

FIRST_REPORT_S: Final = 120.0
REPORT_S: Final = 3600.0
_log: Final = structlog.get_logger(__name__)


class Projection(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Commands this process would send at the rate of the last `measured_seconds`, a day at most; None: too early."""

    commands: int
    measured_seconds: int
    commands_per_day: int | None
    commands_per_month: int | None


class Meter:
    """Counts commands and remembers when. One mark a minute, for a day."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = 0
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)], maxlen=round(DAY_S / MARK_S))

    def add(self, commands: int) -> None:
        """Add commands that were sent."""
        self._mark()
        self._total += commands

    def _mark(self) -> None:
        now = self._clock()
        if now - self._marks[-1][0] >= MARK_S:
            self._marks.append((now, self._total))

    @property
    def projection(self) -> Projection:
        """Projection at the rate of the last 24 h, or since the start."""
        now = self._clock()
        # The newest mark that is a day old or older, else the oldest there is; rare senders leave few marks.
        since, before = next((mark for mark in reversed(self._marks) if now - mark[0] >= DAY_S), self._marks[0])
        seconds = now - since
        day = None if seconds < LEAST_S else round((self._total - before) / seconds * DAY_S)
        return Projection(
            commands=self._total,
            measured_seconds=round(seconds),
            commands_per_day=day,
            commands_per_month=None if day is None else day * MONTH_DAYS,
        )


class RedisMetrics:
    """Metrics of commands to Redis. `observe` is the store's observer: `open_store(..., observer=metrics.observe)`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.meter = Meter()
        self._commands = Counter(
            "presswork_redis_commands_total",
            "Commands sent to Redis, by script or command: a script counts as itself and each command inside it.",
            ("verb",),
            registry=registry,
        )
        self._round_trips = Counter(
            "presswork_redis_round_trips_total", "Calls sent to Redis: a batch counts 1.", registry=registry
        )
        self._exceeded = Gauge(
            "presswork_redis_quota_exceeded", "1 while Redis refuses commands: a quota is used up.", registry=registry
        )
        self._by_verb: dict[str, Counter] = {}

    def show_quota(self, exceeded: Callable[[], bool]) -> None:
        """Ask for the quota's state at each scrape."""
        self._exceeded.set_function(exceeded)

    def observe(self, verb: str, commands: int) -> None:
        """Count one round trip of a script or command (a name from the code, so there are few), and the commands a host
        bills for it."""
        counter = self._by_verb.get(verb)
        if counter is None:
            counter = self._by_verb[verb] = self._commands.labels(verb.lower())
        counter.inc(commands)
        self._round_trips.inc()
        self.meter.add(commands)


@asynccontextmanager
async def reported(meter: Meter, **profile: object) -> AsyncIterator[None]:
    """Log the profile at the start of the block, a projection after two minutes, then one each hour."""

    async def report() -> None:
        _log.info("redis", **profile)
        pause = FIRST_REPORT_S
        while True:
            await asyncio.sleep(pause)
            pause = REPORT_S
            now = meter.projection
            _log.info(
                "redis_commands", sent=now.commands, measured_seconds=now.measured_seconds,
                projected_per_day=now.commands_per_day, projected_per_month=now.commands_per_month,
            )  # fmt: skip

    task = asyncio.create_task(report(), name="redis-budget")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # its error does not end the service
