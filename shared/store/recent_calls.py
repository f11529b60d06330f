"""Failed calls of the last day, by gate and type of error, and the chains that jobs took. Workers note them beside the
jobs, in strings of ten minutes that `lua/note_calls.lua` adds up."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from shared.store.engine.calls import Reads, ScriptCalls
from shared.store.engine.items import CallsItem
from shared.store.keys import Keys

STRETCH_MS: Final = 600_000
HOUR_STRETCHES: Final = 6
DAY_STRETCHES: Final = 144
"""Whole ones; the present one, which has just begun, is read beside them."""

CHAINS_MAX: Final = 8
ERRORS_MAX: Final = 20
"""Of one gate, those with the most failed calls."""

UNKNOWN: Final = "-"
_SEPARATORS: Final = re.compile(r"[\s,]")


class NotedCalls(msgspec.Struct, frozen=True):
    """A type of failed calls of one gate by jobs of one chain. `chain` empty: it is not known."""

    gate: str
    error_type: str
    chain: tuple[str, ...]


class GateError(msgspec.Struct, frozen=True):
    """Failed calls of a gate by type of error, over the last hour and the last day, right to ten minutes."""

    error_type: str
    last_hour: int
    last_day: int


class RecentGateCalls:
    """The notes of one gate."""

    def __init__(self) -> None:
        self._hour: Counter[str] = Counter()
        self._day: Counter[str] = Counter()
        self._chains: Counter[tuple[str, ...]] = Counter()

    def add_failed(self, error_type: str, calls: int, *, lately: bool) -> None:
        """Count failed calls; `lately`: within the last hour."""
        self._day[error_type] += calls
        if lately:
            self._hour[error_type] += calls

    def add_chain(self, chain: tuple[str, ...], failed: int) -> None:
        """Note a chain, and its failed calls."""
        self._chains[chain] += failed

    @property
    def errors(self) -> list[GateError]:
        """The most frequent first."""
        ranked = sorted(self._day.items(), key=lambda held: (-self._hour[held[0]], -held[1], held[0]))
        return [GateError(name, self._hour[name], calls) for name, calls in ranked[:ERRORS_MAX]]

    @property
    def chains(self) -> list[tuple[str, ...]]:
        """Those with the most failed calls first."""
        return [chain for chain, _ in sorted(self._chains.items(), key=lambda held: (-held[1], held[0]))[:CHAINS_MAX]]


class RecentCalls:
    """Of one store. Methods may raise StoreUnavailable."""

    def __init__(self, calls: ScriptCalls, reads: Reads, keys: Keys) -> None:
        self._calls = calls
        self._reads = reads
        self._prefix = keys.prefix("recent_calls")

    async def note(self, failed: Mapping[NotedCalls, int], chains: Sequence[tuple[str, ...]]) -> None:
        """Add failed calls, and chains that jobs brought. What there is no room for is lost."""
        items = [
            *(CallsItem(one.gate, one.error_type, _joined(one.chain), calls) for one, calls in failed.items()),
            *(CallsItem(UNKNOWN, UNKNOWN, _joined(chain), 0) for chain in chains),
        ]
        await self._calls.run("note_calls", items)

    async def read(self) -> Mapping[str, RecentGateCalls]:
        """By gate, of the last day, in two commands."""
        clock = await self._reads.execute("TIME")
        last = int(clock[0]) * 1000 // STRETCH_MS
        stretches = range(last - DAY_STRETCHES, last + 1)
        texts = await self._reads.execute("MGET", *(f"{self._prefix}{at}" for at in stretches))
        return parse([text or b"" for text in texts])


def parse(texts: Sequence[bytes]) -> Mapping[str, RecentGateCalls]:
    """By gate; `texts`: of each ten minutes, the oldest first. Damaged lines are passed over."""
    gates: defaultdict[str, RecentGateCalls] = defaultdict(RecentGateCalls)
    for age, text in zip(range(len(texts) - 1, -1, -1), texts, strict=True):
        for line in text.decode("utf-8", "replace").split("\n"):
            words = line.split(" ")
            if len(words) == 4 and words[0].isascii() and words[0].isdigit():
                _add(gates, words[1:], int(words[0]), lately=age <= HOUR_STRETCHES)
    return gates


def _add(gates: defaultdict[str, RecentGateCalls], words: Sequence[str], calls: int, *, lately: bool) -> None:
    gate, error_type, route = words
    if error_type != UNKNOWN:
        gates[gate].add_failed(error_type, calls, lately=lately)
    if route != UNKNOWN:
        chain = tuple(route.split(","))
        for passed in chain:
            gates[passed].add_chain(chain, calls if passed == gate else 0)


def _joined(chain: Sequence[str]) -> str:
    """A chain as a word. One with a name that cannot be one, which no worker has, is not known."""
    plain = all(name and not _SEPARATORS.search(name) for name in chain)
    return ",".join(chain) if chain and plain else UNKNOWN
