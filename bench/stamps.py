"""Times tokens: the stand-in's text is the moment each token was written, and here is noted when it arrived."""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from services.worker.providers import GenerationRequest, Item, Provider
from services.worker.providers.registry import build_providers
from services.worker.settings import WorkerSettings

EVERY: Final = 10
"""One call in so many is timed: the others run as they do without a measurement."""

_ARRIVAL: Final = struct.Struct("=dd")

Arrival = tuple[float, float]
"""When a token arrived, and how long it had been on its way; s since the epoch, and s."""


def arrivals(text: str, now: float) -> Iterable[Arrival]:
    """Of the tokens of a text that arrived now."""
    return ((now, now - float(stamp)) for stamp in text.split())


def read_arrivals(path: Path) -> list[Arrival]:
    """The stamps that `TimedProvider` wrote."""
    return list(_ARRIVAL.iter_unpack(path.read_bytes()))


class TimedProvider:
    """Another provider, some of whose calls leave a record for each token as it leaves the adapter."""

    def __init__(self, provider: Provider, path: Path) -> None:
        self._provider = provider
        self._file = path.open("ab")
        self._calls = 0
        self.gated = provider.gated
        self.cost = provider.cost
        self.aclose = provider.aclose

    def stream(self, request: GenerationRequest) -> AsyncIterator[Item]:
        """See `Provider`."""
        self._calls += 1
        return self._timed(request) if self._calls % EVERY == 0 else self._provider.stream(request)

    async def _timed(self, request: GenerationRequest) -> AsyncIterator[Item]:
        stream: Any = self._provider.stream(request)
        try:
            async with aclosing(stream):
                async for item in stream:
                    if isinstance(item, str):
                        for arrival in arrivals(item, time.time()):
                            self._file.write(_ARRIVAL.pack(*arrival))
                    yield item
        finally:
            self._file.flush()


def timed_openai(settings: WorkerSettings, path: Path) -> TimedProvider:
    """The OpenAI provider that these settings make, timed."""
    return TimedProvider(build_providers(settings, {})["openai"], path)
