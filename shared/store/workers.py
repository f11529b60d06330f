"""The registry of workers, and the orders of operators to drain one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from shared.errors import WorkerNotFound
from shared.settings import StoreSettings
from shared.store.audit_trail import TRAIL_LENGTH, Actor, entry
from shared.store.engine.calls import Reads, ScriptCalls
from shared.store.keys import OPERATORS, Keys
from shared.store.routing import GateLimits

ORDERED: Final = b"!"
"""In the place of a job's id on a worker's control channel: its order changed."""

MARGIN_MS: Final = 5_000
REGISTERED_EVERY_MS: Final = 60_000
"""Interval at which a worker without jobs registers again, in ms; not where commands are billed."""


class WorkerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A worker by its own account. `at`: time of its registration (ms since the epoch, Redis's clock). `limits`: those
    of gates that it is set up with."""

    host: str
    release: str
    slots: int
    at: int = 0
    limits: tuple[GateLimits, ...] = ()


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as it stands. `held`: jobs whose lease it has; `seen_ms`: its last claim, renewal or registration (ms
    since the epoch). `progress`: False when that is too long ago."""

    name: str
    host: str
    release: str
    slots: int
    held: int
    seen_ms: int
    progress: bool
    draining: bool


class Workers:
    """Of one store. Every method may raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys, settings: StoreSettings) -> None:
        self._calls = calls
        self._reads = reads
        self._key = keys.fixed("workers")
        self._frugal = settings.frugal
        self._patience_ms = 2 * settings.lease_ms + MARGIN_MS

    async def register(self, consumer: str, described: WorkerEntry) -> None:
        """Write the entry of a worker, with the present time."""
        seconds, micros = await self._reads.execute("TIME")
        stamped = msgspec.structs.replace(described, at=int(seconds) * 1000 + int(micros) // 1000)
        await self._reads.execute("HSET", self._key, consumer, msgspec.json.encode(stamped))

    async def ordered(self, consumer: str) -> bool:
        """Whether this worker is to drain. One cheap read."""
        (order,) = await self._reads.execute("HMGET", self._key, f"!{consumer}")
        return order is not None

    async def order(self, consumer: str, actor: Actor, *, drain: bool) -> bool:
        """Order a worker to claim nothing more, or to go on. False: that was its order before. WorkerNotFound: it is
        not registered."""
        reply = await self._calls.administer(
            "order_worker", consumer=consumer, drain=int(drain), organization=OPERATORS, trail_length=TRAIL_LENGTH,
            entry=entry("worker.drained" if drain else "worker.resumed", actor, worker=consumer),
        )  # fmt: skip
        if reply == b"MISSING":
            raise WorkerNotFound(consumer)
        return bool(reply == b"OK")

    async def read(self) -> list[Worker]:
        """All registered workers by name, those too that ended without a word within the last hours."""
        now, flat, consumers = await self._calls.run("workers")
        fields = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
        seen = _consumers(consumers)
        names = sorted(name for name in fields if not name.startswith("!"))
        return [found for name in names if (found := self._worker(name, fields, seen, int(now))) is not None]

    def _worker(
        self, name: str, fields: Mapping[str, bytes], seen: Mapping[str, tuple[int, int]], now_ms: int
    ) -> Worker | None:
        known = _entry(fields[name])
        if known is None:
            return None

        held, idle_ms = seen.get(name, (0, now_ms))
        seen_ms = min(max(now_ms - idle_ms, known.at), now_ms)
        # A worker without jobs only sleeps where commands are billed.
        patience_ms = self._patience_ms if held else self._patience_ms + REGISTERED_EVERY_MS
        progress = now_ms - seen_ms <= patience_ms or (self._frugal and not held)
        return Worker(
            name=name, host=known.host, release=known.release, slots=known.slots, held=held, seen_ms=seen_ms,
            progress=progress, draining=f"!{name}" in fields,
        )  # fmt: skip


def _entry(text: bytes) -> WorkerEntry | None:
    """An entry; None for a damaged one, which its next registration mends."""
    try:
        return msgspec.json.decode(text, type=WorkerEntry)
    except (msgspec.DecodeError, ValueError):
        return None


def limits_of_workers(flat: Sequence[bytes]) -> dict[str, GateLimits]:
    """Limits of gates by the registry, whose fields and values alternate: those of the worker that registered last."""
    entries = [
        known
        for name, text in zip(flat[::2], flat[1::2], strict=True)
        if not name.startswith(b"!") and (known := _entry(text)) is not None
    ]
    return {limits.gate: limits for known in sorted(entries, key=lambda one: one.at) for limits in known.limits}


def _consumers(flat: Sequence[Any]) -> dict[str, tuple[int, int]]:
    """Jobs that each consumer holds, and the shortest time since it was seen (ms), over all streams."""
    found: dict[str, tuple[int, int]] = {}
    for name, held, idle_ms in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
        before, shortest = found.get(name.decode(), (0, int(idle_ms)))
        found[name.decode()] = (before + int(held), min(shortest, int(idle_ms)))
    return found
