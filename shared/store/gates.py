"""Gates, and the pauses of operators: of one gate, or of the whole queue."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from shared.store.audit_trail import TRAIL_LENGTH, Actor, entry
from shared.store.engine.calls import Reads, ScriptCalls, check_item
from shared.store.engine.items import QueueItem
from shared.store.keys import OPERATORS, Keys
from shared.store.routing import GateLimits
from shared.store.workers import limits_of_workers

QUEUE: Final = "queue"
"""In the place of a gate's name: the whole queue. No gate is called so."""

SLOW_START_MS: Final = 7000
SPREAD_MS: Final = 63_500
"""Length of a slow start, and the time over which a minute's calls are spread, as in `lua/include/gates.lua`."""

_ROUNDED: Final = 0.01
"""Times are stored in whole ms: so much of a call, at most, is lost by that."""

_SETTLED: Final = "settled"
_LIMITS: Final = ("requests_per_minute", "tokens_per_minute")
_FLEET: Final = "*"
_FAILURES: Final = 2
_REASONS: Final = {1: "rate_limited", _FAILURES: "unavailable"}


class GateMode(StrEnum):
    """State of a gate. `half_open`: one call tests whether the provider is back; `slow_start`: few calls a second, more
    each second."""

    AVAILABLE = "available"
    BLOCKED = "blocked"
    HALF_OPEN = "half_open"
    SLOW_START = "slow_start"
    PAUSED = "paused"


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """A gate as it stands. `reason`: of a blocked or half-open one, rate_limited or unavailable. `until_ms`: end of the
    block (ms since the epoch). `waiting`: jobs that wait for it. `requests_per_minute`, `tokens_per_minute`: limits
    that operators settled, 0: none; None: as the workers are set up. `requests_left`, `tokens_left`: the part of a
    minute's share that is not reserved; None: there is no limit."""

    name: str
    mode: GateMode
    reason: str | None
    until_ms: int | None
    waiting: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_left: int | None = None
    tokens_left: int | None = None


