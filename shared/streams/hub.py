"""All streams of this process: how many there may be, and how they end together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from shared.events import EventKind
from shared.streams.subscription import Subscription
from shared.telemetry.metrics import StreamMetrics

DRAIN_S: Final = 0.5
"""Streams whose reader has not taken the end of the stream by then are cut."""


class Hub:
    """Admits streams until there are `limit` of them or the service drains."""

    def __init__(self, limit: int, metrics: StreamMetrics) -> None:
        self._limit = limit
        metrics.limit.set(limit)
        for kind in EventKind:
            metrics.events.labels(str(kind))  # from 0 on: the silence of a process that hears nothing must show
        self._metrics = metrics
        self._open: set[Subscription[Any]] = set()
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether the service is shutting down."""
        return self._draining

    @property
    def full(self) -> bool:
        """Whether a new stream is to be asked to come back later."""
        return self._draining or len(self._open) >= self._limit

    @contextmanager
    def admitted(self, subscription: Subscription[Any]) -> Iterator[None]:
        """Count a stream for the length of the block."""
        self._open.add(subscription)
        self._metrics.connections.set(len(self._open))
        try:
            yield
        finally:
            self._open.discard(subscription)
            self._metrics.connections.set(len(self._open))

    async def drain(self) -> None:
        """End every stream within a second; no new one is admitted."""
        self._draining = True
        for subscription in self._open:
            subscription.stop()
        await asyncio.sleep(DRAIN_S)
        for subscription in self._open:
            subscription.response.abort()