class Gates:
    """Of one store. Every method may raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys

    async def pause(self, name: str, actor: Actor) -> bool:
        """Let no call pass this gate, or with `QUEUE` no job start, until it is resumed; jobs that run go on. False: it
        was paused before."""
        return await self._set(name, actor, paused=True)

    async def resume(self, name: str, actor: Actor) -> bool:
        """End a pause; of a gate that is not paused the block, so that its next call finds out whether the provider is
        back. False: there was neither."""
        return await self._set(name, actor, paused=False)

    async def _set(self, name: str, actor: Actor, *, paused: bool) -> bool:
        verb = "paused" if paused else "resumed"
        action, details = ("queue", {}) if name == QUEUE else ("gate", {"gate": name})
        reply = await self._calls.administer(
            "pause", name=name, pause=int(paused), organization=OPERATORS,
            entry=entry(f"{action}.{verb}", actor, **details), trail_length=TRAIL_LENGTH,
        )  # fmt: skip
        return bool(reply)

    async def limit(self, name: str, changes: Mapping[str, int | None], actor: Actor) -> None:
        """Settle `requests_per_minute` and `tokens_per_minute` of a gate for the whole fleet; 0: no limit, None: as the
        workers are set up. A limit that is left out stays."""
        rpm, tpm = (_word(changes, field) for field in _LIMITS)
        await self._calls.administer(
            "limit_gate", name=name, rpm=rpm, tpm=tpm, organization=OPERATORS, trail_length=TRAIL_LENGTH,
            entry=entry("gate.limited", actor, gate=name, changes=dict(changes)),
        )  # fmt: skip

    async def queue_paused(self) -> bool:
        """Whether the whole queue is paused."""
        (text,) = await self._reads.execute("HMGET", self._keys.fixed("gates"), _SETTLED)
        return QUEUE in _words(text)

    async def any_settled(self) -> bool:
        """Whether anything is paused, or limited by operators. One cheap read."""
        (text,) = await self._reads.execute("HMGET", self._keys.fixed("gates"), _SETTLED)
        return text is not None

    async def read(self, chain: Sequence[str]) -> list[Gate]:
        """The gates of `chain`, which jobs that name no other may pass, then all others that are known."""
        flat, clock, workers = await asyncio.gather(
            self._reads.execute("HGETALL", self._keys.fixed("gates")),
            self._reads.execute("TIME"),
            self._reads.execute("HGETALL", self._keys.fixed("workers")),
        )
        now_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
        texts = dict(zip(flat[::2], flat[1::2], strict=True))
        settled = _words(texts.get(_SETTLED.encode()))
        known = [name.decode() for name in texts if b":" in name and not name.startswith(b"@")]
        names = list(
            dict.fromkeys([*chain, *sorted(known), *sorted(word.partition("=")[0] for word in settled - {QUEUE})])
        )
        counts = await self._waiting([*names, _FLEET])
        shared = counts[_FLEET]
        own = limits_of_workers(workers)
        return [
            _gate(
                name, texts.get(name.encode(), b""), now_ms, counts[name] + (shared if name in chain else 0),
                Limits(name, settled, own.get(name, GateLimits(gate=name))),
            )
            for name in names
        ]  # fmt: skip

    async def _waiting(self, queues: Sequence[str]) -> dict[str, int]:
        replies = await self._calls.run("throttled", [QueueItem(queue) for queue in queues])
        return {queue: int(check_item(reply)) for queue, reply in zip(queues, replies, strict=True)}


def _word(changes: Mapping[str, int | None], field: str) -> int | str:
    value = changes.get(field)
    return "" if field not in changes else "-" if value is None else value


def _words(text: bytes | None) -> set[str]:
    """Pauses: the words among numbers, which older releases read (`lua/include/gate_states.lua`)."""
    return {word for word in (text or b"").decode().split() if not word.isdigit()}


class Limits(msgspec.Struct, frozen=True):
    """Pauses and limits of a gate: those of operators come before those that the workers are set up with."""

    name: str
    settled: set[str]
    of_workers: GateLimits

    @property
    def paused(self) -> bool:
        """Whether an operator paused it."""
        return self.name in self.settled

    @property
    def by_operators(self) -> tuple[int | None, int | None]:
        """Requests and tokens a minute; None: not settled."""
        for word in self.settled:
            whose, found, numbers = word.partition("=")
            if found and whose == self.name:
                requests, _, tokens = numbers.partition(",")
                return (int(requests) if requests.isdigit() else None, int(tokens) if tokens.isdigit() else None)
        return None, None

    @property
    def in_force(self) -> tuple[int, int]:
        """Requests and tokens a minute, 0: no limit."""
        requests, tokens = self.by_operators
        of_workers = self.of_workers
        return (
            of_workers.requests_per_minute if requests is None else requests,
            of_workers.tokens_per_minute if tokens is None else tokens,
        )


def _gate(name: str, text: bytes, now_ms: int, waiting: int, limits: Limits) -> Gate:
    """Damage counts as available."""
    numbers = [int(part) if part.isdigit() else 0 for part in text.split()] + [0] * 9
    blocked_until, why, _, _, slow_start_from, _, requests, tokens, probe = numbers[:9]

    mode = _mode(blocked_until - now_ms, now_ms - slow_start_from, fails=why == _FAILURES, probing=probe != 0)
    if limits.paused:
        mode = GateMode.PAUSED
    blocked = mode in (GateMode.BLOCKED, GateMode.HALF_OPEN)
    return Gate(
        name=name,
        mode=mode,
        reason=_REASONS.get(why) if blocked else None,
        until_ms=blocked_until if mode is GateMode.BLOCKED else None,
        waiting=waiting,
        requests_per_minute=limits.by_operators[0],
        tokens_per_minute=limits.by_operators[1],
        requests_left=_left(limits.in_force[0], requests - now_ms, mode),
        tokens_left=_left(limits.in_force[1], tokens - now_ms, mode),
    )


def _mode(blocked_ms: int, slow_start_ms: int, *, fails: bool, probing: bool) -> GateMode:
    """The state of a gate that no operator paused. `blocked_ms`: time until its block ends; `slow_start_ms`: time since
    its slow start began; `fails`: too many calls failed in a row, so that one probes it after the block."""
    if fails and (probing or blocked_ms <= 0):
        return GateMode.HALF_OPEN
    if blocked_ms > 0:
        return GateMode.BLOCKED
    if 0 <= slow_start_ms < SLOW_START_MS:
        return GateMode.SLOW_START
    return GateMode.AVAILABLE


def _left(limit: int, reserved_ms: int, mode: GateMode) -> int | None:
    """The part of a minute's share that is not reserved. `reserved_ms`: time for which it is."""
    if not limit:
        return None
    if mode in (GateMode.PAUSED, GateMode.BLOCKED):
        return 0
    return max(0, math.floor(limit * (1 - max(reserved_ms, 0) / SPREAD_MS) + _ROUNDED))
